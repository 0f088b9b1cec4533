//! Destinations that are not always present: for example a disk that is plugged in once a month.
//!
//! Owns when a directory counts as absent, and what this machine remembers of it. Invariant: the checks send nothing
//! to the destination and create nothing there. The mount point of an unmounted disk does not pass for the disk.

use offsite_backends::Location;

use super::destination::Destination;
use super::machine::Machine;
use crate::error::Result;
use crate::manifest::Format;

/// Whether a destination that is a directory is absent: its path does not exist, or the backup that this machine
/// knows is not in it. Other destinations are never absent.
///
/// # Errors
/// For a URL that is not valid, and if the cache of this machine cannot be used.
///
/// # Examples
///
/// ```
/// use offsite::engine;
/// # use offsite::engine::{Machine, RunControl, SyncOptions};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # let urls = [backup.clone()];
/// # engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// assert!(!engine::is_absent(&machine, &backup).await?);
///
/// // The disk is unplugged, and its empty mount point stays.
/// std::fs::rename(at("backup"), at("drawer"))?;
/// std::fs::create_dir(at("backup"))?;
/// assert!(engine::is_absent(&machine, &backup).await?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn is_absent(machine: &Machine, url: &str) -> Result<bool> {
    let location = Location::parse(url)?;
    if !location.is_directory() {
        return Ok(false);
    }
    if !location.dir().is_dir() {
        return Ok(true);
    }
    let known = Destination::open(url, machine).await?.snapshot().is_some();
    Ok(known && !location.dir().join(Format::KEY).exists())
}

/// When the newest snapshot that this machine knows was committed: by the store's clock, in seconds since 1970.
pub async fn last_seen(machine: &Machine, url: &str) -> Result<Option<i64>> {
    let destination = Destination::open(url, machine).await?;
    Ok(destination.head.as_ref().and_then(|head| head.list.last()).map(|last| last.time))
}
