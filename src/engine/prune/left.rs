//! The cleanup of what runs in append-only mode left.
//!
//! Owns the proof that nothing needs what a list names. At a mirror, an object goes only if the newest manifest has no
//! content there, since what older snapshots need was copied to `kept/` or is a version of the store. At a packed
//! destination, a pack goes only if no snapshot names it.

use std::collections::HashSet;

use super::packs::NeededPacks;
use crate::engine::damage::is_damage;
use crate::engine::destination::Destination;
use crate::engine::leftovers::{FOLDER, MOST, ODD, folder, may_be_left, read};
use crate::error::Result;
use crate::manifest::{CacheReader, Records, pack_of_key};
use crate::model::{Hash, Kind, Layout};

const PROBES: &str = ".offsite/probe";
/// Bytes of keys that are compared with the manifest in one pass.
const PASS: usize = 16 << 20;
/// Keys that are deleted at a time.
const BATCH: usize = 1000;

/// Deletes what is left, then the lists, then what probes left. The run has the lease, and its manifest is the newest.
/// Returns false if some of it has to stay: an older snapshot names a version, and the store keeps no versions now, or a
/// snapshot that may name a pack cannot be read.
///
/// # Errors
/// The store's own error, after which some of it may have been deleted. The next cleanup continues.
pub async fn clean(destination: &Destination) -> Result<bool> {
    let (records, layout) = (&destination.records, destination.layout());
    let (mut stays, mut needed) = (false, None);
    loop {
        let lists = folder(records, FOLDER).await?;
        let (mut left, mut done, mut bytes, mut deleted) = (HashSet::new(), Vec::new(), 0, false);
        for name in &lists {
            let list = read(records, name).await?;
            let keys: Vec<Vec<u8>> = list.keys.into_iter().map(|key| key.0).filter(|key| may_be_left(layout, key)).collect();
            if layout == Layout::Packed && !keys.is_empty() && needed.is_none() {
                needed = Some(named_packs(destination).await?);
            }
            let unproven = matches!(needed, Some(None)) && !keys.is_empty();
            if unproven || list.versions && !destination.backend.keeps_versions().await? {
                stays = true;
                continue;
            }
            left.extend(keys.into_iter().inspect(|key| bytes += key.len()));
            done.push(name.clone().into_bytes());
            if bytes >= PASS {
                let named = needed.as_ref().and_then(Option::as_ref);
                delete(destination, std::mem::take(&mut left), std::mem::take(&mut done), named).await?;
                (bytes, deleted) = (0, true);
            }
        }
        deleted |= !done.is_empty();
        delete(destination, left, done, needed.as_ref().and_then(Option::as_ref)).await?;
        if lists.len() < MOST || !deleted {
            break;
        }
    }
    let probes = folder(records, PROBES).await?.into_iter().map(String::into_bytes).collect();
    delete_all(records, probes).await?;
    Ok(!stays)
}

/// The packs that any snapshot names. `None` if one of them cannot be read.
async fn named_packs(destination: &Destination) -> Result<Option<NeededPacks>> {
    let named = async {
        let mut snapshots = Vec::new();
        for listed in destination.records.snapshots(None).await? {
            snapshots.push(destination.records.snapshot(listed.number).await?.0);
        }
        NeededPacks::of(destination, &snapshots).await
    };
    match named.await {
        Ok(named) => Ok(Some(named)),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes these keys, except those that something needs, then the lists that named them. `named` has the packs of all
/// snapshots.
async fn delete(destination: &Destination, mut keys: HashSet<Vec<u8>>, lists: Vec<Vec<u8>>, named: Option<&NeededPacks>) -> Result<()> {
    match destination.layout() {
        _ if keys.is_empty() => {}
        Layout::Mirror => tokio::task::block_in_place(|| leave_named(destination.base()?, &mut keys))?,
        Layout::Packed => keys.retain(|key| pack_of_key(key).is_some_and(|pack| named.is_some_and(|named| !named.has(&pack)))),
    }
    delete_all(&destination.records, keys.into_iter().collect()).await?;
    delete_all(&destination.records, lists).await
}

async fn delete_all(records: &Records, keys: Vec<Vec<u8>>) -> Result<()> {
    for batch in keys.chunks(BATCH) {
        records.delete(batch.to_vec()).await?;
    }
    Ok(())
}

/// Removes from `keys` those under which the manifest may have a content.
fn leave_named(mut manifest: CacheReader, keys: &mut HashSet<Vec<u8>>) -> Result<()> {
    let odd = keys.iter().any(|key| key.starts_with(ODD));
    while let Some(known) = manifest.peek()? {
        if known.kind() == Kind::File {
            keys.remove(known.path.as_slice());
            if odd {
                keys.remove([ODD, Hash::of(&known.path).to_string().as_bytes()].concat().as_slice());
            }
        }
        manifest.advance();
    }
    Ok(())
}
