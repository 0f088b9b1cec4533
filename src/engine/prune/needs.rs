//! Finds what only expired snapshots need: contents, kept or as versions of the store, and page objects.
//!
//! Owns the proof. A content belongs to consecutive snapshots, so if neither remaining neighbour of a dropped snapshot
//! needs it, no snapshot does. Page objects are named by their content and can come back, so every remaining snapshot
//! is searched for them.
//! Invariant: a content stays if it is older than the neighbour before it, by the manifest or by the store. A forged
//! manifest can name anything, and this limits what it deletes.

use std::collections::{BTreeSet, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::GetOptions;
use offsite_backends::ErrorKind;

use super::packs::{NeededPacks, PackTimes};
use super::queued::{QueueLine, QueuedDeletion};
use crate::engine::damage::is_damage;
use crate::engine::destination::{Destination, Listed};
use crate::engine::download::fetch_leaves;
use crate::error::Result;
use crate::manifest::{CacheReader, Known, PageSource, Records, object_path};
use crate::model::{Content, Entry, Hash, KeyRules, Layout, PageRef, Snapshot};
use crate::spool::Writer;

/// Number of objects that are read in parallel.
const AT_ONCE: usize = 16;

/// Adds to the list what only the `dropped` snapshots need. `left` and `right` are the neighbours that stay, `others`
/// are all snapshots that stay.
pub async fn collect(
    destination: &Destination,
    list: &[Listed],
    (left, dropped, right): (Option<u64>, &[u64], Option<u64>),
    others: &[u64],
    goes: &mut Writer<QueueLine>,
) -> Result<()> {
    let records = &destination.records;
    let mut stay: Vec<Snapshot> = Vec::new();
    for number in [left, right].into_iter().flatten() {
        stay.push(records.snapshot(number).await?.0);
    }
    // Objects are as old as the store says, also those of copied snapshots.
    let time = |number: u64| list.iter().find(|s| s.number == number).map(|s| s.written.unwrap_or(s.time));
    let after = left.and_then(time);
    let mut seen_roots: HashSet<Option<Hash>> = stay.iter().map(|s| s.root.as_ref().map(|r| r.hash)).collect();
    let mut gone_objects = BTreeSet::new();
    let mut packs = match destination.layout() {
        Layout::Packed => Some(NeededPacks::of(destination, &stay).await?),
        Layout::Mirror => None,
    };
    let mut previous: Option<Vec<PageRef>> = None;
    for number in dropped {
        let (snapshot, _) = records.snapshot(*number).await?;
        gone_objects.extend(snapshot.objects.iter().copied().filter(|o| !stay.iter().any(|s| s.objects.contains(o))));
        if !seen_roots.insert(snapshot.root.as_ref().map(|r| r.hash)) {
            continue;
        }
        if let Some(packs) = &mut packs {
            packs.collect(destination, &snapshot, PackTimes { after, before: time(*number) }, goes).await?;
        } else {
            let written = WrittenBetween { since: left, after, before: time(*number) };
            previous = Some(contents(destination, &snapshot, &stay, previous.as_deref(), written, goes).await?);
        }
    }
    let others: Vec<u64> = others.iter().copied().filter(|number| ![left, right].contains(&Some(*number))).collect();
    still_named(records, &others, &mut gone_objects).await?;
    let keeps = destination.backend.keeps_versions().await?;
    let looks = gone_objects.iter().map(|object| page_object(destination, object, keeps));
    let mut found = stream::iter(looks.collect::<Vec<_>>()).buffered(AT_ONCE);
    while let Some(object) = found.try_next().await? {
        goes.push(&QueueLine::QueuedDeletion(object))?;
    }
    Ok(())
}

/// When the contents that only a dropped snapshot needs were written, if its manifest is not forged.
#[derive(Debug, Clone, Copy)]
struct WrittenBetween {
    /// In this run or a later one.
    since: Option<u64>,
    /// The earliest time by the store's clock, in seconds since 1970.
    after: Option<i64>,
    /// The latest time by the store's clock, in seconds since 1970.
    before: Option<i64>,
}

/// Removes from `objects` those that a snapshot in `others` names. If a run brings a tree back to an earlier state (a
/// mode is changed and changed back), it writes the same object again, and the snapshots in between do not name it.
async fn still_named(records: &Records, others: &[u64], objects: &mut BTreeSet<Hash>) -> Result<()> {
    if objects.is_empty() {
        return Ok(());
    }
    let reads = others.iter().map(|number| records.snapshot(*number));
    let mut read = stream::iter(reads.collect::<Vec<_>>()).buffered(AT_ONCE);
    while let Some(snapshot) = read.next().await {
        match snapshot {
            Ok((snapshot, _)) => objects.retain(|object| !snapshot.objects.contains(object)),
            // What a damaged snapshot needs is unknown. The objects stay, and a check lists them.
            Err(error) if is_damage(&error) => objects.clear(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The deletion of a page object, with its version if the store keeps versions.
async fn page_object(destination: &Destination, object: &Hash, keeps: bool) -> Result<QueuedDeletion> {
    let key = Records::pages_object_key(object);
    let version = match keeps && destination.backend.capabilities().versions {
        false => None,
        true => match destination.backend.held(&object_path(key.as_bytes())?, None).await {
            Err(error) if error.kind == ErrorKind::NotFound => None,
            held => held?.version,
        },
    };
    Ok(QueuedDeletion { version, ..QueuedDeletion::at(key.as_bytes(), 0) })
}

/// When an object was written by the store's clock, in seconds since 1970. `None` if it does not exist.
pub async fn written_at(destination: &Destination, key: &[u8], version: Option<&str>) -> Result<Option<i64>> {
    let options = GetOptions { head: true, version: version.map(str::to_owned), ..GetOptions::default() };
    match destination.backend.store().get_opts(&object_path(key)?, options).await {
        Ok(found) => Ok(Some(found.meta.last_modified.timestamp())),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(destination.records.error(&String::from_utf8_lossy(key), &error)),
    }
}

/// Adds to the list the contents that a dropped snapshot names and no neighbour in `stay` does. Skips the pages in
/// `before`, those of the previous dropped snapshot. Returns the pages of this one.
async fn contents(
    destination: &Destination,
    snapshot: &Snapshot,
    stay: &[Snapshot],
    before: Option<&[PageRef]>,
    written: WrittenBetween,
    goes: &mut Writer<QueueLine>,
) -> Result<Vec<PageRef>> {
    let source = PageSource::new(destination.records.clone());
    let leaves = |s: Snapshot| {
        let source = source.clone();
        async move {
            let (leaves, _, mut lost) = source.leaves(&s, |_, _| true).await?;
            if lost.is_empty() { Ok(leaves) } else { Err(lost.swap_remove(0).error) }
        }
    };
    let mine = leaves(snapshot.clone()).await?;
    let keeps = destination.backend.keeps_versions().await?;
    let mine_hashes: HashSet<Hash> = mine.iter().map(|p| p.hash).collect();
    let mut known: HashSet<Hash> = before.unwrap_or_default().iter().map(|p| p.hash).collect();
    let mut others = Vec::new();
    for (index, neighbour) in stay.iter().enumerate() {
        let pages = leaves(neighbour.clone()).await?;
        known.extend(pages.iter().map(|p| p.hash));
        let unlike = pages.into_iter().filter(|p| !mine_hashes.contains(&p.hash)).collect();
        others.push(local_pages(destination, unlike, &format!("prune-{index}")).await?);
    }
    if let Some(before) = before {
        // The contents of the previous dropped snapshot are already on the list, or they stay.
        let unlike = before.iter().filter(|p| !mine_hashes.contains(&p.hash)).cloned().collect();
        others.push(local_pages(destination, unlike, "prune-before").await?);
    }
    let unlike = mine.iter().filter(|p| !known.contains(&p.hash)).cloned().collect();
    let mut own = local_pages(destination, unlike, "prune-own").await?;
    while let Some(entry) = own.peek()?.map(Known::entry).transpose()? {
        own.advance();
        let Some(content) = &entry.content else { continue };
        let mut needed = false;
        for other in &mut others {
            needed |= holds(other, &entry, content)?;
        }
        if !needed && written.since.is_none_or(|since| content.since >= since) {
            push(&snapshot.keys, &entry, content, keeps, written, goes)?;
        }
    }
    Ok(mine)
}

async fn local_pages(destination: &Destination, pages: Vec<PageRef>, name: &str) -> Result<CacheReader> {
    let path = destination.local(name);
    fetch_leaves(&destination.records, pages, &path).await?;
    let reader = CacheReader::open(&path, None);
    // The open file stays readable without a name, so nothing has to be cleaned up later.
    let _ = std::fs::remove_file(&path);
    reader
}

fn holds(other: &mut CacheReader, entry: &Entry, content: &Content) -> Result<bool> {
    while let Some(known) = other.peek()? {
        if known.path.as_slice() < entry.path.as_bytes() {
            other.advance();
            continue;
        }
        return Ok(known.path == entry.path.as_bytes() && known.entry()?.content.as_ref().is_some_and(|c| same(c, content)));
    }
    Ok(false)
}

/// Whether two contents of one path are the same. A forged manifest can name a version with another `since`, so an
/// equal version is enough.
fn same(a: &Content, b: &Content) -> bool {
    a.since == b.since || a.version.is_some() && a.version == b.version
}

/// Adds a content to the list. If the store has stopped keeping versions, a content with a version was also copied to
/// `kept/` when it was replaced, so the list gets both.
fn push(
    rules: &KeyRules,
    entry: &Entry,
    content: &Content,
    keeps: bool,
    written: WrittenBetween,
    goes: &mut Writer<QueueLine>,
) -> Result<()> {
    let kept = |bytes| QueuedDeletion::at(&rules.kept_key(entry.path.as_bytes(), content), bytes);
    let Some(version) = &content.version else { return goes.push(&QueueLine::QueuedDeletion(kept(entry.size))) };
    if !keeps {
        goes.push(&QueueLine::QueuedDeletion(kept(0)))?;
    }
    let (after, before) = (written.after, written.before);
    goes.push(&QueueLine::QueuedDeletion(QueuedDeletion {
        version: Some(version.clone()),
        after,
        before,
        ..QueuedDeletion::at(&KeyRules::current_key(entry), entry.size)
    }))
}
