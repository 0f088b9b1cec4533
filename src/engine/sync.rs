//! `sync` and `plan`: one source, several destinations, one read.
//!
//! Owns the flow. Each destination has its own manifest, plan, journal and outcome; what goes wrong at one
//! stops no other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use offsite_backends::{self as backends, Backend};

use super::apply::{self, Common, Part, keeps};
use super::compare::{Comparing, Scanned, Side, compare_all, shown, tree_root};
use super::destination::Destination;
use super::outcome::{Outcome, PlanReport, PlannedChange, SyncOutcome};
use super::plan_file::{Saving, save_plan};
use super::planning::{self, Draft, Judging, Planned};
use super::{Machine, occupied};
use crate::error::{Error, Result};
use crate::model::{Change, KeepRules, Problem, Time, TreeRoot};
use crate::plan::{Limits, Price, Way};
use crate::scan::{Names, Root, WalkOptions};
use crate::spool::Reader;
use crate::transfer::{Hub, Limit, Line, Phase, Progress, Stop, part_size};

/// Content bytes in flight, all destinations together.
pub(super) const WINDOW: u64 = 48 << 20;
/// Reads that wait for slower destinations.
const SHARED: u64 = 24 << 20;
/// A plan lists so many changes; the figures count all.
const LISTED: usize = 100_000;

/// How to sync.
#[derive(Debug, Clone)]
pub struct SyncOptions {
    pub walk: WalkOptions,
    pub checksum: bool,
    pub adopt: bool,
    pub start_over: bool,
    pub keep: KeepRules,
    pub limits: Limits,
    pub price: Price,
    pub price_name: String,
    pub transfers: Option<usize>,
    /// Bytes a second, all destinations together.
    pub limit_upload: Option<u64>,
    /// Bytes a second of what is read back to be adopted, all destinations together.
    pub limit_download: Option<u64>,
}

/// Where a run says how far it is, and is told to stop.
#[derive(Clone, Default)]
pub struct Report {
    /// One for each destination.
    pub progress: Vec<Arc<Progress>>,
    pub stop: Arc<Stop>,
}

impl Report {
    pub fn new(destinations: usize) -> Self {
        Self { progress: (0..destinations).map(|_| Arc::default()).collect(), stop: Arc::default() }
    }
}

/// What was asked for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    machine: &'a Machine,
    source: &'a Path,
    options: &'a SyncOptions,
    report: &'a Report,
    started: Instant,
}

/// What the scan saw.
struct Seen {
    root: Arc<Root>,
    scanned: Scanned,
    tree_root: TreeRoot,
    /// One for each destination that could be loaded, in the same order.
    sides: Vec<Side>,
}

/// A scan that was compared with its destinations.
struct Compared {
    /// Those that could be loaded, with their place on the command line.
    destinations: Vec<(usize, Destination)>,
    outcomes: Vec<Outcome>,
    /// What went wrong so far, by destination.
    errors: Vec<Option<Error>>,
    seen: Option<Seen>,
    scan_start: Time,
}

/// Syncs a directory with each destination.
pub async fn sync(machine: &Machine, source: &Path, urls: &[String], options: &SyncOptions, report: &Report) -> SyncOutcome {
    let opened = join_all(urls.iter().map(|url| backends::open(url))).await;
    let opened = urls.iter().cloned().zip(opened.into_iter().map(|r| r.map_err(Error::from))).collect();
    sync_over(machine, source, opened, options, report).await
}

