//! The JSON Schemas of the `--json` documents, one for each verb.
//!
//! Owns the names. The shapes are the engine's outcomes and `render`'s documents. `docs/schema/` has the output of
//! [`of`], and a test compares the two.

use offsite::config::ConfigFile;
use offsite::engine::{
    CheckOutcome, CopyOutcome, InitOutcome, KeyOutcome, PruneOutcome, PullOutcome, RepairOutcome, ReportOutcome, StatusOutcome, SyncOutcome,
};
use offsite::jobs::RunOutcome;
use schemars::{Schema, schema_for};

use super::render::{
    CatDocument, ConfigCheckDocument, DiffDocument, ErrorDocument, HistoryDocument, ImportDocument, LsDocument, LsUnreadDocument,
    PlanDocument, ScheduleDocument, SnapshotsDocument,
};

/// Verbs with a document, `config` (the config file itself), and `error`, which every verb prints when it fails.
pub const NAMES: &[&str] = &[
    "apply",
    "cat",
    "check",
    "config-check",
    "config-import",
    "config",
    "copy",
    "diff",
    "error",
    "history",
    "init",
    "key",
    "ls-unread",
    "ls",
    "plan",
    "prune",
    "pull",
    "repair",
    "report",
    "run",
    "schedule",
    "snapshots",
    "status",
    "sync",
];

/// The schema of one name.
pub fn of(name: &str) -> Option<Schema> {
    Some(match name {
        "sync" | "apply" => schema_for!(SyncOutcome),
        "plan" => schema_for!(PlanDocument<'_>),
        "pull" => schema_for!(PullOutcome),
        "copy" => schema_for!(CopyOutcome),
        "init" => schema_for!(InitOutcome),
        "key" => schema_for!(KeyOutcome),
        "prune" => schema_for!(PruneOutcome),
        "report" => schema_for!(ReportOutcome),
        "check" => schema_for!(CheckOutcome),
        "repair" => schema_for!(RepairOutcome),
        "snapshots" => schema_for!(SnapshotsDocument<'_>),
        "ls" => schema_for!(LsDocument<'_>),
        "ls-unread" => schema_for!(LsUnreadDocument),
        "diff" => schema_for!(DiffDocument),
        "history" => schema_for!(HistoryDocument<'_>),
        "cat" => schema_for!(CatDocument<'_>),
        "run" => schema_for!(RunOutcome),
        "status" => schema_for!(StatusOutcome),
        "config" => schema_for!(ConfigFile),
        "config-check" => schema_for!(ConfigCheckDocument),
        "config-import" => schema_for!(ImportDocument<'_>),
        "schedule" => schema_for!(ScheduleDocument<'_>),
        "error" => schema_for!(ErrorDocument),
        _ => return None,
    })
}
