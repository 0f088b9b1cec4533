//! The first half of every sync and plan: loads the destinations, scans the source and compares them.
//!
//! Owns what runs in parallel. The cached manifest of a destination is most often current. So if every destination has
//! one, the scan begins at once, while offsite connects and loads the destinations.
//! Invariant: a comparison is used only if loading has confirmed the snapshot that it was made against. Otherwise the
//! scan is repeated. Before that, offsite writes nothing to a destination except the probe of a disk.

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

/// A request to sync or to plan.
#[derive(Clone, Copy)]
pub struct SyncRequest<'a> {
    pub machine: &'a Machine,
    pub source: &'a Path,
    pub options: &'a SyncOptions,
    pub control: &'a RunControl,
    pub started: Instant,
    /// The run is going to write to the destinations. Then it probes the disk of a directory that no run has probed, or
    /// that has moved to another disk.
    pub writes: bool,
}

/// The result of a scan and of its comparisons.
pub struct ScanResult {
    pub root: Arc<Root>,
    pub scanned: Scanned,
    pub tree_root: TreeRoot,
    /// One for each destination that could be loaded, in the same order.
    pub sides: Vec<Side>,
}

/// The loaded destinations, and the scan that was compared with them.
pub struct Prepared {
    /// The destinations that could be loaded, each with the index of its URL.
    pub destinations: Vec<(usize, Destination)>,
    /// What is known of each destination so far, in the order of the URLs.
    pub ends: Vec<End>,
    pub seen: Option<ScanResult>,
    pub scan_start: Time,
}

/// How the run ended at one destination, or how far it is.
pub struct End {
    pub outcome: Outcome,
    pub error: Option<Error>,
}

/// Destinations of one run. Each has a bit in [`crate::transfer::Line::readers`].
pub const MOST: usize = u64::BITS as usize;

/// The URLs that the caller gave, each with its open backend or the error of opening it.
pub type Opened = Vec<(String, Result<Arc<dyn Backend>>)>;

/// The outcome of a destination before the run begins: its URL and its drift.
fn outcome(url: &str, options: &SyncOptions) -> Outcome {
    let drift = options.drift.iter().find(|(of, _)| of == url).map(|(_, what)| what.clone());
    Outcome { url: offsite_backends::location::shown(url), drift, ..Outcome::default() }
}

/// Opens and loads the destinations, scans the source, and compares it with each of them.
pub async fn compared(asked: SyncRequest<'_>, opened: Opened) -> Prepared {
    let SyncRequest { machine, source, options, control, .. } = asked;
    let mut all = Prepared {
        destinations: Vec::new(),
        ends: opened.iter().map(|(url, _)| End { outcome: outcome(url, options), error: None }).collect(),
        seen: None,
        scan_start: coarse_now(),
    };
    for (index, (url, backend)) in once_each(opened).into_iter().enumerate() {
        match backend.and_then(|backend| open(Some(source), backend, machine, &url, options)) {
            Ok(destination) => all.destinations.push((index, destination)),
            Err(error) => all.ends[index].error = Some(error),
        }
    }
    let early = Early::start(&asked, &all.destinations);
    show_phase(&all, control, if early.is_some() { Phase::Scanning } else { Phase::Loading });
    let as_remembered = load_all(&mut all, &asked).await;
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
                all.ends[index].error = Some(missing_source(&error, &destination));
            }
        }
    }
    all
}

impl Prepared {
    /// Stores the result of a scan. An early scan also has sides for destinations that could not be loaded. They are
    /// dropped.
    fn keep(&mut self, mut seen: ScanResult) {
        seen.sides.retain(|side| self.destinations.iter().any(|(index, _)| *index == side.index));
        self.seen = Some(seen);
    }
}

fn show_phase(all: &Prepared, control: &RunControl, phase: Phase) {
    for (progress, end) in control.progress.iter().zip(&all.ends) {
        progress.set_phase(if end.error.is_none() { phase } else { Phase::Failed });
    }
}

