//! The merge of a listing with what must be at the destination.
//!
//! Owns the handling of listings that are out of order. A listing is merged as it arrives while its keys ascend. At the
//! first key that descends, the rest is sorted on disk and merged with all expectations that are not met yet.
//! Invariant: the merge calls nothing missing. It writes what it did not find to a file, and `confirm.rs` asks for it
//! by name.

use std::path::Path;

use futures::StreamExt;
use futures::stream::BoxStream;
use offsite_backends::{Listed, State};
use serde::{Deserialize, Serialize};

use super::expect::{Expect, Expected};
use super::found::{CheckFindings, Fault};
use super::read::{ReadReason, Reading};
use crate::engine::leftovers::is_own;
use crate::engine::outcome::Flaw;
use crate::error::Result;
use crate::manifest::snapshot_number;
use crate::model::{Hash, RelPath, Time};
use crate::spool::{Reader, Sorted, Sorter, Writer};
use crate::transfer::{Progress, Stop};

/// Seconds by which an mtime must differ to count. Some file systems store times coarsely.
const COARSE: i64 = 2;

/// The properties of a listed object that the merge needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListedObject {
    order: RelPath,
    pub key: RelPath,
    pub size: u64,
    pub etag: Option<String>,
    pub version: Option<String>,
    pub mtime: Time,
    /// It is a version that is not current any more.
    old: bool,
}

impl ListedObject {
    /// `None` for delete markers and unfinished uploads, which hold no content.
    fn new(listed: Listed) -> Option<Self> {
        let old = match listed.state {
            State::Current => false,
            State::Old => true,
            State::Marker | State::Unfinished => return None,
        };
        let version = listed.version.filter(|v| v != "null");
        let mtime = Time { secs: listed.modified.timestamp(), nanos: listed.modified.timestamp_subsec_nanos() };
        let order = [&listed.key[..], b"\0", version.as_deref().unwrap_or_default().as_bytes()].concat();
        let key = RelPath(listed.key);
        Some(Self { order: RelPath(order), key, size: listed.size, etag: listed.etag, version, mtime, old })
    }
}

/// An expectation that was not met, with the object that was found in its place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Suspicious {
    pub expect: Expect,
    pub there: Option<ListedObject>,
}

/// The inputs and outputs of a merge.
pub struct Merge<'a> {
    pub expected: Expected,
    pub found: &'a mut CheckFindings,
    pub reading: &'a mut Reading,
    /// The destination is a file tree, whose mtimes offsite sets.
    pub tree: bool,
    /// The page objects that snapshots name. `None`: the merge reports no foreign objects.
    pub pages: Option<&'a std::collections::HashSet<Hash>>,
    pub stop: &'a Stop,
    pub progress: &'a Progress,
    /// Local files for the expectations that were not found, and for those that are changed.
    pub missed: &'a Path,
    pub changed: &'a Path,
    pub spill: &'a Path,
}

/// Facts about the listing.
#[derive(Debug, Default)]
pub struct MergeTotals {
    pub listed: u64,
    pub contents: u64,
    pub bytes: u64,
    /// The listing was out of order, so its rest was sorted.
    pub sorted: bool,
    /// The lease was listed.
    pub lease: bool,
}

/// The expectations of one key, and its current object.
struct KeyGroup {
    key: RelPath,
    expects: Vec<Expect>,
    current: Option<ListedObject>,
}

