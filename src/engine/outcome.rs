//! What a verb did, as plain data: printed, and the `--json` document.

use offsite_backends::Requests;
use serde::Serialize;

use crate::model::{Counts, Problem, RelPath};
use crate::plan::Estimate;

/// Content bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Bytes {
    /// Read from the source, for all destinations together.
    pub read: u64,
    pub sent: u64,
    /// Copied on the server.
    pub copied: u64,
}

/// What a sync did at one destination.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct Outcome {
    pub url: String,
    /// The snapshot it committed; none if it did not.
    pub snapshot: Option<u64>,
    /// The one it was compared with; none for a first run.
    pub base: Option<u64>,
    pub changes: Counts,
    pub bytes: Bytes,
    #[schemars(with = "std::collections::BTreeMap<String, u64>")]
    pub requests: Requests,
    /// Could not be read; what the destination had of them stays.
    pub unread: Vec<Problem>,
    /// Kept changing while they were read; stored as read.
    pub unstable: Vec<RelPath>,
    /// Went away while the run went on.
    pub vanished: Vec<RelPath>,
    /// Sockets, pipes and devices.
    pub skipped: Vec<Problem>,
    /// Objects that were there already and taken over (`--adopt`).
    pub adopted: u64,
    /// Files taken over from an interrupted run.
    pub resumed: u64,
    /// Snapshots let go after the run.
    pub pruned: u64,
    pub seconds: f64,
    /// What went wrong.
    pub error: Option<String>,
    /// After the commit: what was not tidied up. The next run does it.
    pub warnings: Vec<String>,
    pub exit: u8,
}

/// What a sync did at all of them.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct SyncOutcome {
    pub destinations: Vec<Outcome>,
    /// The worst of the destinations' exit codes.
    pub exit: u8,
}

/// What a run would do at one destination.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct PlanReport {
    pub url: String,
    pub base: Option<u64>,
    pub changes: Counts,
    /// Content bytes to send.
    pub bytes: u64,
    pub requests: Estimate,
    /// US dollars for the requests, by the price named.
    pub cost: f64,
    pub price: String,
    /// Why the guard would refuse it; empty: it would run.
    pub refused: Vec<String>,
    pub unread: Vec<Problem>,
    /// The changes, unless there are too many to list.
    pub listed: Vec<PlannedChange>,
    pub error: Option<String>,
    pub exit: u8,
}

/// One change of a plan, for people and scripts.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct PlannedChange {
    pub change: &'static str,
    pub path: RelPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<RelPath>,
    pub size: u64,
}

/// What a pull did.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct PullOutcome {
    pub url: String,
    pub snapshot: u64,
    pub changes: Counts,
    /// Files fetched, and their bytes.
    pub files: u64,
    pub bytes: u64,
    #[schemars(with = "std::collections::BTreeMap<String, u64>")]
    pub requests: Requests,
    /// What could not be brought over.
    pub problems: Vec<Problem>,
    pub seconds: f64,
    pub exit: u8,
}

/// What pruning did.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct PruneOutcome {
    pub url: String,
    /// Numbers of the snapshots that stay.
    pub kept: Vec<u64>,
    /// Numbers of those that went (or would, on a dry run).
    pub removed: Vec<u64>,
    /// Kept contents that went with them.
    pub contents: u64,
    pub bytes: u64,
    #[schemars(with = "std::collections::BTreeMap<String, u64>")]
    pub requests: Requests,
    pub dry_run: bool,
}
