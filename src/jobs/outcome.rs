//! What a run of jobs did, as plain data: printed, the `--json` document, and what hooks and webhooks are given.

use serde::Serialize;

use super::hooks::HookOutcome;
use super::warning::JobWarning;
use crate::engine::{InitReport, Outcome, PlanReport};
use crate::error::Failure;

/// How a job ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Everything that could be read is there.
    #[default]
    Done,
    /// Committed, but some files could not be read or kept changing.
    Partly,
    /// Its source is not there, and that is no error.
    Skipped,
    /// The config leaves this pair of job and type out.
    Ignored,
    /// The guard refused it.
    Refused,
    Failed,
    Interrupted,
}

impl Ended {
    /// By an exit code.
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

    /// As hooks and people read it.
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

/// What became of one job.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct JobOutcome {
    pub job: String,
    /// The container volume, where the job is one that was found by its label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub source: String,
    pub result: Ended,
    /// Why it ended so, where the destinations do not say.
    pub message: Option<String>,
    /// The same as data, where it is an error of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When it began, RFC 3339, by this machine's clock.
    pub began: String,
    /// What was found and made at destinations before the run, where that was looked at.
    pub initialized: Vec<InitReport>,
    pub destinations: Vec<Outcome>,
    /// Destinations that were not there and are left out then, as the config says.
    pub absent: Vec<String>,
    /// On a dry run: what would be done.
    pub plans: Vec<PlanReport>,
    pub hooks: Vec<HookOutcome>,
    /// What went wrong beside the job: somebody could not be told, a command after it failed.
    #[schemars(with = "Vec<String>")]
    pub warnings: Vec<JobWarning>,
    /// What is worth knowing and no fault: patterns that matched nothing, a dump whose failure could not be seen.
    pub notes: Vec<String>,
    pub seconds: f64,
    pub exit: u8,
}

impl JobOutcome {
    /// The job as it is named in messages.
    pub fn shown(&self) -> String {
        crate::config::shown(&self.job, self.volume.as_deref(), self.kind.as_deref())
    }
}

/// What became of all of them.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct RunOutcome {
    pub jobs: Vec<JobOutcome>,
    /// Commands around the whole run.
    pub hooks: Vec<HookOutcome>,
    #[schemars(with = "Vec<String>")]
    pub warnings: Vec<JobWarning>,
    pub dry_run: bool,
    pub seconds: f64,
    /// The worst of the jobs' exit codes.
    pub exit: u8,
}
