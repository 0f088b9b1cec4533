//! What a repair changes in the manifest.
//!
//! Owns the weaving: the entry of a content that was sent again keeps its `since`, because it is the same content;
//! what changes is the tag, the version, and the metadata that went with it. Pages that cannot be read at the
//! destination are made anew from this machine's copy.

use std::path::Path;

use super::change::Fix;
use super::source::RepairPlan;
use crate::engine::commit::remember;
use crate::engine::destination::Destination;
use crate::error::Result;
use crate::manifest::{CacheReader, KnownStamps, ManifestMerge, MergedManifest, Step};
use crate::model::{Entry, Hash, Kind, PageRef, Time};
use crate::spool::{Reader, Sorted, Sorter};
use crate::transfer::Journal;

/// All changes in order: those that were planned, and what was sent.
pub fn sorted(scratch: &Path, planned: &RepairPlan, journal: Option<&Path>) -> Result<Sorted<Fix>> {
    let mut sorter = Sorter::new(scratch, |f: &Fix| f.path.as_bytes());
    let mut changes = Reader::<Fix>::open(&planned.changes)?;
    while let Some(fix) = changes.next_line()? {
        sorter.push(&fix)?;
    }
    if let Some(journal) = journal {
        let mut sent = Journal::sorted(journal, scratch)?;
        while let Some(done) = sent.next_sorted()? {
            if done.entry.kind == Kind::File {
                sorter.push(&Fix::set(done.entry, Some(done.stamps)))?;
            }
        }
    }
    sorter.finish()
}

/// Weaves them into the newest manifest; the new cache goes to the local file `cache`. Pages in `damaged` objects
/// are written again. Blocks.
pub fn weave(destination: &Destination, mut fixes: Sorted<Fix>, damaged: Vec<Hash>, start: Time, cache: &str) -> Result<MergedManifest> {
    let inner: Vec<PageRef> = destination.head.as_ref().map_or_else(Vec::new, |h| h.inner.clone());
    let inner: Vec<PageRef> = inner.into_iter().filter(|page| page.object.is_none_or(|o| !damaged.contains(&o))).collect();
    let mut before = destination.base()?;
    let mut weave = ManifestMerge::start(destination.base()?, &destination.local(cache), &destination.local("pack"), damaged)?;
    while let Some(fix) = fixes.next_sorted()? {
        let stamps = fix.stamps.map_or(KnownStamps::Unknown, |stamps| remember(stamps, start));
        weave.step(match fix.entry {
            Some(entry) => Step::Set(Box::new(same_content(&mut before, entry)?), stamps),
            None => Step::Stamp(fix.path, KnownStamps::Fresh),
        })?;
    }
    weave.finish(&inner)
}

/// A content that was sent again is the one that the manifest had, if the source did not change meanwhile.
fn same_content(before: &mut CacheReader, mut entry: Entry) -> Result<Entry> {
    while let Some(known) = before.peek()? {
        if known.path.as_slice() < entry.path.as_bytes() {
            before.advance();
            continue;
        }
        let old = if known.path == entry.path.as_bytes() { known.entry()?.content } else { None };
        if let (Some(content), Some(old)) = (&mut entry.content, old)
            && content.hash == old.hash
        {
            content.since = old.since;
        }
        break;
    }
    Ok(entry)
}
