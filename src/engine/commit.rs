//! The commit: new pages as one object, then the snapshot, created once.
//!
//! Owns the order: before the snapshot object nothing has happened, after it all has. What goes into the
//! manifest is what the journal says arrived; a file that did not keeps the entry it had.

use std::collections::HashMap;
use std::path::Path;

use super::clock::rfc3339;
use super::destination::{Destination, Head, Listed};
use super::machine::PROGRAM;
use crate::error::{Error, Result};
use crate::manifest::{KnownStamps, ManifestMerge, MergedManifest, Step, troubles};
use crate::model::bounds;
use crate::model::{Change, Content, Counts, Entry, Hash, Kind, Problem, RelPath, Sample, Snapshot, Stamps, Time, UnverifiedReason};
use crate::plan::Facts;
use crate::spool::{Joined, Reader, Sorted};
use crate::transfer::{Done, Line};

/// A manifest is spread over so many objects at the most; then the emptiest are written anew.
const MAX_OBJECTS: usize = 48;
/// Kernels stamp files with a clock that ticks this coarsely.
const TICK_NANOS: i128 = 20_000_000;

/// What a commit did, in figures.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    pub counts: Counts,
    /// Bytes copied on the server for renames.
    pub copied: u64,
}

/// Stamps to remember: none for a file that may have been written again in the tick of the scan.
/// Without a `scan_start`, the stamps are those of no disk.
pub fn remember(stamps: Stamps, scan_start: Option<Time>) -> KnownStamps {
    let Some(scan_start) = scan_start else { return KnownStamps::Unknown };
    let nanos = |t: Time| i128::from(t.secs) * 1_000_000_000 + i128::from(t.nanos);
    if nanos(stamps.ctime) + TICK_NANOS >= nanos(scan_start) { KnownStamps::Fresh } else { KnownStamps::At(stamps) }
}

/// Weaves a plan and what arrived into the old manifest. Blocks.
pub fn merge(
    destination: &Destination,
    plan: &Path,
    done: Sorted<Done>,
    facts: &Facts,
    scan_start: Option<Time>,
    cache: &Path,
) -> Result<(MergedManifest, Figures)> {
    let inner = destination.head.as_ref().map_or(&[][..], |h| &h.inner);
    let mut merge = ManifestMerge::start(
        destination.base()?,
        cache,
        (&destination.local("pack"), destination.records.naming_key()),
        retire(destination)?,
    )?;
    let mut figures =
        Figures { counts: Counts { unchanged: facts.counts.unchanged, skipped: facts.counts.skipped, ..Counts::default() }, copied: 0 };
    let mut lines = Reader::<Line>::open(plan)?;
    let mut arrived = Joined::new(done)?;
    while let Some(line) = lines.next_line()? {
        let here = arrived.meet(line.step.path().as_bytes())?;
        if let Some(step) = step(line.step, here, scan_start, &mut figures) {
            merge.step(step)?;
        }
    }
    Ok((merge.finish(inner)?, figures))
}

fn step(change: Change, arrived: Option<Done>, scan_start: Option<Time>, figures: &mut Figures) -> Option<Step> {
    let counts = &mut figures.counts;
    let set = |entry: Entry, stamps: Stamps| Some(Step::Set(Box::new(entry), remember(stamps, scan_start)));
    match change {
        Change::Added { entry, stamps } if entry.kind != Kind::File => {
            counts.added += 1;
            set(entry, stamps)
        }
        Change::Changed { entry, stamps, .. } if entry.kind != Kind::File => {
            counts.changed += 1;
            set(entry, stamps)
        }
        Change::Added { .. } => {
            let done = arrived?;
            counts.added += 1;
            set(done.entry, done.stamps)
        }
        Change::Renamed { from, .. } => {
            let done = arrived?;
            counts.renamed += 1;
            let packed = from.content.as_ref().is_some_and(Content::is_packed);
            figures.copied += if packed { 0 } else { from.size };
            set(done.entry, done.stamps)
        }
        Change::Changed { old, unverified, .. } => {
            if unverified == Some(UnverifiedReason::Repack) {
                // The comparison counted it as unchanged.
                counts.unchanged = counts.unchanged.saturating_sub(1);
            }
            match arrived {
                Some(done) => Some(read_again(done, &old, scan_start, counts)),
                None => {
                    counts.unchanged += 1;
                    None
                }
            }
        }
        Change::Metadata { entry, stamps, .. } => {
            counts.metadata += 1;
            // It was sent again where the destination did not have it any more.
            match arrived {
                Some(done) if done.stamps == stamps && done.entry.size == entry.size => set(done.entry, done.stamps),
                _ => set(entry, stamps),
            }
        }
        Change::Removed { old, moved } => {
            counts.removed += u64::from(!moved);
            Some(Step::Remove(old.path))
        }
        // Already counted as unchanged by the comparison.
        Change::Stamped { path, stamps } => Some(Step::Stamp(path, remember(stamps, scan_start))),
    }
}

