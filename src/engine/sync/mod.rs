//! `sync` and `plan`: one source, several destinations, one read.
//!
//! Owns the flow of a run, from the comparison to the outcomes. Each destination has its own manifest, plan, journal
//! and outcome.
//! Invariant: an error at one destination does not stop the others.

mod adopt;
pub mod apply;
pub mod compare;
mod compare_entries;
mod decide;
mod dumps;
mod left_out;
mod new_destination;
pub mod options;
mod orphans;
pub mod owner;
pub mod packing;
mod planned;
pub mod planning;
pub mod preflight;
pub mod prepare;
pub mod renames;
pub mod repack;
pub mod replay;
pub mod run;
pub mod saved_plan;
pub mod spellings;
pub mod tidy;
mod twins;
mod unfinished_uploads;
mod unverified;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use offsite_backends as backends;
use tokio::task::JoinHandle;

use super::destination::Destination;
use super::machine::Machine;
use super::note::Note;
use super::outcome::{Outcome, SyncOutcome};
use super::paths::own_below;
use super::status;
use super::warning::Warning;
use crate::engine::control::{RunControl, WINDOW};
use crate::engine::outcome::{finished, worst};
use crate::engine::sync::options::SyncOptions;
use crate::error::Error;
use crate::model::{Sample, Time};
use crate::transfer::{DumpStreams, Limit, Phase, SharedReader};
use apply::Applied;
use compare::shown;
pub use compare_entries::compare_entries;
use decide::{DecidedPlan, decide};
use owner::Owner;
pub use planned::{plan, plan_over};
use planning::FinishedPlan;
use prepare::{End, Opened, Prepared, ScanResult, SyncRequest, compared};
use run::{Common, DestinationRun};

/// Bytes that the shared reader may hold for destinations that have not taken them yet.
const SHARED: u64 = 24 << 20;

/// Syncs a directory with each destination.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, Machine, RunControl, SyncOptions};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # std::fs::write(at("file"), "")?;
/// let urls = [backup, at("file").display().to_string()];
/// let outcome = engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(urls.len())).await;
///
/// // The second URL is not a directory. Its outcome has the error, and the first destination has its snapshot.
/// let [good, bad] = &outcome.destinations[..] else { return Err("one outcome for each URL".into()) };
/// assert_eq!((good.exit, good.snapshot, good.bytes.sent), (0, Some(1), 14));
/// assert!(bad.error.is_some() && outcome.exit == bad.exit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn sync(machine: &Machine, source: &Path, urls: &[String], options: &SyncOptions, control: &RunControl) -> SyncOutcome {
    let opened = join_all(urls.iter().map(|url| backends::open(url))).await;
    let opened = urls.iter().cloned().zip(opened.into_iter().map(|r| r.map_err(Error::from))).collect();
    sync_over(machine, source, opened, options, control).await
}

/// [`sync`] over backends that are already open.
pub async fn sync_over(machine: &Machine, source: &Path, opened: Opened, options: &SyncOptions, control: &RunControl) -> SyncOutcome {
    let asked = SyncRequest { machine, source, options, control, started: Instant::now(), writes: true };
    let Prepared { destinations, ends, seen, scan_start } = compared(asked, opened).await;
    let ends = match seen {
        Some(seen) => carry_out(asked, seen, destinations, ends, scan_start).await,
        None => ends,
    };
    let outcomes = ends.into_iter().map(|End { mut outcome, error }| {
        // A destination whose plan was carried out already has its own time, without waiting for the others.
        if outcome.seconds == 0.0 {
            outcome.seconds = asked.started.elapsed().as_secs_f64();
        }
        finished(outcome, error.as_ref())
    });
    let outcomes: Vec<Outcome> = outcomes.collect();
    for (progress, outcome) in control.progress.iter().zip(&outcomes) {
        progress.set_phase(if outcome.error.is_none() { Phase::Finished } else { Phase::Failed });
    }
    let exit = worst(outcomes.iter().map(|o| o.exit));
    // A scan that did not reach its end cannot tell that a pattern matches nothing.
    let whole = outcomes.iter().any(|o| o.snapshot.is_some() || o.exit == 0);
    let notes = if whole { Note::of(&options.walk.filter, Some(source)) } else { Vec::new() };
    SyncOutcome { destinations: outcomes, notes, exit }
}

