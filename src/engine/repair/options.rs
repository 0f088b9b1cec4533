//! The options of a repair.

use crate::plan::Limits;

/// How to repair.
#[derive(Debug, Clone, Default)]
pub struct RepairOptions {
    /// The share of contents to read back first: 0.05 is 5 %.
    pub read_data: Option<f64>,
    /// Only find out what a repair would send.
    pub dry_run: bool,
    /// Whether the source may be empty, and the most bytes to send.
    pub limits: Limits,
    /// Transfers in flight at most. `None`: as many as suit the store.
    pub transfers: Option<usize>,
    /// Limit of the upload in bytes a second.
    pub limit_upload: Option<u64>,
    /// Limit of reading contents back, in bytes a second.
    pub limit_download: Option<u64>,
    /// Delete nothing at the destination, not even the lease.
    pub append_only: bool,
}
