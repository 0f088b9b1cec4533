//! Reading a manifest from a destination: pages fetched in long stretches, checked, in order.
//!
//! Owns the checks: a page is what its reference says (hash, size, count, first path), paths ascend over
//! the whole manifest, and every entry can be one. A damaged page loses the entries on it and no others;
//! the caller decides whether that is an error.

use std::ops::ControlFlow;

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::records::Records;
use crate::error::{Error, Result};
use crate::model::{Entry, Hash, PageRef, RelPath, Snapshot};

/// Largest page that is read, unpacked. A page is at most 256 KiB and one line; a line may carry large xattrs.
const MAX_RAW: u64 = 32 << 20;
/// Largest object of pages, by far.
const MAX_OBJECT: u64 = 1 << 44;
/// Neighbouring pages are fetched together up to so many bytes.
const STRETCH: u64 = 8 << 20;
/// Neighbours may lie so far apart: fetching that much for nothing takes no longer than another request.
const GAP: u64 = 256 << 10;
/// Stretches in flight.
const AHEAD: usize = 2;
const MAX_LEVEL: u8 = 8;

/// A page of entries, checked.
#[derive(Debug)]
pub struct Leaf {
    pub page: PageRef,
    pub entries: Vec<Entry>,
}

/// A stretch of a manifest that cannot be read.
#[derive(Debug)]
pub struct Lost {
    /// First path that is missing.
    pub first: RelPath,
    /// How many entries are.
    pub entries: u64,
    /// The object that the page lies in.
    pub object: Option<Hash>,
    pub error: Error,
}

/// Reads pages of one destination.
#[derive(Clone)]
pub struct PageSource {
    records: Records,
}

impl PageSource {
    pub fn new(records: Records) -> Self {
        Self { records }
    }

    /// References to all pages of entries that may hold a path for which `wanted(first, end)` holds (the
    /// page's paths are at least `first` and below `end`, none for the last), and all inner pages seen.
    pub async fn leaves(
        &self,
        snapshot: &Snapshot,
        wanted: impl Fn(&[u8], Option<&[u8]>) -> bool,
    ) -> Result<(Vec<PageRef>, Vec<PageRef>, Vec<Lost>)> {
        let Some(root) = &snapshot.root else { return Ok(Default::default()) };
        self.check(root)?;
        let (mut inner, mut lost) = (Vec::new(), Vec::new());
        let mut refs = vec![root.clone()];
        while refs.iter().any(|r| r.level > 0) {
            let level = refs.iter().map(|r| r.level).max().unwrap_or(0);
            let (upper, rest): (Vec<_>, Vec<_>) = refs.into_iter().partition(|r| r.level == level);
            let mut next = rest;
            let mut fetched = stream::iter(stretches(upper)).map(|group| self.stretch(group)).buffered(AHEAD);
            while let Some(group) = fetched.next().await {
                for page in group.pages {
                    let raw = self.unpack(&page, &group.body, group.start);
                    match raw.and_then(|raw| self.children(&page, &raw)) {
                        Ok(children) => next.extend(children),
                        Err(error) => lost.push(Lost { first: page.first.clone(), entries: page.entries, object: page.object, error }),
                    }
                    inner.push(page);
                }
            }
            next.sort_by(|a, b| a.first.cmp(&b.first));
            refs = choose(next, &wanted);
        }
        Ok((choose(refs, &wanted), inner, lost))
    }

    /// Reads these pages in order and hands each to `sink` until it has enough.
    pub async fn read(&self, leaves: Vec<PageRef>, mut sink: impl FnMut(Result<Leaf, Lost>) -> Result<ControlFlow<()>>) -> Result<()> {
        let mut last = RelPath::default();
        let mut fetched = stream::iter(stretches(leaves)).map(|group| self.stretch(group)).buffered(AHEAD);
        while let Some(group) = fetched.next().await {
            for page in group.pages {
                // One at a time: a page may be a hundred times what it was packed into.
                let raw = self.unpack(&page, &group.body, group.start);
                let leaf = raw.and_then(|raw| self.entries(&page, &raw, &last));
                let flow = match leaf {
                    Ok(entries) => {
                        if let Some(entry) = entries.last() {
                            last = entry.path.clone();
                        }
                        sink(Ok(Leaf { page, entries }))?
                    }
                    Err(error) => sink(Err(Lost { first: page.first.clone(), entries: page.entries, object: page.object, error }))?,
                };
                if flow.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Bounds what a reference may ask for, before anything is fetched or allocated for it.
    fn check(&self, page: &PageRef) -> Result<()> {
        if page.level > MAX_LEVEL {
            return Err(Error::damaged(self.url(page), "pages nested too deep"));
        }
        if page.raw > MAX_RAW || page.length > MAX_RAW || page.offset > MAX_OBJECT {
            return Err(Error::damaged(self.url(page), "it is said to be larger than a page can be"));
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
        let Some(frame) = frame else { return Err(Error::damaged(self.url(page), "it is cut short")) };
        let raw = zstd::bulk::decompress(frame, page.raw as usize).map_err(|e| Error::damaged(self.url(page), e))?;
        if raw.len() as u64 != page.raw || Hash::of(&raw) != page.hash {
            return Err(Error::damaged(self.url(page), "its hash is not the one it was written with"));
        }
        Ok(raw)
    }

    fn lines<T: serde::de::DeserializeOwned>(&self, page: &PageRef, raw: &[u8]) -> Result<Vec<T>> {
        raw.split_inclusive(|b| *b == b'\n')
            .map(|line| serde_json::from_slice(line).map_err(|e| Error::damaged(self.url(page), e)))
            .collect()
    }

    fn children(&self, page: &PageRef, raw: &[u8]) -> Result<Vec<PageRef>> {
        let mut children: Vec<PageRef> = self.lines(page, raw)?;
        for child in &mut children {
            child.object = child.object.or(page.object);
            if u64::from(child.level) + 1 != u64::from(page.level) {
                return Err(Error::damaged(self.url(page), "it names a page of a wrong level"));
            }
            self.check(child)?;
        }
        Ok(children)
    }

    fn entries(&self, page: &PageRef, raw: &[u8], last: &RelPath) -> Result<Vec<Entry>> {
        let entries: Vec<Entry> = self.lines(page, raw)?;
        let mut last = last;
        for entry in &entries {
            if let Err(what) = entry.check() {
                return Err(Error::damaged(self.url(page), format_args!("{}: {what}", entry.path)));
            }
            if entry.path <= *last {
                return Err(Error::damaged(self.url(page), format_args!("{} is out of order", entry.path)));
            }
            last = &entry.path;
        }
        if entries.len() as u64 != page.entries {
            return Err(Error::damaged(self.url(page), "it has not the number of entries it is said to have"));
        }
        Ok(entries)
    }
}

/// Neighbouring pages, packed as they came.
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
