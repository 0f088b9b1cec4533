//! Destinations made ready before a job goes there.
//!
//! Owns when that is looked at: settings that the config declares, once for each place and wish on this machine,
//! since looking costs requests; a command of the user's before each run. Never on a dry run.
//! Invariant: a place whose own command failed is not synced to: it may have been a mount that did not come about.

use std::path::PathBuf;

use super::hooks;
use super::outcome::JobOutcome;
use crate::config::{Absent, Job, Made, Place};
use crate::engine::{self, Machine, Outcome};
use crate::model::Hash;
use crate::transfer::Stop;

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
                if !mark.exists() {
                    declared(place, want, &mark, outcome).await;
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