/// Replaces a repeated destination by an error, because two runs at one destination would block each other. Does the
/// same with destinations beyond [`MOST`].
fn once_each(mut opened: Opened) -> Opened {
    let mut met = std::collections::HashSet::new();
    for (index, (url, backend)) in opened.iter_mut().enumerate() {
        if index >= MOST && backend.is_ok() {
            let url = offsite_backends::location::shown(url);
            *backend = Err(Error::Usage(format!("{url}: one run can have {MOST} destinations at most; use another job for the others")));
        } else if backend.as_ref().is_ok_and(|b| !met.insert(b.location().identity())) {
            *backend = Err(Error::Usage(format!("{}: this destination is named twice", offsite_backends::location::shown(url))));
        }
    }
    opened
}

/// Opens a destination from the cache of this machine and takes its local lock. Sends no request. `source` is a directory
/// of this machine that is read.
pub fn open(source: Option<&Path>, backend: Arc<dyn Backend>, machine: &Machine, url: &str, options: &SyncOptions) -> Result<Destination> {
    source.map_or(Ok(()), |source| apart(source, &backend))?;
    let mut destination = Destination::over(backend, machine)?;
    destination.want(options.layout_of(url), options.seal_of(url));
    destination.repack_after = options.repack_after(url);
    if options.append_only.iter().any(|only| only == url) {
        destination.append_only()?;
    }
    destination.lock()?;
    Ok(destination)
}

/// Loads all destinations in parallel and drops those that fail. Returns whether the cached snapshot and rules of each
/// remaining destination were current. Returns false if none remains.
async fn load_all(all: &mut Prepared, asked: &SyncRequest<'_>) -> bool {
    let loads = all.destinations.drain(..).map(|(index, mut destination)| async move {
        let remembered = destination.snapshot().map(|(_, hash)| *hash);
        let rules = destination.rules();
        let loaded = load(&mut destination, asked).await;
        let same = rules == destination.rules();
        let same = same && remembered.is_some() && destination.snapshot().map(|(_, hash)| *hash) == remembered;
        (index, destination, loaded.map(|()| same))
    });
    let mut as_remembered = true;
    for (index, destination, loaded) in join_all(loads).await {
        match loaded {
            Ok(same) => {
                as_remembered &= same;
                let outcome = &mut all.ends[index].outcome;
                outcome.url = destination.backend.location().to_string();
                outcome.base = Some(destination.number()).filter(|n| *n > 0);
                all.destinations.push((index, destination));
            }
            Err(error) => all.ends[index].error = Some(error),
        }
    }
    as_remembered && !all.destinations.is_empty()
}

/// Brings the cache of a destination up to its newest snapshot, and checks that the run may write to it.
pub async fn load(destination: &mut Destination, asked: &SyncRequest<'_>) -> Result<()> {
    let SyncRequest { options, writes, .. } = *asked;
    destination.unlock_for_run(&asked.machine.keys).await?;
    let backend = destination.backend.clone();
    // In parallel, because each takes a round trip over SFTP.
    let moved = async { writes && has_moved(backend).await };
    let (loaded, moved) = join(destination.load(options.adopt, options.start_over), moved).await;
    loaded?;
    destination.layout_fits()?;
    if writes {
        destination.may_write()?;
    }
    let mirror = destination.layout().is_mirror();
    if options.adopt && !mirror {
        let url = destination.backend.location();
        return Err(Error::Usage(format!("{url}: --adopt is for mirrors; no file lies in a packed destination under its own name")));
    }
    if writes && mirror {
        destination.look_at_disk(moved).await?;
    }
    if !options.adopt && mirror {
        destination.foreign = preflight::top_names(destination).await?;
    }
    Ok(())
}

/// A running scan.
struct RunningScan(JoinHandle<Result<ScanResult>>);

