//! The results of the verbs as plain data.
//!
//! Owns the shapes that a verb returns, prints, and writes as its `--json` document. Also owns the exit code of a
//! sync at
//! one destination, and which of several exit codes is the worst.

use offsite_backends::Requests;
use serde::Serialize;

use super::locked::Locked;
use super::note::Note;
use super::warning::Warning;
use crate::error::{Error, Failure};
use crate::model::{Counts, Layout, Problem, RelPath, Sample};
use crate::plan::Estimate;

/// Content bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Bytes {
    /// Read from the source, for all destinations together.
    pub read: u64,
    /// Sent to the destination.
    pub sent: u64,
    /// Copied on the server.
    pub copied: u64,
}

/// The result of a sync at one destination.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct Outcome {
    /// URL of the destination.
    pub url: String,
    /// The snapshot it committed; null if it did not.
    pub snapshot: Option<u64>,
    /// The snapshot it was compared with; null for a first run.
    pub base: Option<u64>,
    /// Entries by kind of change.
    pub changes: Counts,
    /// Content bytes that the run read, sent and copied.
    pub bytes: Bytes,
    /// Requests to the store, by class.
    #[schemars(with = "std::collections::BTreeMap<String, u64>")]
    pub requests: Requests,
    /// Files that could not be read, or that the destination refused; their old copies stay.
    #[schemars(with = "Vec<Problem>")]
    pub unread: Sample<Problem>,
    /// The total number, if that list is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread_total: Option<u64>,
    /// Files that kept changing while they were read; stored as read.
    #[schemars(with = "Vec<RelPath>")]
    pub unstable: Sample<RelPath>,
    /// The total number, if that list is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unstable_total: Option<u64>,
    /// Files that disappeared during the run.
    #[schemars(with = "Vec<RelPath>")]
    pub vanished: Sample<RelPath>,
    /// The total number, if that list is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vanished_total: Option<u64>,
    /// Sockets, pipes and devices.
    #[schemars(with = "Vec<Problem>")]
    pub skipped: Sample<Problem>,
    /// The total number, if that list is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped_total: Option<u64>,
    /// Files stored without an attribute that the destination refused. The manifest has it, and a pull restores it.
    #[schemars(with = "Vec<Problem>")]
    pub unset: Sample<Problem>,
    /// The total number, if that list is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unset_total: Option<u64>,
    /// Dumps.
    pub dumps: Vec<DumpOutcome>,
    /// Objects that existed already and were adopted (`--adopt`).
    pub adopted: u64,
    /// Files that an interrupted run had sent.
    pub resumed: u64,
    /// Expired snapshots that were deleted after the run.
    pub pruned: u64,
    /// In a packed destination: what was sent again out of packs that were hardly used, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repack: Option<RepackOutcome>,
    /// How the destination differs from `initialize` in the config, if that was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    /// What has expired but is protected by object lock, as last checked.
    pub locked: Option<Locked>,
    /// Duration of the run in seconds.
    pub seconds: f64,
    /// What went wrong.
    pub error: Option<String>,
    /// The same as data, if it is an error of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What was not cleaned up after the commit. The next run does it.
    #[schemars(with = "Vec<String>")]
    pub warnings: Vec<Warning>,
    /// Exit code for this destination: 0 done, 1 failed, 2 usage, 3 done in part, 4 refused, 130 interrupted.
    pub exit: u8,
}

/// Packs of a packed destination that a run repacks: it sends their contents again, in other packs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct RepackOutcome {
    /// Number of these packs. Each is deleted with the last snapshot that needs something of it.
    pub packs: u64,
    /// Unchanged files that are read again.
    pub files: u64,
    /// Bytes that are sent again: in a plan at most, and compressed; after a run before compression.
    pub bytes: u64,
}

/// The result of a dump.
#[derive(Debug, Clone, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct DumpOutcome {
    /// Path of the file in the snapshot.
    pub path: RelPath,
    /// Its size at the destination in bytes, as stored.
    pub bytes: u64,
    /// Duration of the dump in seconds.
    pub seconds: f64,
    /// An older one exists, which stays if this one fails.
    pub stays: bool,
    /// Why it failed.
    pub error: Option<String>,
}

/// The result of a sync at all destinations.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct SyncOutcome {
    /// One for each destination, in the order of the URLs.
    pub destinations: Vec<Outcome>,
    /// Notes that are not errors: patterns that matched nothing.
    #[schemars(with = "Vec<String>")]
    pub notes: Vec<Note>,
    /// The worst of the destinations' exit codes.
    pub exit: u8,
}

