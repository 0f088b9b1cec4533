//! Places that are there only now and then: a disk that is plugged in once a month.
//!
//! Owns when a directory counts as absent, and what this machine remembers of it. Invariant: looking asks the destination
//! nothing and makes nothing there; an unmounted disk's mount point is not taken for the disk.

use offsite_backends as backends;
use offsite_backends::Location;

use super::destination::Destination;
use super::machine::Machine;
use crate::error::Result;
use crate::manifest::Format;

/// Whether a directory is not there now: its path is not, or what was synced to it is not.
///
/// # Errors
/// Where the URL is none, and where the cache of this machine cannot be used.
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

/// When the newest snapshot that this machine knows there was committed, by the store's clock, in seconds since 1970.
pub async fn last_seen(machine: &Machine, url: &str) -> Result<Option<i64>> {
    let destination = Destination::over(backends::open(url).await?, machine)?;
    Ok(destination.head.as_ref().and_then(|head| head.list.last()).map(|last| last.time))
}
