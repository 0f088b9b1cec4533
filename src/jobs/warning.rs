//! What went wrong besides a job or a run, without changing its result.
//!
//! Owns these warnings and their words.

use std::fmt;

use serde::{Serialize, Serializer};

/// A warning. The texts inside say where, or why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobWarning {
    /// A destination was set up as declared, and differs now.
    Drifted {
        /// The destination.
        url: String,
        /// What differs.
        what: String,
    },
    /// `initialize` could not set up everything that the config declares.
    NotAsDeclared {
        /// The destination.
        url: String,
        /// What is still different, and why.
        what: String,
    },
    /// Why drift could not be looked for.
    DriftUnknown(String),
    /// Why the run record, which `offsite status` reads, was not written.
    RunUnrecorded(String),
    /// The same, of a job that was skipped.
    SkipUnrecorded(String),
    /// A hook after the job failed.
    AfterJob(String),
    /// A hook after the whole run failed.
    AfterRun(String),
    /// Why the metrics file was not written.
    Metrics(String),
    /// A notification that failed.
    NotNotified {
        /// The program or host that should have got it.
        who: String,
        /// Why it failed.
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
            Self::DriftUnknown(why) => write!(f, "initialize: {why}"),
            Self::RunUnrecorded(why) => write!(f, "could not update the run record at the destination: {why}"),
            Self::SkipUnrecorded(why) => write!(f, "could not record at the destination that it was skipped: {why}"),
            Self::AfterJob(why) => write!(f, "a hook after the job failed: {why}"),
            Self::AfterRun(why) => write!(f, "a hook after the run failed: {why}"),
            Self::Metrics(why) => write!(f, "metrics: {why}"),
            Self::NotNotified { who, why } => write!(f, "{who}: {why}"),
        }
    }
}

impl Serialize for JobWarning {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
