//! Prepares destinations before a job.
//!
//! Owns the time of that. On each machine, offsite applies a set of declared settings once to a destination. It checks
//! them once a week, because a check costs requests. It reports drift and does not correct it, because someone may have
//! had a reason. The user's `initialize` command runs before each run. Invariants: a dry run prepares nothing. offsite
//! does not write to a destination whose `initialize` command failed, because the command may have been a mount.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::hooks::{self, HookOutcome};
use super::warning::JobWarning;
use crate::config::{Absent, InitializeMethod, Job, JobDestination};
use crate::engine::{self, InitReport, Machine, Outcome};
use crate::model::Hash;
use crate::transfer::Stop;

/// How long offsite assumes that a destination stays as declared.
const LOOK_AGAIN: Duration = Duration::from_hours(7 * 24);

/// A destination that can be synced to.
pub struct ReadyDestination<'a> {
    pub destination: &'a JobDestination,
    /// How it differs from what `initialize` declares.
    pub drift: Option<String>,
}

/// The result of preparing a job's destinations.
#[derive(Default)]
pub struct Preparation<'a> {
    pub ready: Vec<ReadyDestination<'a>>,
    /// Destinations that may be absent and are.
    pub absent: Vec<String>,
    /// The outcomes of destinations that offsite must not write to.
    pub failed: Vec<Outcome>,
    pub hooks: Vec<HookOutcome>,
    pub warnings: Vec<JobWarning>,
    /// What was found and set up.
    pub initialized: Vec<InitReport>,
}

/// Prepares the destinations of a job.
pub async fn destinations<'a>(machine: &Machine, job: &'a Job, stop: &Stop) -> Preparation<'a> {
    let mut all = Preparation::default();
    for destination in &job.destinations {
        if is_left_out(machine, destination).await {
            all.absent.push(shown(destination));
            continue;
        }
        match &destination.initialize {
            InitializeMethod::AsNeeded => all.ready.push(ReadyDestination { destination, drift: None }),
            InitializeMethod::Declared(want) => {
                let found = settings(machine, destination, want).await;
                all.ready.push(ReadyDestination { destination, drift: found.drift });
                all.initialized.extend(found.report);
                all.warnings.extend(found.warning);
            }
            InitializeMethod::By(command) => {
                let mut variables = job.variables.clone();
                variables.push(("OFFSITE_DESTINATION".to_owned(), destination.url.clone()));
                let hook = hooks::run("initialize", command, &variables, job.hooks.timeout, stop).await;
                match &hook.error {
                    None => all.ready.push(ReadyDestination { destination, drift: None }),
                    Some(why) => {
                        let error = format!("its `initialize` command failed ({why}), so nothing was sent there");
                        all.failed.push(Outcome { url: shown(destination), error: Some(error), exit: 1, ..Outcome::default() });
                    }
                }
                all.hooks.push(hook);
            }
        }
    }
    all
}

/// Whether a destination is absent and the config allows that.
pub async fn is_left_out(machine: &Machine, destination: &JobDestination) -> bool {
    destination.absent == Absent::Skip && engine::is_absent(machine, &destination.url).await.unwrap_or(false)
}

/// The result of a look at the settings of a destination.
#[derive(Default)]
struct FoundSettings {
    drift: Option<String>,
    /// What was set up, or how the settings differ. None if there is nothing to report.
    report: Option<InitReport>,
    warning: Option<JobWarning>,
}

/// Applies the declared settings for the first time, and then checks them once a week. If they differ, each run checks
/// and warns until they are as declared.
async fn settings(machine: &Machine, destination: &JobDestination, want: &offsite_backends::Initialize) -> FoundSettings {
    let mark = mark(machine, destination, want);
    let check = match last_seen(&mark) {
        Some(age) if age < LOOK_AGAIN => return FoundSettings::default(),
        seen => seen.is_some(),
    };
    let report = match engine::initialize(std::slice::from_ref(&destination.url), want, check).await {
        Ok(found) => found.destinations.into_iter().next(),
        Err(error) => return FoundSettings { warning: Some(JobWarning::DriftUnknown(error.to_string())), ..FoundSettings::default() },
    };
    let Some(report) = report else { return FoundSettings::default() };
    let drift = report.drift();
    let warning = drift.clone().map(|what| match check {
        true => JobWarning::Drifted { url: report.url.clone(), what },
        false => JobWarning::NotAsDeclared { url: report.url.clone(), what },
    });
    if drift.is_none() {
        // Without the mark, the next run applies the settings again.
        let _ = mark.parent().map(engine::private_dir);
        let file = engine::private_file().write(true).create(true).truncate(true).open(&mark);
        let _ = file.and_then(|file| file.set_modified(std::time::SystemTime::now()));
    }
    let report = Some(report).filter(|_| !check || drift.is_some());
    FoundSettings { drift, report, warning }
}

/// Time since a destination was last found as declared. `None` if it never was. Zero if the clock was set back.
fn last_seen(mark: &Path) -> Option<Duration> {
    let seen = mark.metadata().and_then(|meta| meta.modified()).ok()?;
    Some(seen.elapsed().unwrap_or_default())
}

/// The file whose mtime says when the destination was last found with these settings.
fn mark(machine: &Machine, destination: &JobDestination, want: &offsite_backends::Initialize) -> PathBuf {
    let id = Hash::of(format!("{}\0{want:?}", destination.url).as_bytes()).to_string();
    machine.cache_dir.join("jobs").join(format!("{}.made", &id[..24]))
}

/// The URL of a destination, for messages.
pub fn shown(destination: &JobDestination) -> String {
    offsite_backends::location::shown(&destination.url)
}
