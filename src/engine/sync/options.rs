//! The options of a sync.

use std::path::PathBuf;

use crate::engine::keys::wish::SealWish;
use crate::model::{KeepRules, Layout};
use crate::plan::{Limits, Price};
use crate::scan::WalkOptions;
use crate::transfer::Dump;

/// Retention by default, in seconds: 30 days.
const KEPT: u64 = 30 * 86_400;

/// How to sync. A flag and a key of the config set the same field. The defaults here apply to both.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, RunControl, SyncOptions};
/// use offsite::model::KeepRules;
/// use offsite::scan::{Filter, WalkOptions};
/// # use offsite::engine::Machine;
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # std::fs::write(site.join("upload.tmp"), "")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// let options = SyncOptions {
///     walk: WalkOptions { filter: Filter::new(&["*.tmp".into()], &[])?, ..WalkOptions::default() },
///     keep: KeepRules { daily: 14, monthly: 12, ..KeepRules::default() },
///     limit_upload: Some(10 << 20), // 10 MiB a second
///     ..SyncOptions::default()
/// };
/// let outcome = engine::sync(&machine, &site, &[backup], &options, &RunControl::new(1)).await;
/// assert_eq!(outcome.exit, 0);
/// assert!(at("backup/index.html").exists() && !at("backup/upload.tmp").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SyncOptions {
    /// How to scan the source: filters, file systems, ownership.
    pub walk: WalkOptions,
    /// The last part of the source's path, if others may write to it, for example a subdirectory of a volume. offsite
    /// follows no symlink in it.
    pub inner: PathBuf,
    /// Read every file and compare its content, not only its size and times.
    pub checksum: bool,
    /// Use files that another tool put at the destination.
    pub adopt: bool,
    /// Treat a destination as new if all its snapshots have disappeared.
    pub start_over: bool,
    /// Which snapshots stay.
    pub keep: KeepRules,
    /// What the guard allows.
    pub limits: Limits,
    /// The price that the cost of a plan is computed with.
    pub price: Price,
    /// The name of that price in the price table. `none` for requests that cost nothing.
    pub price_name: String,
    /// Number of parallel transfers at one destination. `None` for the default of the store.
    pub transfers: Option<usize>,
    /// Limit of uploads in bytes a second, for all destinations together.
    pub limit_upload: Option<u64>,
    /// Limit in bytes a second for the contents that `adopt` reads back, for all destinations together.
    pub limit_download: Option<u64>,
    /// The name of the job, if a config started the sync. The snapshot records it.
    pub job: Option<String>,
    /// The type of the job, if it has types.
    pub kind: Option<String>,
    /// Commands whose output becomes a file of the snapshot.
    pub dumps: Vec<Dump>,
    /// Drift: the URL of each destination that differs from what the config declares, and what differs.
    pub drift: Vec<(String, String)>,
    /// The layout that is wanted at every destination. Without one, a new destination becomes a mirror, and one that
    /// exists stays as it is.
    pub layout: Option<Layout>,
    /// Layouts that are wanted at single destinations, by URL.
    pub layouts: Vec<(String, Layout)>,
    /// How every new destination is to be sealed. `None` leaves it open.
    pub seal: Option<SealWish>,
    /// How single new destinations are to be sealed, by URL.
    pub seals: Vec<(String, SealWish)>,
    /// The URLs of the destinations at which the run deletes nothing.
    pub append_only: Vec<String>,
    /// How many days old a pack must be before a run repacks it, by URL; `None` repacks nothing there. At all others it is
    /// the shortest time that the price bills.
    pub repack_after: Vec<(String, Option<u64>)>,
}

impl SyncOptions {
    /// How a new destination at a URL is to be sealed.
    pub fn seal_of(&self, url: &str) -> Option<SealWish> {
        self.seals.iter().find(|(of, _)| of == url).map(|(_, wish)| wish.clone()).or_else(|| self.seal.clone())
    }

    /// How many days old a pack must be at a URL before a run repacks it. `None`: never.
    pub fn repack_after(&self, url: &str) -> Option<u64> {
        self.repack_after.iter().find(|(of, _)| of == url).map_or(Some(self.price.min_days), |(_, days)| *days)
    }

    /// The layout that is wanted at a URL.
    pub fn layout_of(&self, url: &str) -> Option<Layout> {
        self.layouts.iter().find(|(of, _)| of == url).map_or(self.layout, |(_, layout)| Some(*layout))
    }
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            walk: WalkOptions::default(),
            inner: PathBuf::new(),
            checksum: false,
            adopt: false,
            start_over: false,
            keep: KeepRules { within: Some(KEPT), ..KeepRules::default() },
            limits: Limits::default(),
            price: Price::default(),
            price_name: "none".to_owned(),
            transfers: None,
            limit_upload: None,
            limit_download: None,
            job: None,
            kind: None,
            dumps: Vec::new(),
            drift: Vec::new(),
            layout: None,
            layouts: Vec::new(),
            seal: None,
            seals: Vec::new(),
            append_only: Vec::new(),
            repack_after: Vec::new(),
        }
    }
}
