//! The first half of every sync and plan: destinations loaded, the source scanned and compared.
//!
//! Owns what runs beside what. A destination whose newest manifest is remembered here is most often still
//! as it is remembered: the scan begins at once, while the connection is made and the look is on its way.
//! Invariant: a comparison is used only if the look confirmed the very snapshot it was made against, and is
//! made anew otherwise; nothing is written before that.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures::future::{join, join_all};
use offsite_backends::Backend;
use tokio::task::JoinHandle;

use super::compare::{Comparison, Naming, Scanned, Side, compare_all, tree_root};
use super::options::SyncOptions;
use super::preflight;
use crate::engine::clock::coarse_now;
use crate::engine::control::RunControl;
use crate::engine::destination::{Destination, has_moved, parts_of};
use crate::engine::machine::Machine;
use crate::engine::outcome::Outcome;
use crate::engine::paths::{apart, own_below};
use crate::error::{Error, Result};
use crate::model::{Time, TreeRoot};
use crate::scan::{Names, Root};
use crate::transfer::{Phase, Stop};

/// What was asked for.
#[derive(Clone, Copy)]
pub struct SyncRequest<'a> {
    pub machine: &'a Machine,
    pub source: &'a Path,
    pub options: &'a SyncOptions,
    pub control: &'a RunControl,
    pub started: Instant,
    /// The run is going to write there: then a directory that was made before disks were looked at is looked at now.
    pub writes: bool,
}

/// What the scan saw.
pub struct ScanResult {
    pub root: Arc<Root>,
    pub scanned: Scanned,
    pub tree_root: TreeRoot,
    /// One for each destination that could be loaded, in the same order.
    pub sides: Vec<Side>,
}

/// A scan that was compared with its destinations.
pub struct Prepared {
    /// Those that could be loaded, with their place on the command line.
    pub destinations: Vec<(usize, Destination)>,
    pub outcomes: Vec<Outcome>,
    /// What went wrong so far, by destination.
    pub errors: Vec<Option<Error>>,
    pub seen: Option<ScanResult>,
    pub scan_start: Time,
}

/// Backends that are open, by the URL that was given.
pub type Opened = Vec<(String, Result<Arc<dyn Backend>>)>;

/// What is known before a destination is opened.
fn outcome(url: &str, options: &SyncOptions) -> Outcome {
    let drift = options.drift.iter().find(|(of, _)| of == url).map(|(_, what)| what.clone());
    Outcome { url: offsite_backends::location::shown(url), drift, ..Outcome::default() }
}

/// Opens, loads, scans and compares.
pub async fn compared(asked: SyncRequest<'_>, opened: Opened) -> Prepared {
    let SyncRequest { machine, source, options, control, .. } = asked;
    let mut all = Prepared {
        destinations: Vec::new(),
        outcomes: opened.iter().map(|(url, _)| outcome(url, options)).collect(),
        errors: opened.iter().map(|_| None).collect(),
        seen: None,
        scan_start: coarse_now(),
    };
    for (index, (_, backend)) in once_each(opened).into_iter().enumerate() {
        match backend.and_then(|backend| open(source, backend, machine)) {
            Ok(destination) => all.destinations.push((index, destination)),
            Err(error) => all.errors[index] = Some(error),
        }
    }
    let early = Early::start(&asked, &all.destinations);
    show_phase(&all, control, if early.is_some() { Phase::Scanning } else { Phase::Loading });
    let as_remembered = load_all(&mut all, options, asked.writes).await;
    show_phase(&all, control, Phase::Scanning);
    let seen = match early {
        Some(early) if as_remembered => Some(early.end().await),
        Some(early) => {
            early.give_up().await;
            scan_all(&asked, &all.destinations).await
        }
        None => scan_all(&asked, &all.destinations).await,
    };
    match seen {
        None => {}
        Some(Ok(seen)) => all.keep(seen),
        Some(Err(error)) => {
            for (index, destination) in all.destinations.drain(..) {
                all.errors[index] = Some(missing_source(&error, &destination));
            }
        }
    }
    all
}

