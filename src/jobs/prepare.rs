//! Preparing destinations before a job.
//!
//! Owns when that happens. Settings that the config declares are applied once for each destination and set of settings on
//! this machine, and checked again once a week, because checking costs requests. A command of the user's runs before each
//! run. Never on a dry run. Drift is reported and not corrected, because someone may have had a reason.
//! Invariant: a destination whose own command failed is not written to, because the command may have been a mount.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::hooks;
use super::outcome::JobOutcome;
use super::warning::JobWarning;
use crate::config::{Absent, Job, JobDestination, Made};
use crate::engine::{self, InitReport, Machine, Outcome};
use crate::model::Hash;
use crate::transfer::Stop;

/// How long a destination that was as declared is assumed to stay so.
const LOOK_AGAIN: Duration = Duration::from_secs(7 * 86_400);

/// A place that can be synced to.
pub struct PreparedJob<'a> {
    pub place: &'a JobDestination,
    /// What is not as `initialize` declares it.
    pub drift: Option<String>,
}

/// Makes the places of a job ready; answers those that can be synced to.
pub async fn places<'a>(
    machine: &Machine,
    job: &'a Job,
    variables: &[(String, String)],
    stop: &Stop,
    outcome: &mut JobOutcome,
) -> Vec<PreparedJob<'a>> {
    let mut ready = Vec::new();
    for place in &job.places {
        if is_left_out(machine, place, outcome).await {
            continue;
        }
        match &place.initialize {
            Made::AsNeeded => ready.push(PreparedJob { place, drift: None }),
            Made::Declared(want) => {
                let mark = mark(machine, place, want);
                let drift = match last_seen(&mark) {
                    None => declared(place, want, &mark, outcome).await,
                    Some(age) if age >= LOOK_AGAIN => drifted(place, want, &mark, outcome).await,
                    Some(_) => None,
                };
                ready.push(PreparedJob { place, drift });
            }
            Made::By(command) => {
                let mut variables = variables.to_vec();
                variables.push(("OFFSITE_DESTINATION".to_owned(), place.url.clone()));
                let hook = hooks::run("initialize", command, &variables, job.hooks.timeout, stop).await;
                match &hook.error {
                    None => ready.push(PreparedJob { place, drift: None }),
                    Some(why) => {
                        let error = format!("its `initialize` command failed ({why}), so nothing was sent there");
                        outcome.destinations.push(Outcome { url: shown(place), error: Some(error), exit: 1, ..Outcome::default() });
                    }
                }
                outcome.hooks.push(hook);
            }
        }
    }
    ready
}

/// Whether a place is not there now and may be so; it is noted then.
pub async fn is_left_out(machine: &Machine, place: &JobDestination, outcome: &mut JobOutcome) -> bool {
    let absent = place.absent == Absent::Skip && engine::is_absent(machine, &place.url).await.unwrap_or(false);
    if absent {
        outcome.absent.push(shown(place));
    }
    absent
}

/// How long ago a destination was as declared; none if it never was. A clock that was set back counts as now.
fn last_seen(mark: &Path) -> Option<Duration> {
    let seen = mark.metadata().and_then(|meta| meta.modified()).ok()?;
    Some(seen.elapsed().unwrap_or_default())
}

/// Looks whether a place is still as it was made. Until it is, each run looks and says so.
async fn drifted(place: &JobDestination, want: &offsite_backends::Initialize, mark: &Path, outcome: &mut JobOutcome) -> Option<String> {
    let report = look(place, want, true, outcome).await?;
    let Some(what) = report.drift() else {
        let _ = std::fs::write(mark, b"");
        return None;
    };
    outcome.warnings.push(JobWarning::Drifted { url: report.url.clone(), what: what.clone() });
    outcome.initialized.push(report);
    Some(what)
}

/// Makes a place as it is declared, for the first time. Where that cannot be remembered it is looked at again.
async fn declared(place: &JobDestination, want: &offsite_backends::Initialize, mark: &Path, outcome: &mut JobOutcome) -> Option<String> {
    let report = look(place, want, false, outcome).await?;
    let drift = report.drift();
    if let Some(what) = &drift {
        outcome.warnings.push(JobWarning::NotAsDeclared { url: report.url.clone(), what: what.clone() });
    } else {
        let _ = mark.parent().map(engine::private_dir);
        let _ = engine::private_file().write(true).create(true).truncate(true).open(mark);
    }
    outcome.initialized.push(report);
    drift
}

async fn look(place: &JobDestination, want: &offsite_backends::Initialize, check: bool, outcome: &mut JobOutcome) -> Option<InitReport> {
    match engine::initialize(std::slice::from_ref(&place.url), want, check).await {
        Ok(looked) => looked.destinations.into_iter().next(),
        Err(error) => {
            outcome.warnings.push(JobWarning::DriftUnknown(error.to_string()));
            None
        }
    }
}

/// A file that says that these wishes were found or made there.
fn mark(machine: &Machine, place: &JobDestination, want: &offsite_backends::Initialize) -> PathBuf {
    let id = Hash::of(format!("{}\0{want:?}", place.url).as_bytes()).to_string();
    machine.cache_dir.join("jobs").join(format!("{}.made", &id[..24]))
}

/// A place, for messages.
pub fn shown(place: &JobDestination) -> String {
    offsite_backends::location::shown(&place.url)
}
