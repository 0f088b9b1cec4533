//! The options of a restore.

use offsite_backends::Restore;

use super::privileges::Privileges;
use crate::plan::Limits;
use crate::scan::Filter;

/// Directory at the top of the target in which contents are staged.
pub const STAGING: &[u8] = b".offsite-pull";

/// Everything that a caller decides about a restore.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, Privileges, PullOptions, RunControl};
/// # use offsite::engine::{Machine, SyncOptions};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # std::fs::create_dir(site.join("docs"))?;
/// # std::fs::write(site.join("docs/guide.md"), "# Guide")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # let urls = [backup.clone()];
/// # engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// // What would a restore of one directory fetch? Its files would belong to the user who restores.
/// let options = PullOptions {
///     prefixes: vec![b"docs/".to_vec()],
///     privileges: Privileges::None,
///     dry_run: true,
///     ..PullOptions::default()
/// };
/// let pulled = engine::pull(&machine, &backup, &at("restored"), &options, &RunControl::new(1)).await?;
/// assert_eq!((pulled.files, pulled.bytes), (1, 7));
/// assert!(!at("restored").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// The snapshot: a number, a day, a time or an age, as `--at` takes it. None: the newest.
    pub at: Option<String>,
    /// Refuse a snapshot with a lower number.
    pub at_least: Option<u64>,
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
