//! Leftovers: objects that a run in append-only mode would have deleted.
//!
//! Owns the lists of them below `.offsite/left/`. At a mirror, a list names objects of contents and is written before the
//! commit. At a packed destination, it names packs that were sent in vain. A list proves nothing, because anyone who may
//! write to the destination may have written it: `prune/left.rs` deletes what is listed only if nothing
//! needs it.

use std::path::Path;

use futures::TryStreamExt;
use object_store::PutMode;
use serde::{Deserialize, Serialize};

use super::cleanup::deletable;
use super::destination::Destination;
use crate::error::{Error, Result};
use crate::manifest::{KeyRules, Records, object_path, pack_of_key};
use crate::model::{Layout, RelPath, bounds};
use crate::spool::Reader;
use crate::transfer::Line;

/// Where the lists are.
pub const FOLDER: &str = ".offsite/left";
/// Where a content has a key of its own, because the store does not take its path for one.
pub const ODD: &[u8] = b".offsite/odd/";
/// Objects of a folder that are considered at a time.
pub const MOST: usize = 10_000;

/// A list as an object of the destination.
#[derive(Debug, Serialize, Deserialize)]
pub struct LeftList {
    /// The keys of the objects.
    #[serde(deserialize_with = "bounds::keys")]
    pub keys: Vec<RelPath>,
    /// Older snapshots name contents of these keys by a version of the store.
    #[serde(default)]
    pub versions: bool,
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

/// Writes down packs that were sent in vain.
///
/// # Errors
/// The store's own error.
pub async fn note_keys(destination: &Destination, keys: Vec<Vec<u8>>) -> Result<()> {
    let name = format!("{:016x}{:016x}", crate::random(), crate::random());
    note(destination, &name, std::iter::empty(), keys).await
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

/// Whether a list may name this key: at a mirror that of a content, at a packed destination that of a pack.
pub fn may_be_left(layout: Layout, key: &[u8]) -> bool {
    if layout == Layout::Packed {
        return pack_of_key(key).is_some();
    }
    let own = key == b".offsite" || key.starts_with(b".offsite/");
    (!own || key.starts_with(ODD)) && !key.is_empty() && object_path(key).is_ok_and(|path| path.as_ref().as_bytes() == key)
}

/// The keys on all lists, for a check: what they name is not foreign.
///
/// # Errors
/// The store's own error.
pub async fn listed(records: &Records, layout: Layout, mut take: impl FnMut(RelPath) -> Result<()>) -> Result<()> {
    for list in folder(records, FOLDER).await? {
        for key in read(records, &list).await?.keys.into_iter().filter(|key| may_be_left(layout, key.as_bytes())) {
            take(key)?;
        }
    }
    Ok(())
}

/// Whether a key below `.offsite/` is that of a list, or of what a probe in append-only mode leaves.
pub fn is_own(key: &[u8]) -> bool {
    key.starts_with(b".offsite/left/") && key.ends_with(b".json") || key.starts_with(b".offsite/probe/append-only/")
}

/// A list. One that cannot be read names nothing.
///
/// # Errors
/// The store's own error.
pub async fn read(records: &Records, key: &str) -> Result<LeftList> {
    let none = LeftList { keys: Vec::new(), versions: false };
    match records.read::<LeftList>(key).await {
        Ok(list) => Ok(list.map_or(none, |list| list.record)),
        Err(Error::Damaged { .. }) => Ok(none),
        Err(error) => Err(error),
    }
}

/// The first keys below one of offsite's folders.
///
/// # Errors
/// The store's own error.
pub async fn folder(records: &Records, name: &str) -> Result<Vec<String>> {
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
