//! The result of a run of jobs, as plain data.
//!
//! Owns the document that offsite prints, writes for `--json`, and passes to hooks and webhooks.

use serde::Serialize;

use super::hooks::HookOutcome;
use super::warning::JobWarning;
use crate::engine::{InitReport, Note, Outcome, PlanReport};
use crate::error::Failure;

/// How a job ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Everything was backed up.
    #[default]
    Done,
    /// Committed, but some files could not be read or kept changing.
    Partly,
    /// Its source is missing, and the config allows that.
    Skipped,
    /// The config excludes this type from the job.
    Ignored,
    /// The guard refused it.
    Refused,
    /// Nothing was committed, or not everywhere.
    Failed,
    /// A signal ended it.
    Interrupted,
}

impl Ended {
    /// The result that an exit code stands for.
    pub fn of(exit: u8) -> Self {
        match exit {
            0 => Self::Done,
            3 => Self::Partly,
            4 => Self::Refused,
            130 => Self::Interrupted,
            _ => Self::Failed,
        }
    }

    /// Whether nothing went wrong.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Done | Self::Skipped | Self::Ignored)
    }

    /// The word for it in messages and in `OFFSITE_RESULT`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partly => "partly",
            Self::Skipped => "skipped",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The result of one job.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct JobOutcome {
    /// Its name in the config.
    pub job: String,
    /// The container volume, if the job's volumes were found by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// The type, if the job has types.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The directory that was backed up, as an absolute path.
    pub source: String,
    /// How it ended.
    pub result: Ended,
    /// Why it ended like this, if the destinations do not say.
    pub message: Option<String>,
    /// The same as data, if it is an error of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When it began, RFC 3339, by this machine's clock.
    pub began: String,
    /// What was found and set up at destinations before the run, if that was checked.
    pub initialized: Vec<InitReport>,
    /// One outcome for each destination that the sync reached.
    pub destinations: Vec<Outcome>,
    /// Absent destinations that were skipped, as the config says.
    pub absent: Vec<String>,
    /// On a dry run: what would be done.
    pub plans: Vec<PlanReport>,
    /// Its hooks, in the order in which they ran.
    pub hooks: Vec<HookOutcome>,
    /// What went wrong besides the job: a failed notification, a failed hook after it.
    #[schemars(with = "Vec<String>")]
    pub warnings: Vec<JobWarning>,
    /// Notes that are not errors: patterns that matched nothing, a dump whose failure could not be noticed.
    #[schemars(with = "Vec<String>")]
    pub notes: Vec<Note>,
    /// How long it took.
    pub seconds: f64,
    /// The exit code that it alone would end with.
    pub exit: u8,
}

impl JobOutcome {
    /// The job as it is named in messages.
    pub fn shown(&self) -> String {
        crate::config::shown(&self.job, self.volume.as_deref(), self.kind.as_deref())
    }

    /// How a job ended, for notifications: one line, then one line for each message, destination and warning.
    pub fn sentence(&self) -> String {
        let mut text = format!("{}: {} in {:.0} s", self.shown(), self.result.word(), self.seconds);
        let said = self.destinations.iter().map(|d| match (&d.error, d.snapshot) {
            (Some(error), _) => format!("{}: {error}", d.url),
            (None, Some(number)) => format!("{}: snapshot {number}{}", d.url, left(d)),
            (None, None) => d.url.clone(),
        });
        for line in self.message.iter().cloned().chain(said).chain(self.warnings.iter().map(ToString::to_string)) {
            text.push_str("\n  ");
            text.push_str(&line);
        }
        text
    }
}

/// The number of unreadable and of unstable files, each with an example. Empty if a snapshot has neither.
fn left(one: &Outcome) -> String {
    let unread =
        one.unread.first().first().map(|p| format!("; {} could not be read, such as {}: {}", one.unread.total(), p.path, p.problem));
    let unstable = one.unstable.first().first().map(|p| format!("; {} kept changing, such as {p}", one.unstable.total()));
    unread.into_iter().chain(unstable).collect()
}

/// The results of all jobs.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct RunOutcome {
    /// In the order in which they ran.
    pub jobs: Vec<JobOutcome>,
    /// Commands around the whole run.
    pub hooks: Vec<HookOutcome>,
    /// What went wrong without changing the result: metrics that could not be written, a failed hook.
    #[schemars(with = "Vec<String>")]
    pub warnings: Vec<JobWarning>,
    /// Whether this was a dry run, which writes nothing.
    pub dry_run: bool,
    /// How long it took.
    pub seconds: f64,
    /// The worst of the jobs' exit codes.
    pub exit: u8,
}
