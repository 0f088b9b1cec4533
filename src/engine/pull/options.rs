//! What a user can choose of a pull.

use offsite_backends::Restore;

use super::privileges::Privileges;
use crate::plan::Limits;
use crate::scan::Filter;

/// Where contents are staged, at the top of the target.
pub const STAGING: &[u8] = b".offsite-pull";

/// How to pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// Which snapshot; the newest if none is named.
    pub at: Option<String>,
    pub filter: Filter,
    /// Only what lies at or below these paths; everything if there are none.
    pub prefixes: Vec<Vec<u8>>,
    /// Larger files are left out.
    pub max_size: Option<u64>,
    /// Remove what the snapshot does not have.
    pub delete: bool,
    /// Read local files even if size and mtime agree.
    pub checksum: bool,
    pub dry_run: bool,
    pub limits: Limits,
    pub transfers: Option<usize>,
    /// Bytes a second.
    pub limit_download: Option<u64>,
    /// What is restored of what gives rights.
    pub privileges: Privileges,
    /// Do not wait for the disk.
    pub no_sync: bool,
    /// Ask the store for what lies in an archive.
    pub restore: Option<Restore>,
}