/// What a run would do at one destination.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct PlanReport {
    /// URL of the destination.
    pub url: String,
    /// The snapshot it was compared with; null for a first run.
    pub base: Option<u64>,
    /// Entries by kind of change.
    pub changes: Counts,
    /// Content bytes to send.
    pub bytes: u64,
    /// Estimated requests, by class.
    pub requests: Estimate,
    /// US dollars for the requests, by the price named.
    pub cost: f64,
    /// Row of the price table; `none` if the requests cost nothing.
    pub price: String,
    /// In a packed destination: what the run would send again out of packs that are hardly used, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repack: Option<RepackOutcome>,
    /// Why the guard would refuse it; empty: it would run.
    pub refused: Vec<String>,
    /// Files that could not be read, or that the destination refused; their old copies stay.
    #[schemars(with = "Vec<Problem>")]
    pub unread: Sample<Problem>,
    /// The total number, if that list is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread_total: Option<u64>,
    /// The changes, unless there are too many to list.
    pub listed: Vec<PlannedChange>,
    /// Why there is no plan.
    pub error: Option<String>,
    /// The same as data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Exit code for this destination: 0 the run would start, 4 the guard would refuse it, else that of the error.
    pub exit: u8,
}

/// One change of a plan, for people and scripts.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct PlannedChange {
    /// `added`, `changed`, `metadata`, `renamed` or `removed`.
    pub change: &'static str,
    /// The path; for a renamed entry, the new one.
    pub path: RelPath,
    /// The old path of a renamed entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<RelPath>,
    /// Content bytes; 0 if only metadata changes.
    pub size: u64,
}

/// The result of a restore.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct PullOutcome {
    /// URL of the destination.
    pub url: String,
    /// Number of the restored snapshot.
    pub snapshot: u64,
    /// Entries by kind of change in the target.
    pub changes: Counts,
    /// Files fetched (on a dry run: to fetch).
    pub files: u64,
    /// Content bytes fetched (on a dry run: to fetch).
    pub bytes: u64,
    /// Requests to the store, by class.
    #[schemars(with = "std::collections::BTreeMap<String, u64>")]
    pub requests: Requests,
    /// What could not be restored.
    #[schemars(with = "Vec<Problem>")]
    pub problems: Sample<Problem>,
    /// The total number, if that list is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problems_total: Option<u64>,
    /// Files whose contents are archived; they are part of `problems`.
    pub archived: u64,
    /// Entries restored without their set-id bits or attributes that give rights.
    pub left_out: u64,
    /// Notes.
    #[schemars(with = "Vec<String>")]
    pub notes: Vec<Note>,
    /// Duration of the restore in seconds.
    pub seconds: f64,
    /// Exit code: 0 all is restored, 3 some entries are not.
    pub exit: u8,
}

/// The result of a prune.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct PruneOutcome {
    /// URL of the destination.
    pub url: String,
    /// Numbers of the snapshots that stay.
    pub kept: Vec<u64>,
    /// Numbers of the deleted snapshots (on a dry run: of those that would be deleted).
    pub removed: Vec<u64>,
    /// How the destination keeps contents.
    pub layout: Layout,
    /// Kept contents that were deleted with them; at a packed destination, packs.
    pub contents: u64,
    /// With `--strays`: packs that no snapshot names and that were deleted (on a dry run: that would be deleted).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strays: Option<u64>,
    /// Bytes of these contents, or of these packs.
    pub bytes: u64,
    /// What has expired but is protected by object lock.
    pub locked: Option<Locked>,
    /// Requests to the store, by class.
    #[schemars(with = "std::collections::BTreeMap<String, u64>")]
    pub requests: Requests,
    /// Nothing was deleted: `removed` is what a prune would delete.
    pub dry_run: bool,
}

/// What is wrong with something that must be at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Flaw {
    /// It is missing.
    Missing,
    /// It has another size, tag, version, kind or link target.
    Changed,
    /// It was read, and its content differs.
    Damaged,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Finding {
    /// What is wrong with it.
    pub flaw: Flaw,
    /// A path of the tree; for offsite's own objects the key.
    pub path: RelPath,
    /// What was found, in words.
    pub problem: String,
    /// Number of the oldest snapshot that it affects.
    pub first_snapshot: u64,
    /// Number of the newest snapshot that it affects.
    pub last_snapshot: u64,
}

/// An object that no snapshot names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Foreign {
    /// Its key below the destination.
    pub key: RelPath,
    /// Its size in bytes.
    pub size: u64,
    /// It is among offsite's own objects: an interrupted run left it.
    pub stray: bool,
}