/// The same over backends that are open already.
pub async fn sync_over(
    machine: &Machine,
    source: &Path,
    opened: Vec<(String, Result<Arc<dyn Backend>>)>,
    options: &SyncOptions,
    report: &Report,
) -> SyncOutcome {
    let asked = Asked { machine, source, options, report, started: Instant::now() };
    let Compared { destinations, mut outcomes, mut errors, seen, scan_start } = compared(asked, opened).await;
    if let Some(seen) = seen {
        let mut ends = Ends { outcomes: &mut outcomes, errors: &mut errors };
        carry_out(asked, seen, destinations, &mut ends, scan_start).await;
    }
    for (outcome, error) in outcomes.iter_mut().zip(&errors) {
        // One that was carried out has the time at which it ended, whatever the others still had to do.
        if outcome.seconds == 0.0 {
            outcome.seconds = asked.started.elapsed().as_secs_f64();
        }
        finish(outcome, error.as_ref());
    }
    for (progress, outcome) in report.progress.iter().zip(&outcomes) {
        progress.set_phase(if outcome.error.is_none() { Phase::Finished } else { Phase::Failed });
    }
    let exit = worst(outcomes.iter().map(|o| o.exit));
    SyncOutcome { destinations: outcomes, exit }
}

/// What a sync would do at each destination. Writes nothing there.
pub async fn plan(
    machine: &Machine,
    source: &Path,
    urls: &[String],
    options: &SyncOptions,
    report: &Report,
    keep: Option<&Path>,
) -> Vec<PlanReport> {
    let opened = join_all(urls.iter().map(|url| backends::open(url))).await;
    let opened = urls.iter().cloned().zip(opened.into_iter().map(|r| r.map_err(Error::from))).collect();
    plan_over(machine, source, opened, options, report, keep).await
}

/// The same over backends that are open already; a plan that is kept names them as they stand here.
pub async fn plan_over(
    machine: &Machine,
    source: &Path,
    opened: Vec<(String, Result<Arc<dyn Backend>>)>,
    options: &SyncOptions,
    report: &Report,
    keep: Option<&Path>,
) -> Vec<PlanReport> {
    let urls: Vec<String> = opened.iter().map(|(url, _)| url.clone()).collect();
    let asked = Asked { machine, source, options, report, started: Instant::now() };
    let Compared { destinations, outcomes, errors, seen, scan_start } = compared(asked, opened).await;
    let mut reports: Vec<PlanReport> = outcomes.iter().zip(&errors).map(|(o, e)| empty_report(o, e.as_ref(), options)).collect();
    let Some(mut seen) = seen else { return reports };
    let sides = std::mem::take(&mut seen.sides);
    for ((index, destination), side) in destinations.into_iter().zip(sides) {
        let decided = tokio::task::block_in_place(|| decide(&seen, &destination, side, options, &report.stop, true));
        let saving = keep.map(|to| Saving { to, source, url: &urls[index], keep: options.keep, scan_start });
        let report = &mut reports[index];
        report.unread.clone_from(&seen.scanned.unread);
        let told = decided.and_then(|(planned, path, unread)| {
            report.unread.extend(unread);
            report_plan(report, &planned, &path, &destination, saving.as_ref())
        });
        if let Err(error) = told {
            report.exit = error.exit_code();
            report.error = Some(error.to_string());
        }
    }
    reports
}

fn empty_report(outcome: &Outcome, error: Option<&Error>, options: &SyncOptions) -> PlanReport {
    PlanReport {
        url: outcome.url.clone(),
        base: outcome.base,
        changes: outcome.changes,
        bytes: 0,
        requests: Default::default(),
        cost: 0.0,
        price: options.price_name.clone(),
        refused: Vec::new(),
        unread: Vec::new(),
        listed: Vec::new(),
        error: error.map(ToString::to_string),
        exit: error.map_or(0, Error::exit_code),
    }
}

fn report_plan(
    report: &mut PlanReport,
    planned: &Planned,
    path: &Path,
    destination: &Destination,
    saving: Option<&Saving<'_>>,
) -> Result<()> {
    report.base = Some(destination.number()).filter(|n| *n > 0);
    report.changes = planned.facts.counts;
    report.bytes = planned.facts.bytes;
    report.requests = planned.estimate;
    report.cost = planned.cost;
    report.refused.clone_from(&planned.refused);
    report.exit = if planned.refused.is_empty() { 0 } else { 4 };
    let mut lines = Reader::<Line>::open(path)?;
    while let Some(line) = lines.next_line()? {
        if report.listed.len() == LISTED {
            break;
        }
        report.listed.extend(planned_change(&line.step));
    }
    if let Some(saving) = saving {
        save_plan(saving, path, planned, destination)?;
    }
    let _ = std::fs::remove_file(path);
    Ok(())
}

