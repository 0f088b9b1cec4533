//! What went wrong besides a job or a run, without changing its result.
//!
//! Owns these warnings and their words.

use std::fmt;

use serde::{Serialize, Serializer};

/// One of them; the texts inside say where, or why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobWarning {
    /// A destination was made as declared, and is so no longer.
    Drifted {
        url: String,
        what: String,
    },
    /// A destination could not be made as declared in everything.
    NotAsDeclared {
        url: String,
        what: String,
    },
    /// Nobody could look whether a destination is as declared.
    NotLookedAt(String),
    /// The record that `offsite status` reads.
    WordNotLeft(String),
    /// The same, of a job that was skipped.
    SkipNotLeft(String),
    /// A command of the user's after the job.
    AfterJob(String),
    /// A command of the user's after the whole run.
    AfterRun(String),
    Metrics(String),
    /// A notification that failed, and why.
    NotTold {
        who: String,
        why: String,
    },
}

impl fmt::Display for JobWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drifted { url, what } => {
                write!(f, "{url}: it differs from `initialize`: {what}; `offsite init` corrects it")
            }
            Self::NotAsDeclared { url, what } => {
                write!(f, "{url}: it differs from `initialize`: {what}; `offsite init --check` shows all settings")
            }
            Self::NotLookedAt(why) => write!(f, "initialize: {why}"),
            Self::WordNotLeft(why) => write!(f, "could not update the run record at the destination: {why}"),
            Self::SkipNotLeft(why) => write!(f, "could not record at the destination that it was skipped: {why}"),
            Self::AfterJob(why) => write!(f, "a hook after the job failed: {why}"),
            Self::AfterRun(why) => write!(f, "a hook after the run failed: {why}"),
            Self::Metrics(why) => write!(f, "metrics: {why}"),
            Self::NotTold { who, why } => write!(f, "{who}: {why}"),
        }
    }
}

impl Serialize for JobWarning {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
