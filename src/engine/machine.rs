//! The machine that a verb runs on, and the name of this program.

use std::path::PathBuf;

use super::keys::ring::KeyRing;

/// What the engine needs to know about the machine it runs on.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, Machine, RunControl, SyncOptions};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// let urls = [backup.clone()];
/// engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// assert_eq!(engine::snapshots(&machine, &backup).await?.snapshots[0].host, "web1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Directory for caches, journals and spools. The engine creates it, readable for this user only.
    pub cache_dir: PathBuf,
    /// Name of the host, for snapshots, leases and run records.
    pub host: String,
    /// Keys of sealed destinations.
    pub keys: KeyRing,
}

/// Name and version of this program, as snapshots and records have it.
pub const PROGRAM: &str = concat!("offsite ", env!("CARGO_PKG_VERSION"));