/// The step of a file that was read because it could have changed.
fn read_again(done: Done, old: &Entry, scan_start: Option<Time>, counts: &mut Counts) -> Step {
    let moved = done.entry.content != old.content;
    if moved && !is_repacked(&done.entry, old) {
        counts.changed += 1;
    } else if !done.entry.same_metadata(old) {
        counts.metadata += 1;
    } else {
        counts.unchanged += 1;
        if !moved {
            return Step::Stamp(done.entry.path, remember(done.stamps, scan_start));
        }
    }
    Step::Set(Box::new(done.entry), remember(done.stamps, scan_start))
}

/// Whether a content is the old one in another place of a packed destination.
fn is_repacked(entry: &Entry, old: &Entry) -> bool {
    let same = |(now, then): (&Content, &Content)| then.is_packed() && (now.hash, now.since) == (then.hash, then.since);
    entry.content.as_ref().zip(old.content.as_ref()).is_some_and(same)
}

/// Objects whose few living pages are written anew, so that their number stays small.
fn retire(destination: &Destination) -> Result<Vec<Hash>> {
    let objects = destination.snapshot().map_or(0, |(s, _)| s.objects.len());
    if objects < MAX_OBJECTS {
        return Ok(Vec::new());
    }
    let mut live: HashMap<Hash, u64> = HashMap::new();
    let mut base = destination.base()?;
    while let Some(head) = base.next_block()? {
        if let Some(object) = head.page.object {
            *live.entry(object).or_default() += head.page.length;
        }
    }
    let mut live: Vec<(u64, Hash)> = live.into_iter().map(|(object, bytes)| (bytes, object)).collect();
    live.sort();
    Ok(live.into_iter().take(MAX_OBJECTS / 2).map(|(_, object)| object).collect())
}

/// Puts the pages and creates the snapshot. Fails with [`Error::Busy`] if another run with changes was
/// faster; one without changes in between is no obstacle.
pub async fn commit(destination: &mut Destination, mut snapshot: Snapshot, merged: MergedManifest, cache: Option<String>) -> Result<u64> {
    let Some(head) = destination.head.clone() else { return Err(Error::Usage("a commit without a format".into())) };
    let packed = &merged.packed;
    if let Some(object) = &packed.object {
        destination.records.put_pages(object, &packed.file, packed.length).await?;
    }
    snapshot.root.clone_from(&packed.root);
    snapshot.objects = merged.objects;
    // What is kept beside the manifest is named there as well, so that a prune knows of it.
    let beside = snapshot.troubles.as_ref().and_then(|page| page.object);
    snapshot.objects.extend(beside.filter(|object| !snapshot.objects.contains(object)));
    snapshot.totals = merged.totals;
    snapshot.opens = destination.records.page_keys(&snapshot.objects, snapshot.opens.as_ref());
    let base_root = destination.snapshot().and_then(|(s, _)| s.root.clone());
    let mut list = head.list.clone();
    let (hash, etag) = loop {
        if let Some(made) = destination.records.commit(&snapshot, head.format.create_only).await? {
            break made;
        }
        let (other, other_hash) = destination.records.snapshot(snapshot.number).await?;
        if other.root != base_root || snapshot.copied.is_some() {
            return Err(Error::Busy(format!(
                "{}: {} committed snapshot {} in the meantime, so nothing of this run was committed; run again",
                destination.backend.location(),
                other.host,
                other.number
            )));
        }
        list.push(Listed { number: other.number, time: chrono::Utc::now().timestamp(), written: None, etag: None });
        snapshot.number += 1;
        snapshot.parent = Some(other_hash);
    };
    let number = snapshot.number;
    let now = destination.backend.meter().clock().unwrap_or_else(chrono::Utc::now).timestamp();
    let time = snapshot.copied.as_ref().map_or(now, |from| from.time);
    list.push(Listed { number, time, written: Some(now).filter(|now| *now != time), etag });
    destination.keep_head(Head {
        snapshot: Some((snapshot, hash)),
        list,
        inner: packed.inner.clone(),
        own: packed.object.or(head.own.filter(|_| cache.is_none())),
        file: cache.or(head.file),
        ..head
    })?;
    let _ = std::fs::remove_file(destination.local("pack"));
    Ok(number)
}