impl Prepared {
    /// An early scan has sides for destinations that could not be loaded after all.
    fn keep(&mut self, (mut seen, indices): (ScanResult, Vec<usize>)) {
        let mut indices = indices.into_iter();
        seen.sides.retain(|_| indices.next().is_some_and(|index| self.destinations.iter().any(|(known, _)| *known == index)));
        self.seen = Some(seen);
    }
}

fn show_phase(all: &Prepared, control: &RunControl, phase: Phase) {
    for (progress, error) in control.progress.iter().zip(&all.errors) {
        progress.set_phase(if error.is_none() { phase } else { Phase::Failed });
    }
}

/// One place that is named twice would only be in its own way.
fn once_each(mut opened: Opened) -> Opened {
    let mut met = std::collections::HashSet::new();
    for (url, backend) in &mut opened {
        if backend.as_ref().is_ok_and(|b| !met.insert(b.location().identity())) {
            *backend = Err(Error::Usage(format!("{}: this destination is named twice", offsite_backends::location::shown(url))));
        }
    }
    opened
}

/// What this machine alone can say about a destination; asks it nothing.
fn open(source: &Path, backend: Arc<dyn Backend>, machine: &Machine) -> Result<Destination> {
    apart(source, &backend)?;
    let mut destination = Destination::over(backend, machine)?;
    destination.lock()?;
    Ok(destination)
}

/// Loads all destinations side by side and drops those that cannot be; answers whether every one that is
/// left has the snapshot that was remembered. None left is no.
async fn load_all(all: &mut Prepared, options: &SyncOptions, writes: bool) -> bool {
    let loads = all.destinations.drain(..).map(|(index, mut destination)| async move {
        let remembered = destination.snapshot().map(|(_, hash)| *hash);
        let rules = destination.rules();
        let loaded = load(&mut destination, options, writes).await;
        let same = rules == destination.rules();
        let same = same && remembered.is_some() && destination.snapshot().map(|(_, hash)| *hash) == remembered;
        (index, destination, loaded.map(|()| same))
    });
    let mut as_remembered = true;
    for (index, destination, loaded) in join_all(loads).await {
        match loaded {
            Ok(same) => {
                as_remembered &= same;
                all.outcomes[index].url = destination.backend.location().to_string();
                all.outcomes[index].base = Some(destination.number()).filter(|n| *n > 0);
                all.destinations.push((index, destination));
            }
            Err(error) => all.errors[index] = Some(error),
        }
    }
    as_remembered && !all.destinations.is_empty()
}

async fn load(destination: &mut Destination, options: &SyncOptions, writes: bool) -> Result<()> {
    let backend = destination.backend.clone();
    // Side by side: over SFTP each is a round trip.
    let moved = async { writes && has_moved(backend).await };
    let (loaded, moved) = join(destination.load(options.adopt, options.start_over), moved).await;
    loaded?;
    if writes {
        destination.look_at_disk(moved).await?;
    }
    if !options.adopt {
        destination.foreign = preflight::top_names(destination).await?;
    }
    Ok(())
}

/// A scan that runs, and the places of the destinations that it is compared with.
struct RunningScan {
    running: JoinHandle<Result<ScanResult>>,
    indices: Vec<usize>,
}

impl RunningScan {
    fn start(asked: &SyncRequest<'_>, destinations: &[(usize, Destination)], stop: Arc<Stop>) -> Result<Self> {
        let sides = destinations.iter().enumerate().map(|(place, (_, destination))| side(place, destination));
        let mut sides = sides.collect::<Result<Vec<_>>>()?;
        let (source, mut options) = (asked.source.to_path_buf(), asked.options.clone());
        options.walk.own = own_below(&asked.machine.cache_dir, &source);
        let progress = asked.control.progress.clone();
        let dumps = super::dumps::entries(&options.dumps);
        let scan = move || -> Result<ScanResult> {
            let root = Arc::new(Root::open_within(&source, &options.inner).map_err(|e| Error::local(&source, e))?);
            let names = Names::default();
            let how = Comparison {
                root: &root,
                names: &names,
                walk: options.walk,
                checksum: options.checksum,
                progress: &progress,
                stop: &stop,
                dumps: &dumps,
            };
            let scanned = compare_all(&how, &mut sides)?;
            let tree_root = tree_root(&root, &names)?;
            Ok(ScanResult { root, scanned, tree_root, sides })
        };
        Ok(Self { running: tokio::task::spawn_blocking(scan), indices: destinations.iter().map(|(index, _)| *index).collect() })
    }

