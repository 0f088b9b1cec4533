//! The options of a restore.

use offsite_backends::Restore;

use super::privileges::Privileges;
use crate::plan::Limits;
use crate::scan::Filter;

/// Directory at the top of the target in which contents are staged.
pub const STAGING: &[u8] = b".offsite-pull";

/// Everything that a caller decides about a restore.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// The snapshot: a number, a day, a time or an age, as `--at` takes it. None: the newest.
    pub at: Option<String>,
    /// Which entries are restored, by pattern.
    pub filter: Filter,
    /// Only entries at or below these paths; all entries if there are none.
    pub prefixes: Vec<Vec<u8>>,
    /// Leave out larger files, in bytes.
    pub max_size: Option<u64>,
    /// Remove entries of the target that the snapshot does not have.
    pub delete: bool,
    /// Read local files even if size and mtime agree.
    pub checksum: bool,
    /// Only compare and count; write nothing to the target.
    pub dry_run: bool,
    /// What the guard lets pass.
    pub limits: Limits,
    /// Parallel transfers. None: depends on the store.
    pub transfers: Option<usize>,
    /// Download limit in bytes a second. None: no limit.
    pub limit_download: Option<u64>,
    /// Which set-id bits, owners and attributes are restored.
    pub privileges: Privileges,
    /// Do not wait until everything is on the disk.
    pub no_sync: bool,
    /// Request archived contents from the store. None: only list them.
    pub restore: Option<Restore>,
}
