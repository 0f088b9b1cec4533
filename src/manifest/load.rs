//! Reads a manifest from a destination: fetches pages in long stretches and checks them, in order.
//!
//! Owns the checks: a page is what its reference says (hash, size, first path, entries, bytes). Pages and paths ascend
//! over the whole manifest, so no page occurs twice, and every entry is valid. A damaged page loses its own entries and
//! no others; the caller decides whether that is an error.
//! Invariant: the memory for a manifest is bounded, even if its author is hostile.

use std::fmt;
use std::ops::ControlFlow;

use bytes::Bytes;
use futures::{StreamExt, stream};
use serde::de::DeserializeOwned;

use super::records::Records;
use crate::error::{Error, Result};
use crate::model::{Entry, Hash, PageRef, RelPath, Snapshot, Trouble, bounds};

/// One request fetches neighbouring pages of at most this many bytes.
const STRETCH: u64 = 8 << 20;
/// Maximum gap between neighbours, in bytes. To fetch that much for nothing takes no longer than another request.
const GAP: u64 = 256 << 10;
/// Stretches in flight.
const AHEAD: usize = 2;
/// Maximum size of the references of one manifest in memory, in bytes.
const HELD: usize = 96 << 20;
/// Size of a reference without its path, in bytes.
const WEIGHT: usize = 192;
/// Maximum number of lost stretches in a list. The last one counts the entries of all that follow it.
const LOST: usize = 1_000;

/// A page of entries, checked.
#[derive(Debug)]
pub struct Leaf {
    /// Its reference.
    pub page: PageRef,
    /// Its entries in order of their paths.
    pub entries: Vec<Entry>,
}

/// A stretch of a manifest that cannot be read.
#[derive(Debug)]
pub struct Lost {
    /// First path that is missing.
    pub first: RelPath,
    /// Number of entries that are missing.
    pub entries: u64,
    /// The object that holds the page.
    pub object: Option<Hash>,
    /// Why the stretch cannot be read.
    pub error: Error,
}

impl Lost {
    fn new(page: &PageRef, error: Error) -> Self {
        Self { first: page.first.clone(), entries: page.entries, object: page.object, error }
    }

    /// Adds this one to `lost`. If `lost` is full, its last element counts the entries of this one too.
    pub fn add_to(self, lost: &mut Vec<Self>) {
        let full = lost.len() >= LOST;
        match lost.last_mut() {
            Some(last) if full => last.entries = last.entries.saturating_add(self.entries),
            _ => lost.push(self),
        }
    }
}

/// Reads the pages of one destination.
#[derive(Clone)]
pub struct PageSource {
    records: Records,
}

impl PageSource {
    /// The pages of the destination that has these records.
    pub fn new(records: Records) -> Self {
        Self { records }
    }

    /// References to the pages of entries for which `wanted(first, end)` holds, references to all inner pages that were
    /// read, and the stretches that cannot be read. The paths of a page are at least `first` and below `end`; the last
    /// page has no `end`.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the manifest exceeds its bounds.
    pub async fn leaves(
        &self,
        snapshot: &Snapshot,
        wanted: impl Fn(&[u8], Option<&[u8]>) -> bool,
    ) -> Result<(Vec<PageRef>, Vec<PageRef>, Vec<Lost>)> {
        let Some(root) = &snapshot.root else { return Ok(Default::default()) };
        if root.entries > snapshot.totals.entries || root.bytes > snapshot.totals.bytes {
            return Err(Error::damaged(self.url(root), "it claims to hold more than the whole snapshot"));
        }
        self.below(root, wanted).await
    }

    /// [`Self::leaves`] for the pages below any top page.
    async fn below(
        &self,
        root: &PageRef,
        wanted: impl Fn(&[u8], Option<&[u8]>) -> bool,
    ) -> Result<(Vec<PageRef>, Vec<PageRef>, Vec<Lost>)> {
        self.check(root)?;
        let (mut inner, mut lost, mut held) = (Vec::new(), Vec::new(), 0);
        let mut refs = vec![root.clone()];
        while refs.first().is_some_and(|r| r.level > 0) {
            let mut next: Vec<PageRef> = Vec::new();
            let groups = stretches(refs);
            let mut ends = ends(&groups).into_iter();
            let mut fetched = stream::iter(groups).map(|group| self.stretch(group)).buffered(AHEAD);
            while let Some(group) = fetched.next().await {
                for page in group.pages {
                    let end = ends.next().flatten();
                    let raw = self.unpack(&page, &group.body, group.start);
                    match raw.and_then(|raw| self.children(&page, end.as_ref(), &raw)) {
                        Ok(children) => {
                            held += children.iter().map(|c| c.first.as_bytes().len() + WEIGHT).sum::<usize>();
                            next.extend(children);
                        }
                        Err(error) => Lost::new(&page, error).add_to(&mut lost),
                    }
                    if held > HELD || next.len() > bounds::PAGES {
                        return Err(Error::damaged(self.url(root), "it has more pages than a manifest can have"));
                    }
                    inner.push(page);
                }
            }
            refs = choose(next, &wanted);
        }
        Ok((choose(refs, &wanted), inner, lost))
    }

