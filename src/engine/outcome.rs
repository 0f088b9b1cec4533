//! What a verb did, as plain data: printed, and the `--json` document.

use offsite_backends::Requests;
use serde::Serialize;

use super::locked::Locked;
use super::warning::{Note, Warning};
use crate::error::{Error, Failure};
use crate::model::{Counts, Problem, RelPath, Sample};
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
    /// Could not be read, or the destination did not take them; what it had of them stays.
    #[schemars(with = "Vec<Problem>")]
    pub unread: Sample<Problem>,
    /// How many, where that list is cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread_total: Option<u64>,
    /// Kept changing while they were read; stored as read.
    #[schemars(with = "Vec<RelPath>")]
    pub unstable: Sample<RelPath>,
    /// How many, where that list is cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unstable_total: Option<u64>,
    /// Went away while the run went on.
    #[schemars(with = "Vec<RelPath>")]
    pub vanished: Sample<RelPath>,
    /// How many, where that list is cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vanished_total: Option<u64>,
    /// Sockets, pipes and devices.
    #[schemars(with = "Vec<Problem>")]
    pub skipped: Sample<Problem>,
    /// How many, where that list is cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped_total: Option<u64>,
    /// Lie there without an attribute that the destination does not take. The manifest has it, and a pull brings it.
    #[schemars(with = "Vec<Problem>")]
    pub unset: Sample<Problem>,
    /// How many, where that list is cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unset_total: Option<u64>,
    /// Files that were made while they were sent.
    pub dumps: Vec<DumpOutcome>,
    /// Objects that were there already and taken over (`--adopt`).
    pub adopted: u64,
    /// Files taken over from an interrupted run.
    pub resumed: u64,
    /// Snapshots let go after the run.
    pub pruned: u64,
    /// What is not as the config's `initialize` declares it, where that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    /// What is due to go and the store's object lock forbids to delete, as of when that was last looked at.
    pub locked: Option<Locked>,
    pub seconds: f64,
    /// What went wrong.
    pub error: Option<String>,
    /// The same as data, where it is an error of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// After the commit: what was not tidied up. The next run does it.
    #[schemars(with = "Vec<String>")]
    pub warnings: Vec<Warning>,
    pub exit: u8,
}

/// What became of a file that was made while it was sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct DumpOutcome {
    pub path: RelPath,
    /// Bytes of it that are there, as stored.
    pub bytes: u64,
    pub seconds: f64,
    /// An older one is there, which stays if this one is not taken.
    pub stays: bool,
    /// Why it was not taken.
    pub error: Option<String>,
}

/// What a sync did at all of them.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct SyncOutcome {
    pub destinations: Vec<Outcome>,
    /// What is worth knowing and no fault: patterns that matched nothing.
    #[schemars(with = "Vec<String>")]
    pub notes: Vec<Note>,
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
    #[schemars(with = "Vec<Problem>")]
    pub unread: Sample<Problem>,
    /// How many, where that list is cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread_total: Option<u64>,
    /// The changes, unless there are too many to list.
    pub listed: Vec<PlannedChange>,
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
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
    #[schemars(with = "Vec<Problem>")]
    pub problems: Sample<Problem>,
    /// How many, where that list is cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problems_total: Option<u64>,
    /// Files whose contents lie in an archive; of `problems`.
    pub archived: u64,
    /// Entries without the set-id bits or attributes they had, which were not to be restored.
    pub left_out: u64,
    /// What else is to be known.
    pub notes: Vec<String>,
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
    /// What is due to go and the store's object lock forbids to delete.
    pub locked: Option<Locked>,
    #[schemars(with = "std::collections::BTreeMap<String, u64>")]
    pub requests: Requests,
    pub dry_run: bool,
}

/// What is wrong with something that must be at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Flaw {
    /// It is not there.
    Missing,
    /// Something else is there: another size, tag, version, kind or link target.
    Changed,
    /// It was read, and is not what was stored.
    Damaged,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Finding {
    pub flaw: Flaw,
    /// A path of the tree; for offsite's own objects the key.
    pub path: RelPath,
    pub problem: String,
    /// The oldest and the newest snapshot that it hurts.
    pub first_snapshot: u64,
    pub last_snapshot: u64,
}

/// An object that no snapshot names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Foreign {
    pub key: RelPath,
    pub size: u64,
    /// It lies where offsite keeps its own: left by a run that was cut off.
    pub stray: bool,
}