/// How many contents were read and compared; at a packed destination, packs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct ReadBack {
    /// The share that was asked for: 0.05 is 5 %.
    pub share: f64,
    /// Files or packs that were read and compared.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How far the round has come: 0 is its beginning, 1 its end.
    pub round: f64,
}

/// The result of a check.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct CheckOutcome {
    /// URL of the destination.
    pub url: String,
    /// The snapshot that was checked.
    pub snapshot: u64,
    /// Number of snapshots that were read, including older ones.
    pub snapshots: u64,
    /// How the destination keeps contents.
    pub layout: Layout,
    /// Contents that must be at the destination, including those of older snapshots; at a packed destination, packs.
    pub contents: u64,
    /// Bytes of these contents or packs.
    pub bytes: u64,
    /// Objects that the store listed.
    pub listed: u64,
    /// Number of findings with the flaw `missing`.
    pub missing: u64,
    /// Number of findings with the flaw `changed`.
    pub changed: u64,
    /// Number of findings with the flaw `damaged`.
    pub damaged: u64,
    /// Objects that no snapshot names. They are never touched.
    pub foreign: u64,
    /// Bytes of these objects.
    pub foreign_bytes: u64,
    /// How many of these objects an interrupted run left.
    pub strays: u64,
    /// Contents that a run put aside before replacing them. The run is in progress or was interrupted.
    pub aside: u64,
    /// Files in a directory with another mtime and an unchanged content.
    pub touched: u64,
    /// Contents or packs that were read and compared; null without `--read-data`.
    pub read: Option<ReadBack>,
    /// What is wrong, by path, unless the list would be too long.
    pub findings: Vec<Finding>,
    /// The foreign objects, unless there are too many to list.
    pub foreign_listed: Vec<Foreign>,
    /// What could not be checked, and why.
    #[schemars(with = "Vec<Problem>")]
    pub unread: Sample<Problem>,
    /// The total number, if that list is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread_total: Option<u64>,
    /// Notes.
    #[schemars(with = "Vec<String>")]
    pub notes: Vec<Note>,
    /// The record of the check was written at the destination.
    pub recorded: bool,
    /// Requests to the store, by class.
    #[schemars(with = "std::collections::BTreeMap<String, u64>")]
    pub requests: Requests,
    /// Duration of the check in seconds.
    pub seconds: f64,
    /// Exit code: 0 all is well, 1 something is missing, changed or damaged, 3 something could not be checked.
    pub exit: u8,
}

/// The result of a repair.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct RepairOutcome {
    /// URL of the destination.
    pub url: String,
    /// The snapshot that was repaired.
    pub base: u64,
    /// The snapshot that names the repaired contents; null if the manifest did not have to change.
    pub snapshot: Option<u64>,
    /// How many things the check before it found wrong.
    pub wrong: u64,
    /// Repaired files, links and directories.
    pub repaired: u64,
    /// Content bytes sent (on a dry run: to send).
    pub sent: u64,
    /// Files with the right content under another tag. The manifest names the new tag.
    pub taken_over: u64,
    /// The manifest's pages were written again from this machine's cache.
    pub pages: bool,
    /// What could not be repaired, and why.
    pub lost: Vec<Finding>,
    /// What could not be checked or read, and why.
    #[schemars(with = "Vec<Problem>")]
    pub unread: Sample<Problem>,
    /// The total number, if that list is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread_total: Option<u64>,
    /// Notes.
    #[schemars(with = "Vec<String>")]
    pub notes: Vec<Note>,
    /// Nothing was sent: the figures are what a repair would do.
    pub dry_run: bool,
    /// Requests to the store, by class.
    #[schemars(with = "std::collections::BTreeMap<String, u64>")]
    pub requests: Requests,
    /// Duration of the repair in seconds.
    pub seconds: f64,
    /// Exit code: 0 all is repaired, 1 something is lost, 3 something could not be checked or read.
    pub exit: u8,
}

/// The outcome with its error, its failure, the totals of cut lists, and its exit code.
pub fn finished(mut outcome: Outcome, error: Option<&Error>) -> Outcome {
    let not_taken = outcome.dumps.iter().find_map(|dump| {
        let stays = if dump.stays { "the last good one stays" } else { "and no earlier run has one" };
        Some(format!("the dump {} failed, {stays}: {}", dump.path, dump.error.as_ref()?))
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
    outcome
}

/// The worst exit code, in this order: 130, 1, 2, 4, 3, 0. It is 1 if there is no known code.
pub fn worst(codes: impl Iterator<Item = u8>) -> u8 {
    const ORDER: [u8; 6] = [130, 1, 2, 4, 3, 0];
    let codes: Vec<u8> = codes.collect();
    ORDER.into_iter().find(|c| codes.contains(c)).unwrap_or(1)
}
