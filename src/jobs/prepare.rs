//! Destinations made ready before a job goes there.
//!
//! Owns when that is looked at: settings that the config declares are made once for each place and wish on this
//! machine, and looked at again once a week, since looking costs requests; a command of the user's before each run.
//! Never on a dry run. What has drifted is said and not put right: somebody may have had a reason.
//! Invariant: a place whose own command failed is not synced to: it may have been a mount that did not come about.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::hooks;
use super::outcome::JobOutcome;
use crate::config::{Absent, Job, Made, Place};
use crate::engine::{self, Deed, Machine, Outcome};
use crate::model::Hash;
use crate::transfer::Stop;

/// How long what was seen to be as declared is taken to be so.
const LOOK_AGAIN: Duration = Duration::from_secs(7 * 86_400);

/// Makes the places of a job ready; answers those that can be synced to.
pub async fn places<'a>(
    machine: &Machine,
    job: &'a Job,
    variables: &[(String, String)],
    stop: &Stop,
    outcome: &mut JobOutcome,
) -> Vec<&'a Place> {
    let mut ready = Vec::new();
    for place in &job.places {
        if is_left_out(machine, place, outcome).await {
            continue;
        }
        match &place.initialize {
            Made::AsNeeded => ready.push(place),
            Made::Declared(want) => {
                let mark = mark(machine, place, want);
                match last_seen(&mark) {
                    None => declared(place, want, &mark, outcome).await,
                    Some(age) if age >= LOOK_AGAIN => drifted(place, want, &mark, outcome).await,
                    Some(_) => {}
                }
                ready.push(place);
            }
            Made::By(command) => {
                let mut variables = variables.to_vec();
                variables.push(("OFFSITE_DESTINATION".to_owned(), place.url.clone()));
                let hook = hooks::run("initialize", command, &variables, job.hooks.timeout, stop).await;
                match &hook.error {
                    None => ready.push(place),
                    Some(why) => {
                        let error = format!("its initialize command failed ({why}), so nothing was sent there");
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
pub async fn is_left_out(machine: &Machine, place: &Place, outcome: &mut JobOutcome) -> bool {
    let absent = place.absent == Absent::Skip && engine::is_absent(machine, &place.url).await.unwrap_or(false);
    if absent {
        outcome.absent.push(shown(place));
    }
    absent
}

/// How long ago a place was seen to be as declared; none if it never was. A clock that was put back counts as now.
fn last_seen(mark: &Path) -> Option<Duration> {
    let seen = mark.metadata().and_then(|meta| meta.modified()).ok()?;
    Some(seen.elapsed().unwrap_or_default())
}

/// Looks whether a place is still as it was made. Until it is, each run looks and says so.
async fn drifted(place: &Place, want: &offsite_backends::Initialize, mark: &Path, outcome: &mut JobOutcome) {
    let looked = match engine::initialize(std::slice::from_ref(&place.url), want, true).await {
        Ok(looked) => looked,
        Err(error) => return outcome.warnings.push(format!("initialize: {error}")),
    };
    for report in looked.destinations {
        if report.exit == 0 {
            let _ = std::fs::write(mark, b"");
            continue;
        }
        let rows = report.settings.iter().filter(|row| !matches!(row.did, Deed::Nothing | Deed::Changed));
        let rows: Vec<_> = rows.map(|row| format!("{} is `{}`, not `{}`", row.setting, row.was, row.wanted)).collect();
        let what = report.error.clone().unwrap_or_else(|| rows.join("; "));
        outcome.warnings.push(format!("{}: it is no longer as `initialize` declares it: {what}; `offsite init` puts it right", report.url));
        outcome.initialized.push(report);
    }
}

async fn declared(place: &Place, want: &offsite_backends::Initialize, mark: &PathBuf, outcome: &mut JobOutcome) {
    match engine::initialize(std::slice::from_ref(&place.url), want, false).await {
        Ok(made) => {
            for report in made.destinations {
                if report.exit == 0 {
                    // Where it cannot be remembered it is looked at again the next time.
                    let _ = mark.parent().map(engine::private_dir);
                    let _ = engine::private_file().write(true).create(true).truncate(true).open(mark);
                } else {
                    outcome
                        .warnings
                        .push(format!("{}: not everything is as `initialize` declares it; `offsite init --check` says what", report.url));
                }
                outcome.initialized.push(report);
            }
        }
        Err(error) => outcome.warnings.push(format!("initialize: {error}")),
    }
}

/// A file that says that these wishes were found or made there.
fn mark(machine: &Machine, place: &Place, want: &offsite_backends::Initialize) -> PathBuf {
    let id = Hash::of(format!("{}\0{want:?}", place.url).as_bytes()).to_string();
    machine.cache_dir.join("jobs").join(format!("{}.made", &id[..24]))
}

/// A place, for messages.
pub fn shown(place: &Place) -> String {
    offsite_backends::location::shown(&place.url)
}
