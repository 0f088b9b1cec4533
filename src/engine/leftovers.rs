//! Leftovers: objects that a run in append-only mode would have deleted.
//!
//! Owns the lists of them below `.offsite/left/`, and the cleanup by a later run or prune that may delete. A list is
//! written before the commit. Invariants: only a key of a content is ever deleted for a list, and only if the newest
//! manifest has no content there. A list proves nothing, because anyone who may write to the destination may have
//! written it. What older snapshots need was copied to `kept/` or is a version of the store.

use std::collections::HashSet;
use std::path::Path;

use futures::TryStreamExt;
use object_store::PutMode;
use serde::{Deserialize, Serialize};

use super::cleanup::deletable;
use super::destination::Destination;
use crate::error::{Error, Result};
use crate::manifest::{CacheReader, KeyRules, Records, object_path};
use crate::model::{Hash, Kind, RelPath, bounds};
use crate::spool::Reader;
use crate::transfer::Line;

const FOLDER: &str = ".offsite/left";
const PROBES: &str = ".offsite/probe";
const ODD: &[u8] = b".offsite/odd/";
/// Bytes of keys that are compared with the manifest in one pass.
const PASS: usize = 16 << 20;
/// Keys that are deleted at a time.
const BATCH: usize = 1000;
/// Objects of one of these folders that are considered at a time.
const MOST: usize = 10_000;

/// A list as an object of the destination.
#[derive(Debug, Serialize, Deserialize)]
struct LeftList {
    #[serde(deserialize_with = "bounds::keys")]
    keys: Vec<RelPath>,
    /// Older snapshots name contents of these keys by a version of the store.
    #[serde(default)]
    versions: bool,
}

/// Whether something may be left at the destination that this run may delete.
pub fn to_clean(destination: &Destination) -> bool {
    let backend = &destination.backend;
    backend.tree().is_none() && backend.deletes() && destination.snapshot().is_some_and(|(newest, _)| newest.left)
}

/// Writes down what the cleanup of these plans would delete, and the keys in `also`.
///
/// # Errors
/// [`Error::Local`] if a plan cannot be read, otherwise the store's own error.
pub async fn note(destination: &Destination, run: &str, plans: impl Iterator<Item = &Path>, also: Vec<Vec<u8>>) -> Result<()> {
    let mut lists = Lists { records: &destination.records, run, written: 0, list: LeftList { keys: Vec::new(), versions: false } };
    for key in also {
        lists.push(key, false).await?;
    }
    for plan in plans {
        let mut lines = Reader::<Line>::open(plan)?;
        while let Some(line) = lines.next_line()? {
            if let Some(old) = deletable(&line.step) {
                let version = old.content.as_ref().is_some_and(|content| content.version.is_some());
                lists.push(KeyRules::current_key(old), version).await?;
            }
        }
    }
    lists.write().await
}

/// Lists in the making.
struct Lists<'a> {
    records: &'a Records,
    run: &'a str,
    written: u64,
    list: LeftList,
}

impl Lists<'_> {
    async fn push(&mut self, key: Vec<u8>, version: bool) -> Result<()> {
        self.list.keys.push(RelPath(key));
        self.list.versions |= version;
        if self.list.keys.len() == bounds::KEYS { self.write().await } else { Ok(()) }
    }

    async fn write(&mut self) -> Result<()> {
        if self.list.keys.is_empty() {
            return Ok(());
        }
        let key = format!("{FOLDER}/{}-{}.json", self.run, self.written);
        self.records.write(&key, &self.list, PutMode::Overwrite).await?;
        (self.written, self.list) = (self.written + 1, LeftList { keys: Vec::new(), versions: false });
        Ok(())
    }
}

/// Deletes what is left, then the lists, then what probes left. The run has the lease, and its manifest is the newest.
/// Returns false if some of it has to stay: an older snapshot names a version, and the store keeps no versions now.
///
/// # Errors
/// The store's own error, after which some of it may have been deleted. The next cleanup continues.
pub async fn clean(destination: &Destination) -> Result<bool> {
    let records = &destination.records;
    let mut stays = false;
    loop {
        let lists = folder(records, FOLDER).await?;
        let (mut left, mut done, mut bytes, mut deleted) = (HashSet::new(), Vec::new(), 0, false);
        for name in &lists {
            let list = read(records, name).await?;
            if list.versions && !destination.backend.keeps_versions().await? {
                stays = true;
                continue;
            }
            let keys = list.keys.into_iter().map(|key| key.0).filter(|key| is_content(key));
            left.extend(keys.inspect(|key| bytes += key.len()));
            done.push(name.clone().into_bytes());
            if bytes >= PASS {
                delete(destination, std::mem::take(&mut left), std::mem::take(&mut done)).await?;
                (bytes, deleted) = (0, true);
            }
        }
        deleted |= !done.is_empty();
        delete(destination, left, done).await?;
        if lists.len() < MOST || !deleted {
            break;
        }
    }
    let probes = folder(records, PROBES).await?.into_iter().map(String::into_bytes).collect();
    delete_all(records, probes).await?;
    Ok(!stays)
}

/// Deletes these keys, except those of the newest manifest, then the lists that named them.
async fn delete(destination: &Destination, mut keys: HashSet<Vec<u8>>, lists: Vec<Vec<u8>>) -> Result<()> {
    if !keys.is_empty() {
        tokio::task::block_in_place(|| leave_named(destination.base()?, &mut keys))?;
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

/// Whether a key can be that of a content that is current.
fn is_content(key: &[u8]) -> bool {
    let own = key == b".offsite" || key.starts_with(b".offsite/");
    (!own || key.starts_with(ODD)) && !key.is_empty() && object_path(key).is_ok_and(|path| path.as_ref().as_bytes() == key)
}

/// The keys on all lists, for a check: what they name is not foreign.
///
/// # Errors
/// The store's own error.
pub async fn listed(records: &Records, mut take: impl FnMut(RelPath) -> Result<()>) -> Result<()> {
    for list in folder(records, FOLDER).await? {
        for key in read(records, &list).await?.keys.into_iter().filter(|key| is_content(key.as_bytes())) {
            take(key)?;
        }
    }
    Ok(())
}

/// Whether a key below `.offsite/` is one of this module's own objects.
pub fn is_own(key: &[u8]) -> bool {
    key.starts_with(b".offsite/left/") || key.starts_with(b".offsite/probe/append-only/")
}

/// A list. One that cannot be read names nothing.
async fn read(records: &Records, key: &str) -> Result<LeftList> {
    let none = LeftList { keys: Vec::new(), versions: false };
    match records.read::<LeftList>(key).await {
        Ok(list) => Ok(list.map_or(none, |list| list.record)),
        Err(Error::Damaged { .. }) => Ok(none),
        Err(error) => Err(error),
    }
}

/// The first keys below one of offsite's folders.
async fn folder(records: &Records, name: &str) -> Result<Vec<String>> {
    let listing = records.backend().store().list(Some(&object_path(name.as_bytes())?));
    let mut listing = listing.map_err(|error| records.error(name, &error));
    let mut found = Vec::new();
    while found.len() < MOST
        && let Some(meta) = listing.try_next().await?
    {
        found.push(meta.location.to_string());
    }
    Ok(found)
}