/// How many contents were read and compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct ReadBack {
    /// The share that was asked for: 0.05 is 5 %.
    pub share: f64,
    pub files: u64,
    pub bytes: u64,
    /// How far the round has come: 0 is its beginning, 1 its end.
    pub round: f64,
}

/// What a check found.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct CheckOutcome {
    pub url: String,
    /// The snapshot that was checked.
    pub snapshot: u64,
    /// So many snapshots were read, older ones included.
    pub snapshots: u64,
    /// Contents that must be there, and their bytes; those of older snapshots included.
    pub contents: u64,
    pub bytes: u64,
    /// Objects that the store listed.
    pub listed: u64,
    pub missing: u64,
    pub changed: u64,
    pub damaged: u64,
    /// Objects that no snapshot names, and their bytes. They are never touched.
    pub foreign: u64,
    pub foreign_bytes: u64,
    /// How many of these a run that was cut off left.
    pub strays: u64,
    /// Contents that lie where a run puts what it is about to replace: one is under way, or was cut off.
    pub aside: u64,
    /// Files in a directory whose time is not the one that was set, and whose content is the one that was stored.
    pub touched: u64,
    pub read: Option<ReadBack>,
    /// What is wrong, by path, unless there is too much to list.
    pub findings: Vec<Finding>,
    /// The foreign objects, unless there are too many to list.
    pub foreign_listed: Vec<Foreign>,
    /// Could not be looked at.
    #[schemars(with = "Vec<Problem>")]
    pub unread: Sample<Problem>,
    /// How many, where that list is cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread_total: Option<u64>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// The record of the check was left at the destination.
    pub recorded: bool,
    #[schemars(with = "std::collections::BTreeMap<String, u64>")]
    pub requests: Requests,
    pub seconds: f64,
    pub exit: u8,
}

/// What a repair did.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct RepairOutcome {
    pub url: String,
    /// The snapshot that was repaired.
    pub base: u64,
    /// The one that names what was repaired; none if nothing in the manifest had to change.
    pub snapshot: Option<u64>,
    /// How many things the check before it found wrong.
    pub wrong: u64,
    /// Sent again, or made again: files, links and directories.
    pub repaired: u64,
    /// Content bytes sent (on a dry run: to send).
    pub sent: u64,
    /// Found to have the right content under another tag; the manifest names the new one.
    pub taken_over: u64,
    /// The manifest's pages were written again from this machine's copy.
    pub pages: bool,
    /// What could not be repaired, and why.
    pub lost: Vec<Finding>,
    #[schemars(with = "Vec<Problem>")]
    pub unread: Sample<Problem>,
    /// How many, where that list is cut short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread_total: Option<u64>,
    pub notes: Vec<String>,
    pub dry_run: bool,
    #[schemars(with = "std::collections::BTreeMap<String, u64>")]
    pub requests: Requests,
    pub seconds: f64,
    pub exit: u8,
}

/// Exit code and error text.
pub fn finish(outcome: &mut Outcome, error: Option<&Error>) {
    let not_taken = outcome.dumps.iter().find_map(|dump| {
        let stays = if dump.stays { "the last good one stays" } else { "and there is none of an earlier run" };
        Some(format!("the dump {} was not taken, {stays}: {}", dump.path, dump.error.as_ref()?))
    });
    outcome.error = error.map(ToString::to_string).or(not_taken);
    outcome.failure = error.map(Failure::from);
    (outcome.unread_total, outcome.unstable_total) = (outcome.unread.cut(), outcome.unstable.cut());
    (outcome.vanished_total, outcome.skipped_total) = (outcome.vanished.cut(), outcome.skipped.cut());
    outcome.unset_total = outcome.unset.cut();
    let untidy = outcome.warnings.iter().any(Warning::is_unfinished);
    outcome.exit = match error {
        Some(error) => error.exit_code(),
        None if outcome.dumps.iter().any(|dump| dump.error.is_some()) => 1,
        None if !outcome.unread.is_empty() || !outcome.unstable.is_empty() || untidy => 3,
        None => 0,
    };
}

/// The code that says most about what has to be done.
pub fn worst(codes: impl Iterator<Item = u8>) -> u8 {
    const ORDER: [u8; 6] = [130, 1, 2, 4, 3, 0];
    let codes: Vec<u8> = codes.collect();
    ORDER.into_iter().find(|c| codes.contains(c)).unwrap_or(1)
}