fn planned_change(change: &Change) -> Option<PlannedChange> {
    let (name, path, from, size) = match change {
        Change::Added { entry, .. } => ("added", &entry.path, None, entry.size),
        Change::Changed { entry, .. } => ("changed", &entry.path, None, entry.size),
        Change::Metadata { entry, .. } => ("metadata", &entry.path, None, 0),
        Change::Renamed { entry, from, .. } => ("renamed", &entry.path, Some(from.path.clone()), entry.size),
        Change::Removed { old, moved: false } => ("removed", &old.path, None, old.size),
        Change::Removed { .. } | Change::Stamped { .. } => return None,
    };
    Some(PlannedChange { change: name, path: path.clone(), from, size })
}

/// Opens, loads, scans and compares.
async fn compared(asked: Asked<'_>, opened: Vec<(String, Result<Arc<dyn Backend>>)>) -> Compared {
    let Asked { machine, source, options, report, .. } = asked;
    let scan_start = coarse_now();
    let mut outcomes: Vec<Outcome> = opened.iter().map(|(url, _)| Outcome { url: shown_url(url), ..Outcome::default() }).collect();
    let mut errors: Vec<Option<Error>> = opened.iter().map(|_| None).collect();
    report.progress.iter().for_each(|p| p.set_phase(Phase::Loading));
    let loads = once_each(opened).into_iter().map(|(_, backend)| async move { load(machine, source, backend?, options).await });
    let (mut destinations, mut sides) = (Vec::new(), Vec::new());
    for (index, loaded) in join_all(loads).await.into_iter().enumerate() {
        match loaded.and_then(|destination| Ok((side(sides.len(), &destination)?, destination))) {
            Ok((side, destination)) => {
                outcomes[index].url = destination.backend.location().to_string();
                outcomes[index].base = Some(destination.number()).filter(|n| *n > 0);
                destinations.push((index, destination));
                sides.push(side);
            }
            Err(error) => errors[index] = Some(error),
        }
    }
    for (progress, error) in report.progress.iter().zip(&errors) {
        progress.set_phase(if error.is_none() { Phase::Scanning } else { Phase::Failed });
    }
    let scanned = if sides.is_empty() { None } else { Some(scan(source, options, report, sides).await) };
    let seen = match scanned {
        None => None,
        Some(Ok(seen)) => Some(seen),
        Some(Err(error)) => {
            for (index, destination) in destinations.drain(..) {
                errors[index] = Some(missing_source(&error, &destination));
            }
            None
        }
    };
    Compared { destinations, outcomes, errors, seen, scan_start }
}

/// One place that is named twice would only be in its own way.
fn once_each(mut opened: Vec<(String, Result<Arc<dyn Backend>>)>) -> Vec<(String, Result<Arc<dyn Backend>>)> {
    let mut met = std::collections::HashSet::new();
    for (url, backend) in &mut opened {
        if backend.as_ref().is_ok_and(|b| !met.insert(b.location().identity())) {
            *backend = Err(Error::Usage(format!("{}: this destination is named twice", shown_url(url))));
        }
    }
    opened
}

async fn load(machine: &Machine, source: &Path, backend: Arc<dyn Backend>, options: &SyncOptions) -> Result<Destination> {
    apart(source, &backend)?;
    let mut destination = Destination::over(backend, machine)?;
    destination.lock()?;
    destination.load(options.adopt, options.start_over).await?;
    if !options.adopt {
        destination.foreign = occupied::top_names(&destination).await?;
    }
    Ok(destination)
}

/// A destination inside its source would hold itself, and a source inside its destination would be mixed with it.
pub(super) fn apart(source: &Path, backend: &Arc<dyn Backend>) -> Result<()> {
    let Some(root) = backend.tree().and_then(|t| t.local_root()) else { return Ok(()) };
    let real = |path: &Path| -> PathBuf {
        path.ancestors().find_map(|a| Some(a.canonicalize().ok()?.join(path.strip_prefix(a).ok()?))).unwrap_or_else(|| path.to_path_buf())
    };
    let (source, root) = (real(source), real(&root));
    if root.starts_with(&source) || source.starts_with(&root) {
        return Err(Error::Usage(format!("{}: source and destination lie one inside the other; choose a place apart", root.display())));
    }
    Ok(())
}

