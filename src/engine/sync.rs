//! `sync` and `plan`: one source, several destinations, one read.
//!
//! Owns the flow. Each destination has its own manifest, plan, journal and outcome; what goes wrong at one
//! stops no other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use offsite_backends as backends;

use super::apply::{self, Common, Part, keeps};
use super::compare::{Side, shown};
use super::compared::{Asked, Compared, Opened, Seen, compared, own_below, parts_of};
use super::destination::Destination;
use super::outcome::{Outcome, PlanReport, PlannedChange, SyncOutcome};
use super::owner::{Claimant, Owner};
use super::plan_file::{Saving, save_plan};
use super::planning::{self, Draft, Judging, Planned};
use super::warning::{Note, Warning};
use super::{Machine, occupied, status};
use crate::error::{Error, Failure, Result};
use crate::model::{Change, KeepRules, Problem, Sample, Time};
use crate::plan::{Limits, Price, Way};
use crate::scan::WalkOptions;
use crate::spool::Reader;
use crate::transfer::{Dump, Feeds, Hub, Limit, Line, Phase, Progress, Stop};

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
    /// The end of the source's path that is not the user's own (a subdirectory of a volume): no symlink in it is followed.
    pub inner: PathBuf,
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
    /// The job and type that a snapshot names, where a config has them.
    pub job: Option<String>,
    pub kind: Option<String>,
    /// Files that are made while they are sent.
    pub dumps: Vec<Dump>,
    /// Destinations that are not as the config declares them, by the URL given, and what differs.
    pub drift: Vec<(String, String)>,
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

/// Syncs a directory with each destination.
pub async fn sync(machine: &Machine, source: &Path, urls: &[String], options: &SyncOptions, report: &Report) -> SyncOutcome {
    let opened = join_all(urls.iter().map(|url| backends::open(url))).await;
    let opened = urls.iter().cloned().zip(opened.into_iter().map(|r| r.map_err(Error::from))).collect();
    sync_over(machine, source, opened, options, report).await
}

