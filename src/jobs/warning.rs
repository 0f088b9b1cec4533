//! Warnings of a job or a run: problems besides the sync itself.
//!
//! Owns the warnings and their texts. Invariant: a warning does not change the result. If a failed hook fails a job or
//! a run, the runner sets the result.

use std::fmt;

use serde::{Serialize, Serializer};

/// A warning. Its texts say which destination or notification it concerns, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobWarning {
    /// A destination was set up as declared and differs now.
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
    /// Why the declared settings could not be applied or checked.
    DriftUnknown(String),
    /// Why the run record, which `offsite status` reads, was not written.
    RunUnrecorded(String),
    /// Why the run record of a skipped job was not written.
    SkipUnrecorded(String),
    /// A hook after the job failed.
    AfterJob(String),
    /// A hook after the whole run failed.
    AfterRun(String),
    /// Why the metrics file was not written.
    Metrics(String),
    /// A notification that failed.
    NotNotified {
        /// Its kind and recipient, for example `the ping to hc-ping.com`.
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
