//! Destinations that are not always present: for example a disk that is plugged in once a month.
//!
//! Owns when a directory counts as absent, and what this machine remembers of it. Invariant: the checks send nothing
//! to the destination and create nothing there. The mount point of an unmounted disk does not pass for the disk.

use offsite_backends as backends;
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
pub async fn is_absent(machine: &Machine, url: &str) -> Result<bool> {
    let location = Location::parse(url)?;
    if !location.is_directory() {
        return Ok(false);
    }
    if !location.dir().is_dir() {
        return Ok(true);
    }
    let known = Destination::over(backends::open(url).await?, machine)?.snapshot().is_some();
    Ok(known && !location.dir().join(Format::KEY).exists())
}

/// When the newest snapshot that this machine knows was committed: by the store's clock, in seconds since 1970.
pub async fn last_seen(machine: &Machine, url: &str) -> Result<Option<i64>> {
    let destination = Destination::over(backends::open(url).await?, machine)?;
    Ok(destination.head.as_ref().and_then(|head| head.list.last()).map(|last| last.time))
}
