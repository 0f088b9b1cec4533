//! Merges the changes of a repair into the manifest.
//!
//! Owns the entries of repaired files. A content that was sent again keeps its `since`, because it is the same content.
//! Its tag, its version and the metadata of its file are new. Pages that cannot be read at the destination are written
//! again from this machine's copy.

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

/// All changes in order of their paths: the planned ones, and the files that `journal` says were sent.
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

/// Merges changes into the newest manifest. `cache` is the name of the local file for the new cache. Pages in the
/// `damaged` objects are written again. Blocks.
pub fn merge(
    destination: &Destination,
    mut fixes: Sorted<Fix>,
    damaged: Vec<Hash>,
    start: Option<Time>,
    cache: &str,
) -> Result<MergedManifest> {
    let inner: Vec<PageRef> = destination.head.as_ref().map_or_else(Vec::new, |h| h.inner.clone());
    let inner: Vec<PageRef> = inner.into_iter().filter(|page| page.object.is_none_or(|o| !damaged.contains(&o))).collect();
    let mut before = destination.base()?;
    let mut merge = ManifestMerge::start(
        destination.base()?,
        &destination.local(cache),
        (&destination.local("pack"), destination.records.naming_key()),
        damaged,
    )?;
    while let Some(fix) = fixes.next_sorted()? {
        let stamps = fix.stamps.map_or(KnownStamps::Unknown, |stamps| remember(stamps, start));
        merge.step(match fix.entry {
            Some(entry) => Step::Set(Box::new(same_content(&mut before, entry)?), stamps),
            None => Step::Stamp(fix.path, KnownStamps::Fresh),
        })?;
    }
    merge.finish(&inner)
}

/// Gives the content the `since` of the old entry if both have one hash. The hashes differ if the file changed before
/// it was sent. Callers must ask with ascending paths.
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
