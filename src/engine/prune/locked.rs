//! What the store's object lock does not let go yet.
//!
//! Owns which snapshots stay for it, and what is said of them. A snapshot that is locked stays whole, with all
//! that it names, until its own lock ends: a store's default retention ends no later for what was written before it.
//! Invariant: a lock is looked at by the store's clock, and only of what is due to go.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use offsite_backends::{ErrorKind, Held};

use crate::engine::destination::Destination;
use crate::engine::locked::Locked;
use crate::error::Result;
use crate::manifest::{Records, object_path};

/// Snapshots that are looked at side by side. If none of these may go, younger ones are not looked at.
const AT_ONCE: usize = 16;

/// Snapshots that are due and free to go, with the versions of their objects; the others are noted.
pub async fn free(
    destination: &Destination,
    due: &BTreeSet<u64>,
    now: DateTime<Utc>,
    locked: &mut Locked,
) -> Result<BTreeMap<u64, Option<String>>> {
    if due.is_empty() || !destination.backend.capabilities().versions || !destination.backend.keeps_versions().await? {
        return Ok(due.iter().map(|number| (*number, None)).collect());
    }
    let mut free = BTreeMap::new();
    let numbers: Vec<u64> = due.iter().copied().collect();
    for (index, batch) in numbers.chunks(AT_ONCE).enumerate() {
        let looks: Vec<_> = batch.iter().map(|number| look(destination, *number)).collect();
        let found: Vec<(u64, Held)> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        let before = free.len();
        for (number, held) in found {
            if held.holds(now) {
                locked.snapshots += 1;
                locked.note(&held, now);
            } else {
                free.insert(number, held.version);
            }
        }
        if free.len() == before {
            locked.snapshots += numbers.len().saturating_sub((index + 1) * AT_ONCE) as u64;
            break;
        }
    }
    Ok(free)
}

/// What holds a snapshot; nothing, if it is gone.
async fn look(destination: &Destination, number: u64) -> Result<(u64, Held)> {
    let path = object_path(Records::snapshot_object_key(number).as_bytes())?;
    match destination.backend.held(&path, None).await {
        Err(error) if error.kind == ErrorKind::NotFound => Ok((number, Held::default())),
        held => Ok((number, held?)),
    }
}