impl RunningScan {
    fn start(asked: &SyncRequest<'_>, destinations: &[(usize, Destination)], stop: Arc<Stop>) -> Result<Self> {
        let sides = destinations.iter().map(|(index, destination)| side(*index, destination));
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
        Ok(Self(tokio::task::spawn_blocking(scan)))
    }

    async fn end(self) -> Result<ScanResult> {
        self.0.await.map_err(|e| Error::local("the scan", std::io::Error::other(e)))?
    }
}

/// The comparison with one destination, before its first path.
pub fn side(index: usize, destination: &Destination) -> Result<Side> {
    let totals = destination.snapshot().map(|(s, _)| s.totals);
    let plan = destination.local(&format!("plan-{index}"));
    Side::new(index, destination.base()?, totals, plan, parts_of(destination), naming(destination))
}

fn naming(destination: &Destination) -> Naming {
    let rules = (destination.head.is_some() || destination.backend.tree().is_none()).then(|| destination.rules());
    let mend = destination.snapshot().is_some_and(|(s, _)| s.keys.any_name && !s.keys.folds()) && destination.layout().is_mirror();
    Naming { rules, mend }
}

/// Scans the source after the destinations were loaded. Returns `None` if there are no destinations.
async fn scan_all(asked: &SyncRequest<'_>, destinations: &[(usize, Destination)]) -> Option<Result<ScanResult>> {
    if destinations.is_empty() {
        return None;
    }
    Some(match RunningScan::start(asked, destinations, Arc::clone(&asked.control.stop)) {
        Ok(scan) => scan.end().await,
        Err(error) => Err(error),
    })
}

/// A scan that began before the destinations were loaded.
struct Early {
    scan: RunningScan,
    stop: Arc<Stop>,
    /// Passes a cancellation of the run on to `stop`.
    passing_on: JoinHandle<()>,
}

impl Early {
    /// Starts the scan if the cache has a snapshot of every destination. With `adopt` or `start_over` it does not,
    /// because loading may then replace what is cached.
    fn start(asked: &SyncRequest<'_>, destinations: &[(usize, Destination)]) -> Option<Self> {
        let remembered = |(_, d): &(usize, Destination)| d.snapshot().is_some();
        let doubtful = asked.options.adopt || asked.options.start_over;
        if doubtful || destinations.is_empty() || !destinations.iter().all(remembered) {
            return None;
        }
        let stop = Arc::new(Stop::default());
        // On an error, the scan after loading is used. Loading rebuilds a cache file that is missing.
        let scan = RunningScan::start(asked, destinations, Arc::clone(&stop)).ok()?;
        let (user, own) = (Arc::clone(&asked.control.stop), Arc::clone(&stop));
        let passing_on = tokio::spawn(async move {
            user.wait().await;
            own.interrupt();
        });
        Some(Self { scan, stop, passing_on })
    }

    async fn end(self) -> Result<ScanResult> {
        let ended = self.scan.end().await;
        self.passing_on.abort();
        ended
    }

    /// Stops the scan and waits for its end. The next scan overwrites its plans, so it must not begin earlier.
    async fn give_up(self) {
        self.stop.interrupt();
        let _ = self.end().await;
    }
}

/// The error for a source that cannot be read. The run is refused if the destination has a snapshot with entries.
/// Otherwise it is a usage error.
fn missing_source(error: &Error, destination: &Destination) -> Error {
    match error {
        Error::Interrupted => Error::Interrupted,
        // The source was read, but it does not fit the job. For example, a directory has the name of a dump.
        Error::Usage(what) => Error::Usage(what.clone()),
        _ if destination.snapshot().is_some_and(|(s, _)| s.totals.entries > 0) => {
            Error::Refused(vec![format!("the source cannot be read ({error}), so nothing at the destination was touched")])
        }
        _ => Error::Usage(format!("the source cannot be read: {error}")),
    }
}
