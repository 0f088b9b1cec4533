//! Weaving changes into a manifest: the new pages, and the new cache, in one pass over the old one.
//!
//! Owns the reuse of pages: one that begins where an old page begins and holds no change is taken over
//! as it is. Memory is flat but for the references to pages. Nothing here talks to a destination.

use std::collections::HashMap;
use std::path::Path;

use super::cache::{CacheReader, CacheWriter, KnownStamps};
use super::chunker::{Chunker, PageChunk};
use super::pack::{Pack, Packed};
use crate::error::{Error, Result};
use crate::model::{Entry, Hash, Kind, PageRef, RelPath, Totals};

/// What becomes of one path.
#[derive(Debug)]
pub enum Step {
    /// It is so now, whether or not there was an entry.
    Set(Box<Entry>, KnownStamps),
    /// Its entry stays; only the stamps are new.
    Stamp(RelPath, KnownStamps),
    Remove(RelPath),
}

impl Step {
    fn path(&self) -> &[u8] {
        match self {
            Self::Set(entry, _) => entry.path.as_bytes(),
            Self::Stamp(path, _) | Self::Remove(path) => path.as_bytes(),
        }
    }
}

/// The result.
#[derive(Debug)]
pub struct MergedManifest {
    pub packed: Packed,
    pub totals: Totals,
    /// Objects that the pages lie in, the new one among them.
    pub objects: Vec<Hash>,
}

/// The weaving of one manifest. Steps come in order of their paths, each path once.
pub struct ManifestMerge {
    base: CacheReader,
    cache: CacheWriter,
    pack: Pack,
    cutter: Chunker,
    leaves: Vec<PageRef>,
    totals: Totals,
    /// Whether the base is at the start of a block that was not opened yet.
    fresh_block: bool,
    /// Pages in these objects are written again, so that the number of objects stays small.
    retire: Vec<Hash>,
    pack_path: std::path::PathBuf,
    /// Old pages that were opened, by hash.
    opened: HashMap<Hash, PageRef>,
}

impl ManifestMerge {
    /// `retire` names objects whose pages must be rewritten.
    pub fn start(mut base: CacheReader, cache: &Path, pack: &Path, retire: Vec<Hash>) -> Result<Self> {
        let fresh_block = base.next_block()?.is_some();
        Ok(Self {
            base,
            cache: CacheWriter::create(cache)?,
            pack: Pack::create(pack)?,
            cutter: Chunker::default(),
            leaves: Vec::new(),
            totals: Totals::default(),
            fresh_block,
            retire,
            pack_path: pack.into(),
            opened: HashMap::new(),
        })
    }

    /// Takes the next step.
    pub fn step(&mut self, step: Step) -> Result<()> {
        self.advance_to(Some(step.path()))?;
        let known = match self.base.peek_in_block()? {
            Some(known) if known.path == step.path() => {
                let entry = known.entry()?;
                self.open_block();
                self.base.advance();
                Some(entry)
            }
            _ => None,
        };
        match step {
            Step::Set(entry, stamps) => self.push(&entry, stamps),
            Step::Remove(_) => Ok(()),
            Step::Stamp(_, stamps) => known.map_or(Ok(()), |entry| self.push(&entry, stamps)),
        }
    }

    /// Takes over what is left and ends. `inner` are the pages of references of the old manifest.
    pub fn finish(mut self, inner: &[PageRef]) -> Result<MergedManifest> {
        self.advance_to(None)?;
        if let Some(page) = std::mem::take(&mut self.cutter).finish() {
            self.end_page(&page, false)?;
        }
        self.cache.finish()?;
        let packed = self.pack.finish(self.leaves.clone(), inner)?;
        let mut objects: Vec<Hash> = self.leaves.iter().chain(&packed.inner).filter_map(|p| p.object).collect();
        objects.extend(packed.object);
        objects.sort();
        objects.dedup();
        Ok(MergedManifest { packed, totals: self.totals, objects })
    }

    /// Takes over everything before `path` (all that is left, if none).
    fn advance_to(&mut self, path: Option<&[u8]>) -> Result<()> {
        loop {
            if self.fresh_block && self.cutter.at_start() && self.take_block_over(path)? {
                continue;
            }
            match self.base.peek_in_block()? {
                Some(known) if path.is_none_or(|p| known.path.as_slice() < p) => {
                    let (entry, stamps) = (known.entry()?, known.stamps());
                    self.open_block();
                    self.base.advance();
                    self.push(&entry, stamps)?;
                }
                Some(_) => return Ok(()),
                None => {
                    self.fresh_block = self.base.next_block()?.is_some();
                    if !self.fresh_block {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Reuses a whole page if it ends before `path` and is not retired. Returns whether it did.
    fn take_block_over(&mut self, path: Option<&[u8]>) -> Result<bool> {
        let Some((head, records)) = self.base.block() else { return Ok(false) };
        let retired = head.page.object.is_none_or(|o| self.retire.contains(&o));
        let ends_before = path.is_none_or(|path| head.cut && head.last.as_bytes() < path);
        if retired || !ends_before {
            return Ok(false);
        }
        self.cache.raw_block(head, records)?;
        self.totals.entries += head.page.entries;
        self.totals.files += head.files;
        self.totals.bytes += head.page.bytes;
        self.leaves.push(head.page.clone());
        self.fresh_block = self.base.next_block()?.is_some();
        Ok(true)
    }

    /// The current block is merged record by record; its page may still be the same.
    fn open_block(&mut self) {
        if std::mem::take(&mut self.fresh_block)
            && let Some((head, _)) = self.base.block()
        {
            self.opened.insert(head.page.hash, head.page.clone());
        }
    }

    fn push(&mut self, entry: &Entry, stamps: KnownStamps) -> Result<()> {
        self.totals.entries += 1;
        self.totals.files += u64::from(entry.kind == Kind::File);
        self.totals.bytes += entry.size;
        self.cache.push(entry, stamps)?;
        match self.cutter.push(entry, &entry.path, 1, entry.size).map_err(|e| Error::cache(&self.pack_path, e))? {
            Some(page) => self.end_page(&page, true),
            None => Ok(()),
        }
    }

    fn end_page(&mut self, page: &PageChunk, cut: bool) -> Result<()> {
        let same = self.opened.get(&Hash::of(&page.raw)).filter(|old| old.object.is_some_and(|o| !self.retire.contains(&o)));
        let page = match same {
            Some(old) => old.clone(),
            None => self.pack.add(page, 0)?,
        };
        self.cache.end_block(&page, cut)?;
        self.leaves.push(page);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
