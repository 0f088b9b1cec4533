//! The pages that one run writes, as one object.
//!
//! Owns `.offsite/pages/<blake3>.jsonl.zst`: one zstd frame for each page, leaves first, then the pages of references,
//! the top page last. It is assembled in a local file, so memory does not grow with the manifest. References into the
//! same object omit its name, because the name is the hash of the whole.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::chunker::{Chunker, PageChunk};
use crate::error::{Error, Result};
use crate::model::{Hash, PageRef, bounds};
use crate::seal::Padding;
use crate::spool::private_file;

const ZSTD_LEVEL: i32 = 3;
/// Begins a frame that holds no data (RFC 8878, section 3.1.2).
const SKIPPABLE: u32 = 0x184d_2a50;

/// A page object that is being written.
pub struct PageObjectWriter {
    out: BufWriter<File>,
    path: PathBuf,
    hasher: blake3::Hasher,
    length: u64,
    /// The object is sealed: its name is a keyed hash, and its length is padded.
    sealed: bool,
}

/// A finished page object.
#[derive(Debug)]
pub struct PageObject {
    /// Top page, with the name of its object. None for a manifest without entries.
    pub root: Option<PageRef>,
    /// All pages of references of this manifest, with the names of their objects.
    pub inner: Vec<PageRef>,
    /// Name of the new object. None if the destination has every page already.
    pub object: Option<Hash>,
    /// The local file that holds the object.
    pub file: PathBuf,
    /// Length of the file in bytes.
    pub length: u64,
}

impl PageObjectWriter {
    /// Creates a private file at `path`, or truncates the one that is there. `naming` is the key of the hash that names
    /// the object, if it is sealed.
    ///
    /// # Errors
    /// [`Error::Local`] if the file cannot be created, for example because `path` is a symlink.
    pub fn create(path: &Path, naming: Option<[u8; 32]>) -> Result<Self> {
        let file = private_file().write(true).create(true).truncate(true).open(path).map_err(|e| Error::cache(path, e))?;
        Ok(Self {
            out: BufWriter::with_capacity(1 << 16, file),
            path: path.into(),
            hasher: naming.map_or_else(blake3::Hasher::new, |key| blake3::Hasher::new_keyed(&key)),
            length: 0,
            sealed: naming.is_some(),
        })
    }

    /// Adds a page. Its reference names no object, because the object has no name before [`Self::finish`].
    ///
    /// # Errors
    /// The page or the object exceeds the bounds of the format.
    pub fn add(&mut self, page: &PageChunk, level: u8) -> Result<PageRef> {
        let fail = |e| Error::cache(&self.path, e);
        let frame = zstd::bulk::compress(&page.raw, ZSTD_LEVEL).map_err(fail)?;
        if page.raw.len().max(frame.len()) as u64 > bounds::PAGE || self.length > bounds::OBJECT || level > bounds::LEVEL {
            return Err(fail(std::io::Error::other("the manifest would have a page that no reader accepts; nothing was committed")));
        }
        self.hasher.update(&frame);
        self.out.write_all(&frame).map_err(fail)?;
        let offset = self.length;
        self.length += frame.len() as u64;
        Ok(PageRef {
            object: None,
            offset,
            length: frame.len() as u64,
            raw: page.raw.len() as u64,
            hash: Hash::of(&page.raw),
            level,
            first: page.first.clone(),
            entries: page.entries,
            bytes: page.bytes,
        })
    }

    /// Begins the object with the number of its snapshot, in a frame that zstd readers skip. So no two snapshots make
    /// the same object.
    ///
    /// # Errors
    /// [`Error::Local`] if the file cannot be written.
    pub fn mark(&mut self, number: u64) -> Result<()> {
        let mut mark = [0; 16];
        mark[..4].copy_from_slice(&SKIPPABLE.to_le_bytes());
        mark[4..8].copy_from_slice(&8u32.to_le_bytes());
        mark[8..].copy_from_slice(&number.to_le_bytes());
        self.hasher.update(&mark);
        self.out.write_all(&mark).map_err(|e| Error::cache(&self.path, e))?;
        self.length += mark.len() as u64;
        Ok(())
    }

    /// Adds the pages of references over these leaves and ends the object. `known` are the pages of references of the
    /// previous manifest: a page that equals one of them is not written again.
    ///
    /// # Errors
    /// [`Error::Local`] if the file cannot be written, or if the manifest exceeds the bounds of the format.
    pub fn finish(mut self, leaves: Vec<PageRef>, known: &[PageRef]) -> Result<PageObject> {
        if leaves.len() > bounds::PAGES {
            let what = format!("the manifest would have {} pages, the maximum is {}; nothing was committed", leaves.len(), bounds::PAGES);
            return Err(Error::cache(&self.path, std::io::Error::other(what)));
        }
        let known: HashMap<(Hash, Hash), &PageRef> = known.iter().filter_map(|page| Some(((page.hash, page.object?), page))).collect();
        let mut inner = Vec::new();
        let mut refs = leaves;
        let mut level = 1;
        while refs.len() > 1 {
            refs = self.add_level(refs, level, &known)?;
            inner.extend(refs.iter().cloned());
            level += 1;
        }
        if self.sealed && self.length > 0 {
            let padding = Padding::Sizes.frame(self.length);
            self.hasher.update(&padding);
            self.out.write_all(&padding).map_err(|e| Error::cache(&self.path, e))?;
            self.length += padding.len() as u64;
        }
        self.out.flush().map_err(|e| Error::cache(&self.path, e))?;
        let object = (self.length > 0).then(|| Hash(*self.hasher.finalize().as_bytes()));
        let name = |mut page: PageRef| {
            page.object = page.object.or(object);
            page
        };
        Ok(PageObject {
            root: refs.pop().map(name),
            inner: inner.into_iter().map(name).collect(),
            object,
            file: self.path,
            length: self.length,
        })
    }

    fn add_level(&mut self, refs: Vec<PageRef>, level: u8, known: &HashMap<(Hash, Hash), &PageRef>) -> Result<Vec<PageRef>> {
        let mut out = Vec::new();
        let mut cutter = Chunker::default();
        let mut children = Vec::new();
        for page in refs {
            let cut = cutter.push(&page, &page.first, page.entries, page.bytes).map_err(|e| Error::cache(&self.path, e))?;
            children.push(page);
            if let Some(full) = cut {
                out.push(self.inner_page(full, std::mem::take(&mut children), level, known)?);
            }
        }
        if let Some(last) = cutter.finish() {
            out.push(self.inner_page(last, children, level, known)?);
        }
        Ok(out)
    }

    /// One page of references. It is an old one if the old one names the same pages, relative to its own object.
    fn inner_page(
        &mut self,
        page: PageChunk,
        children: Vec<PageRef>,
        level: u8,
        known: &HashMap<(Hash, Hash), &PageRef>,
    ) -> Result<PageRef> {
        let objects: BTreeSet<Hash> = children.iter().filter_map(|c| c.object).collect();
        if children.iter().all(|c| c.object.is_some()) {
            for home in objects {
                let mut raw = Vec::with_capacity(page.raw.len());
                for child in &children {
                    let mut seen = child.clone();
                    seen.object = seen.object.filter(|o| *o != home);
                    serde_json::to_writer(&mut raw, &seen).map_err(|e| Error::cache(&self.path, e.into()))?;
                    raw.push(b'\n');
                }
                if let Some(old) = known.get(&(Hash::of(&raw), home)) {
                    return Ok((*old).clone());
                }
            }
        }
        self.add(&page, level)
    }
}
