//! The verbs: each a page of straight-line code over scan, plan, manifest and transfer.
//!
//! Owns the order of things. A run is
//!
//! ```text
//! load ─▶ compare (one scan, all destinations) ─▶ guard ─▶ lease ─▶ transfer ─▶ commit ─▶ tidy ─▶ outcome
//! ```
//!
//! and a pull the same road backwards. Nothing here parses arguments, reads the environment or prints.

mod absent;
mod check;
mod cleanup;
mod clock;
mod commit;
mod control;
mod copy;
mod damage;
mod destination;
mod dir_metadata;
mod download;
mod initialize;
mod keys;
mod lease;
mod leftovers;
mod locked;
mod machine;
mod note;
mod outcome;
mod pack_use;
mod paths;
mod prune;
mod pull;
mod query;
mod repair;
mod report;
mod scratch;
mod status;
mod sync;
mod top_names;
mod unlock;
mod warning;

pub use absent::is_absent;
pub use check::{CheckOptions, check, check_over};
pub use control::RunControl;
pub use copy::options::{CopyOptions, CopySelection};
pub use copy::{CopiedSnapshot, CopyOutcome, copy, copy_over};
pub use destination::Destination;
pub use initialize::{Deed, InitOutcome, InitReport, InitRow, initialize, initialize_over, writer_policy};
pub use keys::files::KeyFileRow;
pub use keys::ring::KeyRing;
pub use keys::verbs::{KeyOutcome, add_key, paper_key, rotate_keys, show_keys, writer_key};
pub use keys::wish::SealWish;
pub use locked::Locked;
pub use machine::{Machine, PROGRAM};
pub use note::{ArchiveRequest, Note};
pub use outcome::{
    Bytes, CheckOutcome, DumpOutcome, Finding, Flaw, Foreign, Outcome, PlanReport, PruneOutcome, PullOutcome, ReadBack, RepackOutcome,
    RepairOutcome, SyncOutcome, worst,
};
pub use paths::{mixed, real};
pub use prune::{prune, prune_over, prune_strays, prune_strays_over};
pub use pull::options::PullOptions;
pub use pull::privileges::Privileges;
pub use pull::{pull, pull_onto, pull_over};
pub use query::{
    DiffLine, DiffTotals, HistoryLine, Listing, LsLine, LsTotals, SnapshotRow, UnreadTotals, at_in, cat, cat_from, cat_over, diff,
    diff_over, history, history_over, ls, ls_over, resolve_at, snapshots, snapshots_over, unread, unread_over,
};
pub use repair::options::RepairOptions;
pub use repair::{repair, repair_from, repair_from_over, repair_over};
pub use report::{
    Costs, Counted, DestinationReport, DirectorySum, Growth, PacksInUse, Priced, ReportOptions, ReportOutcome, ReportRow, Room, Total,
    TrendPoint, report, report_over,
};
pub use status::{RunRecord, StatusOutcome, StatusRow, Watched, record_run, record_skipped, status};
pub use sync::options::SyncOptions;
pub use sync::owner::NO_SOURCE;
pub use sync::saved_plan::{ApplyOptions, apply};
pub use sync::{plan, plan_over, sync, sync_over};
pub use warning::Warning;

pub use crate::seal::{ExposeSecret, PassphraseSource, SecretString};
pub use crate::spool::{private_dir, private_file};
