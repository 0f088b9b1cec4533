//! `sync` and `plan`: one source, several destinations, one read.
//!
//! Owns the flow. Each destination has its own manifest, plan, journal and outcome; what goes wrong at one
//! stops no other.

mod adopt;
mod apply;
mod compare;
mod dumps;
mod left_out;
pub mod options;
mod orphans;
pub mod owner;
mod planning;
mod preflight;
mod prepare;
mod renames;
mod run;
pub mod saved_plan;
pub mod spellings;
mod twins;
mod unfinished_uploads;
mod unverified;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use offsite_backends as backends;
use tokio::task::JoinHandle;

use super::destination::{Destination, parts_of};
use super::machine::Machine;
use super::note::Note;
use super::outcome::{Outcome, PlanReport, PlannedChange, SyncOutcome};
use super::paths::own_below;
use super::status;
use super::warning::Warning;
use crate::engine::control::{RunControl, WINDOW};
use crate::engine::outcome::{finish, worst};
use crate::engine::sync::options::SyncOptions;
use crate::error::{Error, Failure, Result};
use crate::model::{Change, Problem, Sample, Time};
use crate::plan::PlanTarget;
use crate::spool::Reader;
use crate::transfer::{DumpStreams, Limit, Line, Phase, Progress, SharedReader, Stop};
use compare::{Side, shown};
use owner::{Claimant, Owner};
use planning::{Draft, FinishedPlan, Judging};
use prepare::{Opened, Prepared, ScanResult, SyncRequest, compared};
use run::{Common, DestinationRun};
use saved_plan::{Saving, save_plan};

/// Reads that wait for slower destinations.
const SHARED: u64 = 24 << 20;
/// A plan lists so many changes; the figures count all.
const LISTED: usize = 100_000;

/// Syncs a directory with each destination.
pub async fn sync(machine: &Machine, source: &Path, urls: &[String], options: &SyncOptions, control: &RunControl) -> SyncOutcome {
    let opened = join_all(urls.iter().map(|url| backends::open(url))).await;
    let opened = urls.iter().cloned().zip(opened.into_iter().map(|r| r.map_err(Error::from))).collect();
    sync_over(machine, source, opened, options, control).await
}

