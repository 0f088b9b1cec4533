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
mod adopt;
mod apply;
mod check;
mod commit;
mod compare;
mod compared;
mod destination;
mod dumps;
mod initialize;
mod lease;
mod left_out;
mod look;
mod occupied;
mod outcome;
mod owner;
mod plan_file;
mod planning;
mod privileges;
mod prune;
mod pull;
mod pull_compare;
mod pull_target;
mod renames;
mod repair;
mod report;
mod scratch;
mod settle;
mod spellings;
mod status;
mod strays;
mod suspects;
mod sync;
mod tidy;
mod twins;
mod uploads;
mod warning;

pub use absent::is_absent;
pub use check::{CheckOptions, check, check_over};
pub use compared::{mixed, real};
pub use destination::Destination;
pub use initialize::{Deed, InitOutcome, InitReport, InitRow, initialize, initialize_over};
pub use look::{
    DiffLine, DiffTotals, HistoryLine, Listing, LsLine, LsTotals, SnapshotRow, UnreadTotals, at_in, cat, cat_over, diff, diff_over,
    history, history_over, ls, ls_over, resolve_at, snapshots, snapshots_over, unread, unread_over,
};
pub use outcome::{
    Bytes, CheckOutcome, DumpOutcome, Finding, Flaw, Foreign, Outcome, PlanReport, PruneOutcome, PullOutcome, ReadBack, RepairOutcome,
    SyncOutcome,
};
pub use owner::NO_SOURCE;
pub use plan_file::{ApplyOptions, apply};
pub use privileges::Privileges;
pub use prune::{Locked, prune, prune_over};
pub use pull::{PullOptions, pull, pull_onto, pull_over};
pub use repair::{RepairOptions, repair, repair_over};
pub use report::{
    Costs, Counted, DestinationReport, DirectorySum, Growth, Priced, ReportOptions, ReportOutcome, ReportRow, Room, Total, TrendPoint,
    report, report_over,
};
pub use status::{RunRecord, StatusOutcome, StatusRow, Watched, leave_skipped, leave_word, status};
pub use sync::{Report, SyncOptions, plan, plan_over, sync, sync_over, worst};
pub use warning::{Note, Warning};

use std::path::PathBuf;

pub use crate::spool::{private_dir, private_file};

/// What the engine has to know of the machine it runs on.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Where caches, journals and spools go.
    pub cache_dir: PathBuf,
    /// For snapshots and leases.
    pub host: String,
}

/// Name and version of this program, for what it writes.
pub const PROGRAM: &str = concat!("offsite ", env!("CARGO_PKG_VERSION"));