    async fn end(self) -> Result<(ScanResult, Vec<usize>)> {
        let seen = self.running.await.map_err(|e| Error::local("the scan", std::io::Error::other(e)))?;
        Ok((seen?, self.indices))
    }
}

fn side(place: usize, destination: &Destination) -> Result<Side> {
    let totals = destination.snapshot().map(|(s, _)| s.totals);
    let plan = destination.local(&format!("plan-{place}"));
    Side::new(destination.base()?, totals, plan, parts_of(destination), naming(destination))
}

fn naming(destination: &Destination) -> Naming {
    let rules = (destination.head.is_some() || destination.backend.tree().is_none()).then(|| destination.rules());
    let mend = destination.snapshot().is_some_and(|(s, _)| s.keys.any_name && !s.keys.folds());
    Naming { rules, mend }
}

/// The scan of a run whose destinations are loaded; none if there are no destinations.
async fn scan_all(asked: &SyncRequest<'_>, destinations: &[(usize, Destination)]) -> Option<Result<(ScanResult, Vec<usize>)>> {
    if destinations.is_empty() {
        return None;
    }
    Some(match RunningScan::start(asked, destinations, Arc::clone(&asked.control.stop)) {
        Ok(scan) => scan.end().await,
        Err(error) => Err(error),
    })
}

/// A scan that began before the destinations were looked at.
struct Early {
    scan: RunningScan,
    stop: Arc<Stop>,
    /// Passes on the user's wish to stop.
    passing_on: JoinHandle<()>,
}

impl Early {
    /// Starts it if all destinations are remembered, and nothing was asked for that makes them doubtful.
    fn start(asked: &SyncRequest<'_>, destinations: &[(usize, Destination)]) -> Option<Self> {
        let remembered = |(_, d): &(usize, Destination)| d.snapshot().is_some();
        let doubtful = asked.options.adopt || asked.options.start_over;
        if doubtful || destinations.is_empty() || !destinations.iter().all(remembered) {
            return None;
        }
        let stop = Arc::new(Stop::default());
        // A cache that cannot be read is made anew by the look.
        let scan = RunningScan::start(asked, destinations, Arc::clone(&stop)).ok()?;
        let (user, own) = (Arc::clone(&asked.control.stop), Arc::clone(&stop));
        let passing_on = tokio::spawn(async move {
            user.wait().await;
            own.interrupt();
        });
        Some(Self { scan, stop, passing_on })
    }

    async fn end(self) -> Result<(ScanResult, Vec<usize>)> {
        let ended = self.scan.end().await;
        self.passing_on.abort();
        ended
    }

    /// Its plans are written over by the next scan, so it has to be over first.
    async fn give_up(self) {
        self.stop.interrupt();
        let _ = self.end().await;
    }
}

/// A source that is not there is refused where there is something to lose, and an error where there is not.
fn missing_source(error: &Error, destination: &Destination) -> Error {
    match error {
        Error::Interrupted => Error::Interrupted,
        // It was read, and holds what cannot be kept as the job says.
        Error::Usage(what) => Error::Usage(what.clone()),
        _ if destination.snapshot().is_some_and(|(s, _)| s.totals.entries > 0) => {
            Error::Refused(vec![format!("the source cannot be read ({error}), so nothing at the destination was touched")])
        }
        _ => Error::Usage(format!("the source cannot be read: {error}")),
    }
}