fn side(index: usize, destination: &Destination) -> Result<Side> {
    let totals = destination.snapshot().map(|(s, _)| s.totals);
    let plan = destination.local(&format!("plan-{index}"));
    Side::new(destination.base()?, totals, plan, parts_of(destination))
}

/// In how many parts a file goes there.
pub fn parts_of(destination: &Destination) -> Box<dyn Fn(u64) -> u64 + Send> {
    let capabilities = destination.backend.capabilities();
    let whole = destination.backend.tree().is_some();
    Box::new(move |size| if whole { 1 } else { size.div_ceil(part_size(size, &capabilities)).max(1) })
}

async fn scan(source: &Path, options: &SyncOptions, report: &Report, mut sides: Vec<Side>) -> Result<Seen> {
    let (source, walk, checksum) = (source.to_path_buf(), options.walk.clone(), options.checksum);
    let report = report.clone();
    let scan = move || -> Result<Seen> {
        let root = Arc::new(Root::open(&source).map_err(|e| Error::local(&source, e))?);
        let names = Names::default();
        let how = Comparing { root: &root, names: &names, walk, checksum, progress: &report.progress, stop: &report.stop };
        let scanned = compare_all(&how, &mut sides)?;
        let tree_root = tree_root(&root, &names)?;
        Ok(Seen { root, scanned, tree_root, sides })
    };
    tokio::task::spawn_blocking(scan).await.map_err(|e| Error::local("the scan", std::io::Error::other(e)))?
}

/// A source that is not there is refused where there is something to lose, and an error where there is not.
fn missing_source(error: &Error, destination: &Destination) -> Error {
    match error {
        Error::Interrupted => Error::Interrupted,
        _ if destination.snapshot().is_some_and(|(s, _)| s.totals.entries > 0) => {
            Error::Refused(vec![format!("the source cannot be read ({error}); nothing at the destination was touched")])
        }
        _ => Error::Usage(format!("the source cannot be read: {error}")),
    }
}

/// Finishes one destination's plan.
fn decide(
    seen: &Seen,
    destination: &Destination,
    side: Side,
    options: &SyncOptions,
    stop: &Stop,
    exact: bool,
) -> Result<(Planned, PathBuf, Vec<Problem>)> {
    if let Some(error) = side.failed {
        return Err(error);
    }
    let how = Judging {
        limits: &options.limits,
        price: &options.price,
        way: Way { keeps: keeps(&options.keep), first: destination.head.is_none(), tree: destination.backend.tree().is_some() },
        exact: exact || options.limits.max_bytes.is_some() || options.limits.max_cost.is_some(),
    };
    let mut unread = Vec::new();
    let parts = parts_of(destination);
    let draft = Draft { root: &seen.root, path: &side.path, base: destination.base()?, facts: side.facts, parts: &parts };
    let mut planned = planning::finish(draft, &how, stop, &mut unread)?;
    planned.refused.extend(occupied::refusal(&destination.foreign, &side.path)?);
    Ok((planned, side.path, unread))
}

/// What all destinations of this run share.
fn common(asked: Asked<'_>, seen: &Seen, count: usize, scan_start: Time) -> Common {
    let Asked { machine, source, options, report, .. } = asked;
    Common {
        machine: machine.clone(),
        hub: Arc::new(Hub::new(Arc::clone(&seen.root), count, SHARED)),
        stop: Arc::clone(&report.stop),
        source: shown(source),
        tree_root: seen.tree_root.clone(),
        scan_start,
        unread: seen.scanned.unread.clone(),
        adopt: options.adopt,
        keep: options.keep,
        transfers: options.transfers,
        limit: Arc::new(Limit::new(options.limit_upload)),
        limit_download: Arc::new(Limit::new(options.limit_download)),
        window: WINDOW / count.max(1) as u64,
    }
}

