//! Merges changes into a manifest: makes the new pages and the new cache in one pass over the old cache.
//!
//! Owns the reuse of pages: the new manifest reuses a page that begins where an old page begins and holds no change.
//! Only the references to pages take memory that grows with the manifest. Nothing here talks to a destination.

use std::collections::HashMap;
use std::path::Path;

use super::cache::{CacheReader, CacheWriter, KnownStamps};
use super::chunker::{Chunker, PageChunk};
use super::page_object::{PageObject, PageObjectWriter};
use crate::error::{Error, Result};
use crate::model::{Entry, Hash, Kind, PageRef, RelPath, Totals};

/// The change of one path.
#[derive(Debug)]
pub enum Step {
    /// The path has this entry now, in place of an old one if there is one.
    Set(Box<Entry>, KnownStamps),
    /// The entry stays. Only the stamps change.
    Stamp(RelPath, KnownStamps),
    /// The path has no entry any more.
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

/// The new manifest.
#[derive(Debug)]
pub struct MergedManifest {
    /// Its new page object.
    pub packed: PageObject,
    /// What it holds.
    pub totals: Totals,
    /// The objects that hold its pages, including the new one, each once.
    pub objects: Vec<Hash>,
}

/// The merge of one manifest. Steps come in order of their paths, each path once.
pub struct ManifestMerge {
    base: CacheReader,
    cache: CacheWriter,
    pack: PageObjectWriter,
    cutter: Chunker,
    leaves: Vec<PageRef>,
    totals: Totals,
    /// The base is at the start of a block, and no record of the block was read.
    fresh_block: bool,
    /// Pages in these objects are written again, so that the number of objects stays small.
    retire: Vec<Hash>,
    pack_path: std::path::PathBuf,
    /// Old pages that were merged record by record, by hash.
    opened: HashMap<Hash, PageRef>,
}

impl ManifestMerge {
    /// Starts a merge into `base`. Writes the new cache to `cache` and the new page object to `pack`, which are local
    /// files. The second value of `pack` is the key of the hash that names the object, if it is sealed. `retire` names objects whose pages must be written again.
    ///
    /// # Errors
    /// [`Error::Local`] if `base` cannot be read or a file cannot be created. [`Error::Damaged`] if the first block of
    /// `base` is damaged.
    pub fn start(mut base: CacheReader, cache: &Path, pack: (&Path, Option<[u8; 32]>), retire: Vec<Hash>) -> Result<Self> {
        let fresh_block = base.next_block()?.is_some();
        Ok(Self {
            base,
            cache: CacheWriter::create(cache)?,
            pack: PageObjectWriter::create(pack.0, pack.1)?,
            cutter: Chunker::default(),
            leaves: Vec::new(),
            totals: Totals::default(),
            fresh_block,
            retire,
            pack_path: pack.0.into(),
            opened: HashMap::new(),
        })
    }

    /// Applies the next step. A [`Step::Stamp`] or [`Step::Remove`] of a path without an entry does nothing.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the base is damaged. [`Error::Local`] if a file cannot be read or written, or if the entry
    /// exceeds the bounds of the format.
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

    /// Copies the rest of the base and ends both files. `inner` are the pages of references of the old manifest.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the base is damaged. [`Error::Local`] if a file cannot be read or written, or if the
    /// manifest exceeds the bounds of the format.
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

    /// Copies everything before `path` (the rest, if none).
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

    /// Reuses a whole page if the page ends before `path` and its object is not retired. Returns whether it did.
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

    /// Notes that the current block is merged record by record. Its new page may still equal the old one.
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