/// The same over backends that are open already.
pub async fn sync_over(machine: &Machine, source: &Path, opened: Opened, options: &SyncOptions, control: &RunControl) -> SyncOutcome {
    let asked = SyncRequest { machine, source, options, control, started: Instant::now(), writes: true };
    let Prepared { destinations, mut outcomes, mut errors, seen, scan_start } = compared(asked, opened).await;
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
    for (progress, outcome) in control.progress.iter().zip(&outcomes) {
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
    control: &RunControl,
    keep: Option<&Path>,
) -> Vec<PlanReport> {
    let opened = join_all(urls.iter().map(|url| backends::open(url))).await;
    let opened = urls.iter().cloned().zip(opened.into_iter().map(|r| r.map_err(Error::from))).collect();
    plan_over(machine, source, opened, options, control, keep).await
}

/// The same over backends that are open already; a plan that is kept names them as they stand here.
pub async fn plan_over(
    machine: &Machine,
    source: &Path,
    opened: Opened,
    options: &SyncOptions,
    control: &RunControl,
    keep: Option<&Path>,
) -> Vec<PlanReport> {
    let urls: Vec<String> = opened.iter().map(|(url, _)| url.clone()).collect();
    let asked = SyncRequest { machine, source, options, control, started: Instant::now(), writes: false };
    let Prepared { destinations, outcomes, errors, seen, scan_start } = compared(asked, opened).await;
    let mut reports: Vec<PlanReport> = outcomes.iter().zip(&errors).map(|(o, e)| empty_report(o, e.as_ref(), options)).collect();
    let Some(mut seen) = seen else { return reports };
    let sides = std::mem::take(&mut seen.sides);
    for ((index, destination), side) in destinations.into_iter().zip(sides) {
        let owner = owner(&asked, &destination);
        let decided = tokio::task::block_in_place(|| decide(&seen, &destination, side, options, &owner, &control.stop, true));
        let saving = keep.map(|to| Saving { to, source, url: &urls[index], keep: options.keep.clone(), scan_start });
        let report = &mut reports[index];
        report.unread = Sample::of(&seen.scanned.unread);
        let reported = decided.and_then(|(planned, path, unread)| {
            report.unread.extend(unread);
            report.unread_total = report.unread.cut();
            report_plan(report, &planned, &path, &destination, saving.as_ref())
        });
        if let Err(error) = reported {
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
    planned: &FinishedPlan,
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
    seen: &ScanResult,
    destination: &Destination,
    side: Side,
    options: &SyncOptions,
    owner: &Owner,
    stop: &Stop,
    exact: bool,
) -> Result<(FinishedPlan, PathBuf, Vec<Problem>)> {
    if let Some(error) = side.failed {
        return Err(error);
    }
    let how = Judging {
        limits: &options.limits,
        price: &options.price,
        way: PlanTarget { keeps: options.keep.keeps_old(), first: destination.head.is_none(), tree: destination.backend.tree().is_some() },
        exact: exact || options.limits.max_bytes.is_some() || options.limits.max_cost.is_some(),
    };
    let mut unread = Vec::new();
    let parts = parts_of(destination);
    let draft = Draft { root: &seen.root, path: &side.path, base: destination.base()?, facts: side.facts, parts: &parts };
    let mut planned = planning::finish(draft, &how, stop, &mut unread)?;
    planned.refused.extend(preflight::refusal(&destination.foreign, &side.path)?);
    if let Owner::Other(why) = owner {
        planned.refused.push(why.clone());
    }
    Ok((planned, side.path, unread))
}

/// Whether the place is this run's own.
fn owner(asked: &SyncRequest<'_>, destination: &Destination) -> Owner {
    let SyncRequest { machine, source, options, .. } = *asked;
    let now = Claimant { host: &machine.host, source, job: options.job.as_deref(), kind: options.kind.as_deref() };
    Owner::of(destination, &now, options.limits.take_over)
}

/// What all destinations of this run share.
fn common(asked: SyncRequest<'_>, seen: &ScanResult, count: usize, scan_start: Time) -> Common {
    let SyncRequest { machine, source, options, control, .. } = asked;
    Common {
        machine: machine.clone(),
        shared_reader: Arc::new(SharedReader::new(Arc::clone(&seen.root), count, SHARED)),
        stop: Arc::clone(&control.stop),
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
        dump_streams: Arc::new(DumpStreams::new(options.dumps.clone(), count, Arc::clone(&control.stop))),
    }
}

/// Judges all plans, then carries out those that may run, side by side.
async fn carry_out(
    asked: SyncRequest<'_>,
    mut seen: ScanResult,
    destinations: Vec<(usize, Destination)>,
    ends: &mut Ends<'_>,
    scan_start: Time,
) {
    let SyncRequest { options, control, started, .. } = asked;
    let common = Arc::new(common(asked, &seen, destinations.len(), scan_start));
    let sides = std::mem::take(&mut seen.sides);
    let mut runs = Vec::new();
    for (place, ((index, destination), side)) in destinations.into_iter().zip(sides).enumerate() {
        ends.outcomes[index].skipped = Sample::of(&seen.scanned.skipped);
        let owner = owner(&asked, &destination);
        let decided = tokio::task::block_in_place(|| decide(&seen, &destination, side, options, &owner, &control.stop, false));
        let decided = decided.and_then(|(planned, plan, unread)| {
            ends.outcomes[index].changes = planned.facts.counts;
            planning::verdict(&planned.refused)?;
            Ok((planned, plan, unread))
        });
        let (planned, plan, unread) = match decided {
            Ok(decided) => decided,
            Err(error) => {
                common.leave(place);
                not_begun(&common, &destination, control.progress.get(index), &mut ends.outcomes[index], &error).await;
                ends.errors[index] = Some(error);
                continue;
            }
        };
        let progress = control.progress.get(index).cloned().unwrap_or_default();
        let mut part = DestinationRun { destination, index: place, plan, facts: planned.facts, unread, progress };
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
            outcome.bytes.read = common.shared_reader.bytes_read();
            outcome.requests = part.destination.backend.meter().requests();
            outcome.seconds = started.elapsed().as_secs_f64();
            part.progress.set_phase(if result.is_ok() { Phase::Finished } else { Phase::Failed });
            record_run(&common, &part.destination, &mut outcome, result.as_ref().err()).await;
            (index, outcome, result)
        }));
    }
    collect(runs, ends).await;
    ends.outcomes.iter_mut().for_each(|o| o.bytes.read = common.shared_reader.bytes_read());
}

/// Waits for every run and puts down how it ended.
async fn collect(runs: Vec<JoinHandle<(usize, Outcome, Result<()>)>>, ends: &mut Ends<'_>) {
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
}

/// Says that one may not run.
async fn not_begun(common: &Common, destination: &Destination, progress: Option<&Arc<Progress>>, outcome: &mut Outcome, error: &Error) {
    if let Some(progress) = progress {
        progress.set_phase(Phase::Failed);
    }
    outcome.requests = destination.backend.meter().requests();
    record_run(common, destination, outcome, Some(error)).await;
}

/// Writes the run record of a job to the destination.
async fn record_run(common: &Common, destination: &Destination, outcome: &mut Outcome, error: Option<&Error>) {
    let Some(job) = &common.job else { return };
    let mut ended = outcome.clone();
    finish(&mut ended, error);
    if let Err(error) = status::record_outcome(destination, &common.machine, job, common.kind.as_deref(), &ended).await {
        outcome.warnings.push(Warning::RunUnrecorded(error.to_string()));
    }
}

/// How each destination ended.
struct Ends<'a> {
    outcomes: &'a mut Vec<Outcome>,
    errors: &'a mut Vec<Option<Error>>,
}