    /// Reads these pages in order and hands each to `sink` until `sink` breaks.
    ///
    /// # Errors
    /// Only those of `sink`, which also gets each page that cannot be read, as a [`Lost`].
    pub async fn read(&self, leaves: Vec<PageRef>, mut sink: impl FnMut(Result<Leaf, Lost>) -> Result<ControlFlow<()>>) -> Result<()> {
        let mut last = RelPath::default();
        let groups = stretches(leaves);
        let mut ends = ends(&groups).into_iter();
        let mut fetched = stream::iter(groups).map(|group| self.stretch(group)).buffered(AHEAD);
        while let Some(group) = fetched.next().await {
            for page in group.pages {
                let end = ends.next().flatten();
                // One page at a time, because a page can be a hundred times as large as its frame.
                let raw = self.unpack(&page, &group.body, group.start);
                let leaf = raw.and_then(|raw| self.entries(&page, &raw, &last, end.as_ref()));
                let flow = match leaf {
                    Ok(entries) => {
                        if let Some(entry) = entries.last() {
                            last = entry.path.clone();
                        }
                        sink(Ok(Leaf { page, entries }))?
                    }
                    Err(error) => sink(Err(Lost::new(&page, error)))?,
                };
                if flow.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Hands the complete list of unreadable and unstable paths of a snapshot to `sink`, in order. The list is empty if
    /// the snapshot itself names all of them.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Store`] if a page of the list cannot be read. `sink` may have some of the paths
    /// by then. The sink's own errors.
    pub async fn troubles(&self, snapshot: &Snapshot, mut sink: impl FnMut(Trouble) -> Result<()>) -> Result<()> {
        let Some(root) = &snapshot.troubles else { return Ok(()) };
        let (leaves, _, mut lost) = self.below(root, |_, _| true).await?;
        if !lost.is_empty() {
            return Err(lost.swap_remove(0).error);
        }
        let mut fetched = stream::iter(stretches(leaves)).map(|group| self.stretch(group)).buffered(AHEAD);
        while let Some(group) = fetched.next().await {
            for page in &group.pages {
                let raw = self.unpack(page, &group.body, group.start)?;
                for trouble in self.lines(page, &raw)? {
                    sink(trouble)?;
                }
            }
        }
        Ok(())
    }

    /// Checks the bounds of a reference before anything is fetched or allocated for it.
    fn check(&self, page: &PageRef) -> Result<()> {
        if page.level > bounds::LEVEL {
            return Err(Error::damaged(self.url(page), "pages nested too deep"));
        }
        if page.raw > bounds::PAGE || page.length > bounds::PAGE || page.offset > bounds::OBJECT {
            return Err(Error::damaged(self.url(page), "it claims to be larger than a page can be"));
        }
        Ok(())
    }

    fn url(&self, page: &PageRef) -> String {
        page.object.map_or_else(|| "a page".into(), |o| format!("{} (page at {})", self.records.pages_url(&o), page.offset))
    }

    /// Fetches neighbouring pages with one request.
    async fn stretch(&self, pages: Vec<PageRef>) -> Stretch {
        let (object, start) = pages.first().map_or((None, 0), |first| (first.object, first.offset));
        let end = pages.last().map_or(start, |last| last.offset + last.length);
        let body = match object {
            Some(object) => self.records.page_bytes(&object, start..end).await,
            None => Err(Error::damaged("a page", "no object is named for it")),
        };
        Stretch { pages, body, start }
    }

    fn unpack(&self, page: &PageRef, body: &Result<Bytes>, start: u64) -> Result<Vec<u8>> {
        let body = match body {
            Ok(body) => body,
            Err(Error::Store(error)) => return Err(Error::Store(error.clone())),
            Err(error) => return Err(Error::damaged(self.url(page), error)),
        };
        let from = usize::try_from(page.offset - start).unwrap_or(usize::MAX);
        let frame = from.checked_add(page.length as usize).and_then(|to| body.get(from..to));
        let Some(frame) = frame else { return Err(Error::damaged(self.url(page), "it is truncated")) };
        let raw = zstd::bulk::decompress(frame, page.raw as usize).map_err(|e| Error::damaged(self.url(page), e))?;
        if raw.len() as u64 != page.raw || Hash::of(&raw) != page.hash {
            return Err(Error::damaged(self.url(page), "its hash differs"));
        }
        Ok(raw)
    }

    fn lines<T: DeserializeOwned>(&self, page: &PageRef, raw: &[u8]) -> Result<Vec<T>> {
        let mut lines = Vec::new();
        for line in raw.split_inclusive(|b| *b == b'\n') {
            if lines.len() as u64 == bounds::LINES {
                return Err(Error::damaged(self.url(page), "it has more lines than a page can have"));
            }
            lines.push(serde_json::from_slice(line).map_err(|e| Error::damaged(self.url(page), e))?);
        }
        Ok(lines)
    }

    /// The pages that a page names. They are strictly in order, from its own first path on and before `end`. Together
    /// they hold what its reference says.
    fn children(&self, page: &PageRef, end: Option<&RelPath>, raw: &[u8]) -> Result<Vec<PageRef>> {
        let bad = |what: &str| Error::damaged(self.url(page), what);
        let mut children: Vec<PageRef> = self.lines(page, raw)?;
        let (mut before, mut entries, mut bytes): (Option<&RelPath>, u64, u64) = (None, 0, 0);
        for child in &mut children {
            child.object = child.object.or(page.object);
            if u64::from(child.level) + 1 != u64::from(page.level) {
                return Err(bad("it names a page of a wrong level"));
            }
            self.check(child)?;
            let follows = before.map_or(child.first == page.first, |before| *before < child.first);
            if !follows || end.is_some_and(|end| child.first >= *end) {
                return Err(bad("the pages it names are out of order"));
            }
            let sums = entries.checked_add(child.entries).zip(bytes.checked_add(child.bytes)).filter(|_| child.entries > 0);
            (entries, bytes) = sums.ok_or_else(|| bad("a page it names cannot hold what it claims"))?;
            before = Some(&child.first);
        }
        if (entries, bytes) != (page.entries, page.bytes) {
            return Err(bad("the pages it names do not hold what it claims"));
        }
        Ok(children)
    }

    fn entries(&self, page: &PageRef, raw: &[u8], last: &RelPath, end: Option<&RelPath>) -> Result<Vec<Entry>> {
        let bad = |what: fmt::Arguments<'_>| Error::damaged(self.url(page), what);
        let entries: Vec<Entry> = self.lines(page, raw)?;
        if entries.first().is_none_or(|entry| entry.path != page.first) {
            return Err(bad(format_args!("it does not begin with {}", page.first)));
        }
        let (mut last, mut bytes) = (last, Some(0u64));
        for entry in &entries {
            if let Err(what) = entry.check() {
                return Err(bad(format_args!("{}: {what}", entry.path)));
            }
            if entry.path <= *last || end.is_some_and(|end| entry.path >= *end) {
                return Err(bad(format_args!("{} is out of order", entry.path)));
            }
            last = &entry.path;
            bytes = bytes.and_then(|sum| sum.checked_add(entry.size));
        }
        if (entries.len() as u64, bytes) != (page.entries, Some(page.bytes)) {
            return Err(bad(format_args!("it does not hold the entries and bytes that it claims")));
        }
        Ok(entries)
    }
}

/// Neighbouring pages, still packed.
struct Stretch {
    pages: Vec<PageRef>,
    body: Result<Bytes>,
    /// Where the body begins in its object.
    start: u64,
}

fn choose(refs: Vec<PageRef>, wanted: &impl Fn(&[u8], Option<&[u8]>) -> bool) -> Vec<PageRef> {
    let ends: Vec<Option<RelPath>> = refs.iter().skip(1).map(|r| Some(r.first.clone())).chain([None]).collect();
    let chosen = refs.into_iter().zip(ends).filter(|(page, end)| wanted(page.first.as_bytes(), end.as_ref().map(RelPath::as_bytes)));
    chosen.map(|(page, _)| page).collect()
}

/// For each page of these groups, the first path of the next one.
fn ends(groups: &[Vec<PageRef>]) -> Vec<Option<RelPath>> {
    groups.iter().flatten().skip(1).map(|page| Some(page.first.clone())).chain([None]).collect()
}

/// Groups pages that lie close after one another in one object.
fn stretches(refs: Vec<PageRef>) -> Vec<Vec<PageRef>> {
    let mut out: Vec<Vec<PageRef>> = Vec::new();
    for page in refs {
        let fits = out.last().and_then(|g| Some((g.first()?, g.last()?))).is_some_and(|(first, last)| {
            last.object == page.object
                && page.offset.checked_sub(last.offset + last.length).is_some_and(|gap| gap <= GAP)
                && page.offset + page.length - first.offset <= STRETCH
        });
        match out.last_mut() {
            Some(group) if fits => group.push(page),
            _ => out.push(vec![page]),
        }
    }
    out
}