/// The same over backends that are open already.
pub async fn sync_over(machine: &Machine, source: &Path, opened: Opened, options: &SyncOptions, report: &Report) -> SyncOutcome {
    let asked = Asked { machine, source, options, report, started: Instant::now(), writes: true };
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
    // A scan that did not come to its end says nothing about a pattern.
    let whole = outcomes.iter().any(|o| o.snapshot.is_some() || o.exit == 0);
    let notes = if whole { Note::of(&options.walk.filter, Some(source)) } else { Vec::new() };
    SyncOutcome { destinations: outcomes, notes, exit }
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
    opened: Opened,
    options: &SyncOptions,
    report: &Report,
    keep: Option<&Path>,
) -> Vec<PlanReport> {
    let urls: Vec<String> = opened.iter().map(|(url, _)| url.clone()).collect();
    let asked = Asked { machine, source, options, report, started: Instant::now(), writes: false };
    let Compared { destinations, outcomes, errors, seen, scan_start } = compared(asked, opened).await;
    let mut reports: Vec<PlanReport> = outcomes.iter().zip(&errors).map(|(o, e)| empty_report(o, e.as_ref(), options)).collect();
    let Some(mut seen) = seen else { return reports };
    let sides = std::mem::take(&mut seen.sides);
    for ((index, destination), side) in destinations.into_iter().zip(sides) {
        let owner = owner(&asked, &destination);
        let decided = tokio::task::block_in_place(|| decide(&seen, &destination, side, options, &owner, &report.stop, true));
        let saving = keep.map(|to| Saving { to, source, url: &urls[index], keep: options.keep.clone(), scan_start });
        let report = &mut reports[index];
        report.unread = Sample::of(&seen.scanned.unread);
        let told = decided.and_then(|(planned, path, unread)| {
            report.unread.extend(unread);
            report.unread_total = report.unread.cut();
            report_plan(report, &planned, &path, &destination, saving.as_ref())
        });
        if let Err(error) = told {
            report.exit = error.exit_code();
            report.failure = Some((&error).into());
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
        unread: Sample::default(),
        unread_total: None,
        listed: Vec::new(),
        error: error.map(ToString::to_string),
        failure: error.map(Failure::from),
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

/// Finishes one destination's plan.
fn decide(
    seen: &Seen,
    destination: &Destination,
    side: Side,
    options: &SyncOptions,
    owner: &Owner,
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
    if let Owner::Other(why) = owner {
        planned.refused.push(why.clone());
    }
    Ok((planned, side.path, unread))
}

/// Whether the place is this run's own.
fn owner(asked: &Asked<'_>, destination: &Destination) -> Owner {
    let Asked { machine, source, options, .. } = *asked;
    let now = Claimant { host: &machine.host, source, job: options.job.as_deref(), kind: options.kind.as_deref() };
    Owner::of(destination, &now, options.limits.take_over)
}

/// What all destinations of this run share.
fn common(asked: Asked<'_>, seen: &Seen, count: usize, scan_start: Time) -> Common {
    let Asked { machine, source, options, report, .. } = asked;
    Common {
        machine: machine.clone(),
        hub: Arc::new(Hub::new(Arc::clone(&seen.root), count, SHARED)),
        stop: Arc::clone(&report.stop),
        source: shown(&std::path::absolute(source).unwrap_or_else(|_| source.to_path_buf())),
        tree_root: seen.tree_root.clone(),
        scan_start,
        unread: seen.scanned.unread.clone(),
        adopt: options.adopt,
        keep: options.keep.clone(),
        transfers: options.transfers,
        limit: Arc::new(Limit::new(options.limit_upload)),
        limit_download: Arc::new(Limit::new(options.limit_download)),
        window: WINDOW / count.max(1) as u64,
        job: options.job.clone(),
        kind: options.kind.clone(),
        feeds: Arc::new(Feeds::new(options.dumps.clone(), count, Arc::clone(&report.stop))),
    }
}

/// Judges all plans, then carries out those that may run, side by side.
async fn carry_out(asked: Asked<'_>, mut seen: Seen, destinations: Vec<(usize, Destination)>, ends: &mut Ends<'_>, scan_start: Time) {
    let Asked { options, report, started, .. } = asked;
    let common = Arc::new(common(asked, &seen, destinations.len(), scan_start));
    let sides = std::mem::take(&mut seen.sides);
    let mut runs = Vec::new();
    for (place, ((index, destination), side)) in destinations.into_iter().zip(sides).enumerate() {
        ends.outcomes[index].skipped = Sample::of(&seen.scanned.skipped);
        let owner = owner(&asked, &destination);
        let decided = tokio::task::block_in_place(|| decide(&seen, &destination, side, options, &owner, &report.stop, false));
        let decided = decided.and_then(|(planned, plan, unread)| {
            ends.outcomes[index].changes = planned.facts.counts;
            planning::verdict(&planned.refused)?;
            Ok((planned, plan, unread))
        });
        let (planned, plan, unread) = match decided {
            Ok(decided) => decided,
            Err(error) => {
                common.leave(place);
                not_begun(&common, &destination, report.progress.get(index), &mut ends.outcomes[index], &error).await;
                ends.errors[index] = Some(error);
                continue;
            }
        };
        let progress = report.progress.get(index).cloned().unwrap_or_default();
        let mut part = Part { destination, index: place, plan, facts: planned.facts, unread, progress };
        let mut outcome = std::mem::take(&mut ends.outcomes[index]);
        let common = Arc::clone(&common);
        let first = part.destination.snapshot().is_none();
        let own = first.then(|| own_below(&asked.machine.cache_dir, asked.source)).flatten();
        let own = own.map(|own| Warning::OwnCache(String::from_utf8_lossy(&own).into_owned()));
        runs.push(tokio::spawn(async move {
            let result = apply::run(&common, &mut part, &mut outcome).await;
            common.leave(place);
            outcome.warnings.extend(own);
            if let Owner::Perhaps(note) = owner {
                outcome.warnings.push(Warning::Owner(note));
            }
            outcome.bytes.read = common.hub.bytes_read();
            outcome.requests = part.destination.backend.meter().requests();
            outcome.seconds = started.elapsed().as_secs_f64();
            part.progress.set_phase(if result.is_ok() { Phase::Finished } else { Phase::Failed });
            told(&common, &part.destination, &mut outcome, result.as_ref().err()).await;
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

/// Says that one may not run.
async fn not_begun(common: &Common, destination: &Destination, progress: Option<&Arc<Progress>>, outcome: &mut Outcome, error: &Error) {
    if let Some(progress) = progress {
        progress.set_phase(Phase::Failed);
    }
    outcome.requests = destination.backend.meter().requests();
    told(common, destination, outcome, Some(error)).await;
}

/// Leaves word of how a job ended there.
async fn told(common: &Common, destination: &Destination, outcome: &mut Outcome, error: Option<&Error>) {
    let Some(job) = &common.job else { return };
    let mut ended = outcome.clone();
    finish(&mut ended, error);
    if let Err(error) = status::leave(destination, &common.machine, job, common.kind.as_deref(), &ended).await {
        outcome.warnings.push(Warning::WordNotLeft(error.to_string()));
    }
}

/// How each destination ended.
struct Ends<'a> {
    outcomes: &'a mut Vec<Outcome>,
    errors: &'a mut Vec<Option<Error>>,
}

/// Exit code and error text.
pub(super) fn finish(outcome: &mut Outcome, error: Option<&Error>) {
    let not_taken = outcome.dumps.iter().find_map(|dump| {
        let stays = if dump.stays { "the last good one stays" } else { "and there is none of an earlier run" };
        Some(format!("the dump {} was not taken, {stays}: {}", dump.path, dump.error.as_ref()?))
    });
    outcome.error = error.map(ToString::to_string).or(not_taken);
    outcome.failure = error.map(Failure::from);
    (outcome.unread_total, outcome.unstable_total) = (outcome.unread.cut(), outcome.unstable.cut());
    (outcome.vanished_total, outcome.skipped_total) = (outcome.vanished.cut(), outcome.skipped.cut());
    outcome.unset_total = outcome.unset.cut();
    let untidy = outcome.warnings.iter().any(Warning::is_unfinished);
    outcome.exit = match error {
        Some(error) => error.exit_code(),
        None if outcome.dumps.iter().any(|dump| dump.error.is_some()) => 1,
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
    backends::location::shown(url)
}

/// The clock that the kernel stamps files with.
pub(super) fn coarse_now() -> Time {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    Time { secs: now.tv_sec, nanos: u32::try_from(now.tv_nsec).unwrap_or(0) }
}