impl Merge<'_> {
    /// Merges the listing. When this returns, the files `missed` and `changed` are complete.
    pub async fn run(mut self, mut listing: BoxStream<'static, offsite_backends::Result<Listed>>) -> Result<MergeTotals> {
        let mut seen = MergeTotals::default();
        let mut changed = Writer::create(self.changed)?;
        let mut out = MergeOutput { missed: Writer::create(self.missed)?, changed: &mut changed };
        let mut group: Option<KeyGroup> = None;
        let mut late = None;
        while let Some(listed) = listing.next().await {
            let Some(there) = self.listed(listed?, &mut seen)? else { continue };
            if group.as_ref().is_some_and(|g| there.key < g.key) {
                late = Some(there);
                break;
            }
            self.meet(there, &mut group, &mut out, &mut seen)?;
        }
        if let Some(group) = group.take() {
            self.close(group, &mut out)?;
        }
        if let Some(there) = late {
            seen.sorted = true;
            let sorted = self.sorted(there, listing, &mut seen).await?;
            self.second(sorted, &mut out, &mut seen)?;
        }
        self.catch_up(None, &mut out, &mut seen)?;
        out.missed.flush()?;
        changed.flush()?;
        Ok(seen)
    }

    fn listed(&self, listed: Listed, seen: &mut MergeTotals) -> Result<Option<ListedObject>> {
        seen.listed += 1;
        if seen.listed.is_multiple_of(1024) {
            self.stop.check()?;
            self.progress.scanned.store(seen.listed, std::sync::atomic::Ordering::Relaxed);
        }
        Ok(ListedObject::new(listed))
    }

    /// Sorts the rest of a listing that is out of order, from `first` on.
    async fn sorted(
        &self,
        first: ListedObject,
        mut listing: BoxStream<'static, offsite_backends::Result<Listed>>,
        seen: &mut MergeTotals,
    ) -> Result<Sorted<ListedObject>> {
        let mut sorter = Sorter::new(self.spill, |t: &ListedObject| t.order.as_bytes());
        sorter.push(&first)?;
        while let Some(listed) = listing.next().await {
            if let Some(there) = self.listed(listed?, seen)? {
                sorter.push(&there)?;
            }
        }
        sorter.finish()
    }

    /// Merges the sorted rest with the expectations that were not found, and with those that were not compared yet.
    fn second(&mut self, mut sorted: Sorted<ListedObject>, out: &mut MergeOutput<'_>, seen: &mut MergeTotals) -> Result<()> {
        out.missed.flush()?;
        let earlier = self.missed.with_extension("earlier");
        std::fs::rename(self.missed, &earlier).map_err(|e| crate::error::Error::cache(self.missed, e))?;
        out.missed = Writer::create(self.missed)?;
        self.expected.look_again(Reader::open(&earlier)?)?;
        let mut group = None;
        while let Some(there) = sorted.next_sorted()? {
            self.meet(there, &mut group, out, seen)?;
        }
        group.map_or(Ok(()), |group| self.close(group, out))
    }

    /// Takes the next listed object.
    fn meet(&mut self, there: ListedObject, group: &mut Option<KeyGroup>, out: &mut MergeOutput<'_>, seen: &mut MergeTotals) -> Result<()> {
        if group.as_ref().is_none_or(|g| g.key != there.key) {
            if let Some(done) = group.take() {
                self.close(done, out)?;
            }
            self.catch_up(Some(&there.key), out, seen)?;
            let here = self.expected.peek() == Some(&there.key);
            let mut expects = if here { self.take(seen)? } else { Vec::new() };
            if expects.is_empty() && !there.old {
                self.unexpected(&there, seen);
            }
            expects.retain(|expect| !expect.left);
            *group = Some(KeyGroup { key: there.key.clone(), expects, current: None });
        }
        let Some(group) = group else { return Ok(()) };
        let met = group.expects.iter().position(|e| e.old.is_some() && e.version().is_some() && e.version() == there.version.as_deref());
        if let Some(index) = met {
            let expect = group.expects.swap_remove(index);
            self.compare(expect, there.clone(), out)?;
        }
        if !there.old {
            group.current = Some(there);
        }
        Ok(())
    }

    /// Writes all expectations before `key` to `missed`. Without a key, all that are left.
    fn catch_up(&mut self, key: Option<&RelPath>, out: &mut MergeOutput<'_>, seen: &mut MergeTotals) -> Result<()> {
        while self.expected.peek().is_some_and(|next| key.is_none_or(|key| next < key)) {
            for expect in self.take(seen)? {
                out.missed.push(&expect)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, seen: &mut MergeTotals) -> Result<Vec<Expect>> {
        // The second pass takes expectations again that the first did not find. They are counted already.
        let again = self.expected.is_again();
        let taken = self.expected.take()?;
        if !again {
            let contents = || taken.iter().filter(|expect| !expect.left);
            seen.contents += contents().count() as u64;
            // Manifests state these sizes, and a wrong one can make the sum overflow.
            seen.bytes = contents().fold(seen.bytes, |sum, e| sum.saturating_add(e.entry.size));
        }
        Ok(taken)
    }

    /// Ends a key: compares the expectations that are left with its current object.
    fn close(&mut self, group: KeyGroup, out: &mut MergeOutput<'_>) -> Result<()> {
        for expect in group.expects {
            match &group.current {
                // A version that an older snapshot needs was compared in `meet`, if it was listed.
                Some(there) if expect.old.is_none() || expect.version().is_none() => self.compare(expect, there.clone(), out)?,
                _ => out.missed.push(&expect)?,
            }
        }
        Ok(())
    }

    fn compare(&mut self, expect: Expect, there: ListedObject, out: &mut MergeOutput<'_>) -> Result<()> {
        if difference(&expect, &there).is_some() {
            return out.changed.push(&Suspicious { expect, there: Some(there) });
        }
        let touched = self.tree && expect.old.is_none() && (there.mtime.secs - expect.entry.mtime.secs).abs() >= COARSE;
        if !touched {
            return self.reading.sample(expect);
        }
        if self.reading.add(expect.clone(), ReadReason::Touched)? {
            return Ok(());
        }
        let fault = Fault::new(Flaw::Changed, "its time differs; too many such files to read them all");
        self.found.content(expect, fault)
    }

    /// Judges a current object whose key no expectation has: offsite's own object, or a foreign one.
    fn unexpected(&mut self, there: &ListedObject, seen: &mut MergeTotals) {
        let key = there.key.as_bytes();
        seen.lease |= key == b".offsite/lease.json";
        let Some(pages) = self.pages else { return };
        let own = match key.strip_prefix(b".offsite/") {
            None => false,
            Some(_) if is_own(key) => return,
            Some(b"format.json" | b"lease.json" | b"check.json" | b"run.json") => return,
            Some(rest) if rest.starts_with(b"keys/") => return,
            Some(b"snapshots/times.json") => return,
            // A snapshot that a sync committed during the check is not a stray.
            Some(rest) if rest.strip_prefix(b"snapshots/").and_then(|n| snapshot_number(str::from_utf8(n).ok()?)).is_some() => return,
            Some(rest) => {
                let page = rest.strip_prefix(b"pages/").and_then(|n| n.strip_suffix(b".jsonl.zst"));
                let hash = page.and_then(|name| blake3::Hash::from_hex(name).ok()).map(|h| Hash(*h.as_bytes()));
                if hash.is_some_and(|h| pages.contains(&h)) {
                    return;
                }
                [&b"pages/"[..], b"packs/", b"kept/", b"odd/", b"probe/", b"tmp/"].iter().any(|own| rest.starts_with(own))
            }
        };
        self.found.foreign(&there.key, there.size, own);
    }
}

struct MergeOutput<'a> {
    missed: Writer<Expect>,
    changed: &'a mut Writer<Suspicious>,
}

/// How an object differs from what must be there. `None` if it does not.
pub fn difference(expect: &Expect, there: &ListedObject) -> Option<String> {
    if let Some(wrong) = expect.wrong_size(there.size) {
        return Some(wrong);
    }
    if let (Some(want), Some(is)) = (expect.version(), there.version.as_deref())
        && want != is
    {
        return Some(format!("it is version {is}, not {want}"));
    }
    if let (Some(want), Some(is)) = (expect.etag(), there.etag.as_deref())
        && want != is
    {
        return Some(format!("its tag is {is}, not {want}: another program wrote it"));
    }
    None
}