/// Judges all plans, then carries out those that may run, side by side.
async fn carry_out(asked: Asked<'_>, mut seen: Seen, destinations: Vec<(usize, Destination)>, ends: &mut Ends<'_>, scan_start: Time) {
    let Asked { options, report, started, .. } = asked;
    let common = Arc::new(common(asked, &seen, destinations.len(), scan_start));
    let sides = std::mem::take(&mut seen.sides);
    let mut runs = Vec::new();
    for (place, ((index, destination), side)) in destinations.into_iter().zip(sides).enumerate() {
        ends.outcomes[index].skipped.clone_from(&seen.scanned.skipped);
        let decided = tokio::task::block_in_place(|| decide(&seen, &destination, side, options, &report.stop, false));
        let decided = decided.and_then(|(planned, plan, unread)| {
            ends.outcomes[index].changes = planned.facts.counts;
            planning::verdict(&planned.refused)?;
            Ok((planned, plan, unread))
        });
        let (planned, plan, unread) = match decided {
            Ok(decided) => decided,
            Err(error) => {
                common.hub.leave(place);
                if let Some(progress) = report.progress.get(index) {
                    progress.set_phase(Phase::Failed);
                }
                ends.outcomes[index].requests = destination.backend.meter().requests();
                ends.errors[index] = Some(error);
                continue;
            }
        };
        let progress = report.progress.get(index).cloned().unwrap_or_default();
        let mut part = Part { destination, index: place, plan, facts: planned.facts, progress };
        let mut outcome = std::mem::take(&mut ends.outcomes[index]);
        let common = Arc::clone(&common);
        runs.push(tokio::spawn(async move {
            let result = apply::run(&common, &mut part, &mut outcome).await;
            common.hub.leave(place);
            outcome.unread.extend(unread);
            outcome.bytes.read = common.hub.bytes_read();
            outcome.requests = part.destination.backend.meter().requests();
            outcome.seconds = started.elapsed().as_secs_f64();
            part.progress.set_phase(if result.is_ok() { Phase::Finished } else { Phase::Failed });
            (index, outcome, result)
        }));
    }
    for run in runs {
        match run.await {
            Ok((index, outcome, result)) => {
                ends.outcomes[index] = outcome;
                ends.errors[index] = result.err();
            }
            Err(error) => ends
                .errors
                .iter_mut()
                .filter(|e| e.is_none())
                .for_each(|e| *e = Some(Error::local("a run", std::io::Error::other(error.to_string())))),
        }
    }
    ends.outcomes.iter_mut().for_each(|o| o.bytes.read = common.hub.bytes_read());
}

/// How each destination ended.
struct Ends<'a> {
    outcomes: &'a mut Vec<Outcome>,
    errors: &'a mut Vec<Option<Error>>,
}

/// Exit code and error text.
pub(super) fn finish(outcome: &mut Outcome, error: Option<&Error>) {
    outcome.error = error.map(ToString::to_string);
    let untidy = outcome.warnings.iter().any(|w| w.starts_with("committed, but"));
    outcome.exit = match error {
        Some(error) => error.exit_code(),
        None if !outcome.unread.is_empty() || !outcome.unstable.is_empty() || untidy => 3,
        None => 0,
    };
}

/// The code that says most about what has to be done.
pub fn worst(codes: impl Iterator<Item = u8>) -> u8 {
    const ORDER: [u8; 6] = [130, 1, 2, 4, 3, 0];
    let codes: Vec<u8> = codes.collect();
    ORDER.into_iter().find(|c| codes.contains(c)).unwrap_or(1)
}

/// A URL that may be wrong, without what does not belong in a log.
pub(super) fn shown_url(url: &str) -> String {
    backends::error::scrub(url.split('?').next().unwrap_or(url))
}

/// The clock that the kernel stamps files with.
pub(super) fn coarse_now() -> Time {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    Time { secs: now.tv_sec, nanos: u32::try_from(now.tv_nsec).unwrap_or(0) }
}