/// What all destinations of this run share. `count` is the number of URLs, and `running` has those that take part.
fn common(asked: SyncRequest<'_>, seen: &ScanResult, count: usize, running: &[(usize, Destination)], scan_start: Time) -> Common {
    let SyncRequest { machine, source, options, control, .. } = asked;
    let common = Common {
        machine: machine.clone(),
        shared_reader: Arc::new(SharedReader::new(Arc::clone(&seen.root), count, SHARED)),
        stop: Arc::clone(&control.stop),
        source: shown(&std::path::absolute(source).unwrap_or_else(|_| source.to_path_buf())),
        tree_root: seen.tree_root.clone(),
        scan_start: Some(scan_start),
        unread: seen.scanned.unread.clone(),
        adopt: options.adopt,
        keep: options.keep.clone(),
        transfers: options.transfers,
        limit: Arc::new(Limit::new(options.limit_upload)),
        limit_download: Arc::new(Limit::new(options.limit_download)),
        window: WINDOW / running.len().max(1) as u64,
        job: options.job.clone(),
        kind: options.kind.clone(),
        dump_streams: Arc::new(DumpStreams::new(options.dumps.clone(), count, Arc::clone(&control.stop))),
        replay: None,
    };
    let absent = (0..count).filter(|index| running.iter().all(|(of, _)| of != index));
    absent.for_each(|index| common.leave(index));
    common
}

/// Judges the plan of each destination, and carries out the plans that are not refused, in parallel.
async fn carry_out(
    asked: SyncRequest<'_>,
    mut seen: ScanResult,
    destinations: Vec<(usize, Destination)>,
    mut ends: Vec<End>,
    scan_start: Time,
) -> Vec<End> {
    let SyncRequest { control, started, .. } = asked;
    let common = Arc::new(common(asked, &seen, ends.len().min(prepare::MOST), &destinations, scan_start));
    let sides = std::mem::take(&mut seen.sides);
    let mut runs = Vec::new();
    for ((index, destination), side) in destinations.into_iter().zip(sides) {
        let mut outcome = std::mem::take(&mut ends[index].outcome);
        outcome.skipped = Sample::of(&seen.scanned.skipped);
        let decided = tokio::task::block_in_place(|| decide(&asked, &seen, &destination, side));
        let decided = decided.and_then(|decided| {
            outcome.changes = decided.plan.facts.counts;
            planning::verdict(&decided.plan.refused)?;
            Ok(decided)
        });
        let DecidedPlan { plan: FinishedPlan { facts, cost, unread, .. }, file, owner } = match decided {
            Ok(decided) => decided,
            Err(error) => {
                common.leave(index);
                ends[index] = not_begun(&common, &destination, outcome, error).await;
                if let Some(progress) = control.progress.get(index) {
                    progress.set_phase(Phase::Failed);
                }
                continue;
            }
        };
        let progress = control.progress.get(index).cloned().unwrap_or_default();
        let repack = repack::choose(asked.options, &destination, &file, (&facts, cost)).await;
        let repack = repack.added_to(&destination, &file, index);
        let part = DestinationRun { destination, index, plan: file, facts, unread, progress, repack };
        ends[index].outcome = outcome.clone();
        let common = Arc::clone(&common);
        let first = part.destination.snapshot().is_none();
        let own = first.then(|| own_below(&asked.machine.cache_dir, asked.source)).flatten();
        let own = own.map(|own| Warning::OwnCache(String::from_utf8_lossy(&own).into_owned()));
        let run = tokio::spawn(async move {
            let Applied { destination, mut outcome, error } = apply::run(&common, part, outcome).await;
            common.leave(index);
            outcome.warnings.extend(own);
            if let Owner::Perhaps(note) = owner {
                outcome.warnings.push(Warning::Owner(note));
            }
            outcome.seconds = started.elapsed().as_secs_f64();
            let unrecorded = record_run(&common, &destination, &outcome, error.as_ref()).await;
            outcome.warnings.extend(unrecorded);
            End { outcome, error }
        });
        runs.push((index, run));
    }
    collect(runs, &mut ends).await;
    ends.iter_mut().for_each(|end| end.outcome.bytes.read = common.shared_reader.bytes_read());
    ends
}

/// Waits for every run and stores how it ended.
async fn collect(runs: Vec<(usize, JoinHandle<End>)>, ends: &mut [End]) {
    for (index, run) in runs {
        match run.await {
            Ok(end) => ends[index] = end,
            Err(error) => ends[index].error = Some(Error::local("a run", std::io::Error::other(error))),
        }
    }
}

/// The end of a destination whose plan is not carried out.
async fn not_begun(common: &Common, destination: &Destination, outcome: Outcome, error: Error) -> End {
    let mut outcome = Outcome { requests: destination.backend.meter().requests(), ..outcome };
    let unrecorded = record_run(common, destination, &outcome, Some(&error)).await;
    outcome.warnings.extend(unrecorded);
    End { outcome, error: Some(error) }
}

/// Writes the run record of a job to the destination. Returns a warning if that fails.
async fn record_run(common: &Common, destination: &Destination, outcome: &Outcome, error: Option<&Error>) -> Option<Warning> {
    let job = common.job.as_ref()?;
    let ended = finished(outcome.clone(), error);
    let done = status::record_outcome(destination, &common.machine, job, common.kind.as_deref(), &ended).await;
    done.err().map(|error| Warning::RunUnrecorded(error.to_string()))
}