/// Keeps the whole list of what could not be read or kept changing, where the snapshot names only the first of it. A
/// list like that of the last snapshot is taken over.
pub async fn keep_troubles(destination: &Destination, snapshot: &mut Snapshot, unread: &[Problem], unstable: &[RelPath]) -> Result<()> {
    let file = destination.local("troubles");
    let packed =
        tokio::task::block_in_place(|| troubles::pack(&file, destination.records.naming_key(), snapshot.number, unread, unstable))?;
    let before = destination.snapshot().and_then(|(s, _)| s.troubles.as_ref());
    let same = before.filter(|before| packed.root.as_ref().is_some_and(|root| root.hash == before.hash));
    match (same, &packed.object) {
        (Some(same), _) => snapshot.troubles = Some(same.clone()),
        (None, Some(object)) => {
            destination.records.put_pages(object, &packed.file, packed.length).await?;
            snapshot.troubles.clone_from(&packed.root);
        }
        (None, None) => {}
    }
    let _ = std::fs::remove_file(&file);
    Ok(())
}

/// Whether a snapshot would name only the first of these, and the whole list is not the one beside the last snapshot.
pub fn is_new_list(destination: &Destination, unread: &[Problem]) -> Result<bool> {
    if Sample::of(unread).cut().is_none() {
        return Ok(false);
    }
    let file = destination.local("troubles");
    let packed = troubles::pack(&file, destination.records.naming_key(), destination.number(), unread, &[])?;
    let _ = std::fs::remove_file(&file);
    let before = destination.snapshot().and_then(|(s, _)| s.troubles.as_ref());
    Ok(packed.root.map(|page| page.hash) != before.map(|page| page.hash))
}

/// A snapshot without what the commit itself finds out.
pub fn draft(
    destination: &Destination,
    run: String,
    host: String,
    source: crate::model::RelPath,
    tree: crate::model::TreeRoot,
) -> Snapshot {
    let before = destination.snapshot();
    let packed = destination.head.as_ref().map(|head| &head.format).filter(|format| !format.layout.is_mirror());
    Snapshot {
        format: crate::manifest::format_of(destination.layout()),
        number: destination.number().saturating_add(1),
        parent: before.map(|(_, hash)| *hash),
        time: rfc3339(),
        host,
        job: None,
        kind: None,
        source,
        program: PROGRAM.into(),
        run,
        root: before.and_then(|(s, _)| s.root.clone()),
        keys: destination.rules(),
        objects: before.map_or_else(Vec::new, |(s, _)| s.objects.clone()),
        tree,
        totals: before.map_or_else(Default::default, |(s, _)| s.totals),
        changes: Counts::default(),
        sent: 0,
        unread: Sample::default(),
        unread_total: None,
        unstable: Sample::default(),
        unstable_total: None,
        troubles: None,
        destination: packed.map(|format| format.id.clone()),
        trail: if packed.is_some() { trail(before) } else { Vec::new() },
        opens: before.and_then(|(s, _)| s.opens.clone()),
        left: before.is_some_and(|(s, _)| s.left),
        copied: None,
    }
}

/// The snapshots before the next one: those that the last one names, and itself.
fn trail(before: Option<&(Snapshot, Hash)>) -> Vec<(u64, Hash)> {
    let Some((snapshot, hash)) = before else { return Vec::new() };
    let mut trail = snapshot.trail.clone();
    trail.push((snapshot.number, *hash));
    trail.drain(..trail.len().saturating_sub(bounds::TRAIL));
    trail
}

/// A commit that another writer made between our look and our lease would be overwritten unseen.
pub async fn still_newest(destination: &Destination) -> Result<()> {
    let number = destination.number();
    if bounds::after(number).is_none() {
        let url = destination.backend.location();
        return Err(Error::Usage(format!("{url}: snapshot {number} is the last possible one; begin a new destination")));
    }
    match destination.records.snapshots((number > 0).then_some(number)).await?.last() {
        Some(newer) if newer.number > number => Err(Error::Busy(format!(
            "{}: snapshot {} was committed by another run in the meantime; run again",
            destination.backend.location(),
            newer.number
        ))),
        _ => Ok(()),
    }
}
