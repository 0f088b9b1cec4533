//! Expired snapshots that the store's object lock still protects.
//!
//! Owns which of them stay, and the record of them. A locked snapshot stays with everything that it names until its own
//! lock ends. With a default retention of the store, the locks of older objects end no later than that.
//! Invariant: locks are judged by the store's clock. Only expired snapshots are asked for.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use offsite_backends::{ErrorKind, Held};

use crate::engine::destination::Destination;
use crate::engine::locked::Locked;
use crate::error::Result;
use crate::manifest::{Records, object_path};

/// Number of snapshots that are asked for in parallel. If all of these are locked, newer ones count as locked without a
/// request.
const AT_ONCE: usize = 16;

/// The snapshots in `due` that are not locked, with the versions of their objects. The others are added to `locked`.
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

/// The lock state of a snapshot. A snapshot that does not exist is not locked.
async fn look(destination: &Destination, number: u64) -> Result<(u64, Held)> {
    let path = object_path(Records::snapshot_object_key(number).as_bytes())?;
    match destination.backend.held(&path, None).await {
        Err(error) if error.kind == ErrorKind::NotFound => Ok((number, Held::default())),
        held => Ok((number, held?)),
    }
}
