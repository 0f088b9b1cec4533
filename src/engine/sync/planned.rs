//! `plan`: what a sync would do at each destination.
//!
//! Owns the report of a plan. It compares, judges and saves a plan as a sync does, and writes nothing at the destination.

use std::path::Path;
use std::time::Instant;

use futures::future::join_all;
use offsite_backends as backends;

use super::decide::{DecidedPlan, decide};
use super::options::SyncOptions;
use super::planning::FinishedPlan;
use super::prepare::{End, Opened, Prepared, SyncRequest, compared};
use super::repack::{self, Repack};
use super::saved_plan::{Saving, save_plan};
use crate::engine::control::RunControl;
use crate::engine::machine::Machine;
use crate::engine::outcome::{PlanReport, PlannedChange};
use crate::error::{Error, Failure, Result};
use crate::model::{Change, Sample};
use crate::plan::PlanTarget;
use crate::spool::Reader;
use crate::transfer::Line;

/// Largest number of changes that a plan lists. Its figures count all changes.
const LISTED: usize = 100_000;

/// Returns what a sync would do at each destination. It writes nothing there. With `keep`, it saves the plan to that
/// file.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, RunControl, SyncOptions};
/// # use offsite::engine::Machine;
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # let urls = [backup.clone()];
/// # engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// std::fs::write(site.join("about.html"), "<h1>about</h1>")?;
/// let plans = engine::plan(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1), None).await;
/// let plan = &plans[0];
/// assert_eq!((plan.base, plan.changes.added, plan.bytes), (Some(1), 1, 14));
/// assert!(plan.refused.is_empty() && plan.listed.iter().any(|change| change.path.to_string() == "about.html"));
/// assert!(!at("backup/about.html").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

/// [`plan`] over backends that are already open. A saved plan names its destination by the URL in `opened`.
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
    let Prepared { destinations, ends, seen, scan_start } = compared(asked, opened).await;
    let mut reports: Vec<PlanReport> = ends.iter().map(|end| empty_report(end, options)).collect();
    let Some(mut seen) = seen else { return reports };
    let sides = std::mem::take(&mut seen.sides);
    for ((index, destination), side) in destinations.into_iter().zip(sides) {
        let decided = tokio::task::block_in_place(|| decide(&asked, &seen, &destination, side));
        let saving = keep.map(|to| Saving { to, source, url: &urls[index], keep: options.keep.clone(), scan_start });
        let unread = Sample::of(&seen.scanned.unread);
        let empty = PlanReport { unread, ..reports[index].clone() };
        reports[index] = match decided {
            Ok(DecidedPlan { plan, file, .. }) => {
                let report = judged(empty, &plan, destination.number());
                // A saved plan is carried out exactly as it is, so it repacks nothing.
                let report = match report.refused.is_empty() && saving.is_none() {
                    true => {
                        repacking(report, &plan, &repack::choose(options, &destination, &file, (&plan.facts, plan.cost)).await, options)
                    }
                    false => report,
                };
                let saved = saving.map_or(Ok(()), |saving| save_plan(&saving, &file, &plan, &destination));
                match saved.and_then(|()| listed(&file)) {
                    Ok(listed) => PlanReport { listed, ..report },
                    Err(error) => failed(report, &error),
                }
            }
            Err(error) => failed(empty, &error),
        };
        reports[index].unread_total = reports[index].unread.cut();
    }
    reports
}

/// The report of a destination before its plan is judged.
fn empty_report(end: &End, options: &SyncOptions) -> PlanReport {
    let End { outcome, error } = end;
    let report = PlanReport {
        url: outcome.url.clone(),
        base: outcome.base,
        changes: outcome.changes,
        bytes: 0,
        requests: Default::default(),
        cost: 0.0,
        price: options.price_name.clone(),
        repack: None,
        refused: Vec::new(),
        unread: Sample::default(),
        unread_total: None,
        listed: Vec::new(),
        error: None,
        failure: None,
        exit: 0,
    };
    match error {
        Some(error) => failed(report, error),
        None => report,
    }
}

fn failed(report: PlanReport, error: &Error) -> PlanReport {
    PlanReport { error: Some(error.to_string()), failure: Some(Failure::from(error)), exit: error.exit_code(), ..report }
}

/// The report with what the guard and the prices say of the plan.
fn judged(mut report: PlanReport, planned: &FinishedPlan, number: u64) -> PlanReport {
    report.unread.extend(planned.unread.iter().cloned());
    PlanReport {
        base: Some(number).filter(|n| *n > 0),
        changes: planned.facts.counts,
        bytes: planned.facts.bytes,
        requests: planned.estimate,
        cost: planned.cost,
        refused: planned.refused.clone(),
        exit: if planned.refused.is_empty() { 0 } else { 4 },
        ..report
    }
}

/// The report with what the run would repack, and the requests and the cost of that.
fn repacking(report: PlanReport, planned: &FinishedPlan, repack: &Repack, options: &SyncOptions) -> PlanReport {
    let Some(outcome) = repack.planned() else { return report };
    let (mut facts, bytes) = (planned.facts, outcome.bytes);
    (facts.bytes, facts.counts.changed) = (facts.bytes.saturating_add(bytes), facts.counts.changed.max(1));
    let requests = facts.estimate(PlanTarget { packed: true, ..PlanTarget::default() });
    PlanReport { repack: Some(outcome), cost: options.price.requests(&requests), requests, ..report }
}

/// The first changes of a plan. Deletes its file.
fn listed(plan: &Path) -> Result<Vec<PlannedChange>> {
    let mut listed = Vec::new();
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        if listed.len() == LISTED {
            break;
        }
        listed.extend(planned_change(&line.step));
    }
    let _ = std::fs::remove_file(plan);
    Ok(listed)
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
