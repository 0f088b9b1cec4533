//! Which blocks of a large file the destination has already, so that only changed blocks are sent.
//!
//! Owns the hashes of the blocks of large contents that this machine has sent: one small local file for each, named by
//! the hash of the whole. A block is a part of an upload. Without that file, which is a cache, the content is sent
//! whole once. Invariant: the blocks of a content are noted only after the destination has the whole content.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::cache::CacheReader;
use crate::error::Result;
use crate::model::Hash;
use crate::spool::{cache_error, private_dir, private_file};

/// Files below this length (bytes) are sent whole: their hashes would cost more files than they save bytes.
const LEAST: u64 = 64 << 20;

/// First bytes of a file; the last is its version.
const MAGIC: &[u8; 8] = b"osblock\x01";
const HEAD: usize = 24;
const HASH: usize = 32;

/// The known blocks at one destination.
#[derive(Debug)]
pub struct KnownBlocks {
    dir: PathBuf,
    /// A large file is no longer under its path, so that [`sweep`](Self::sweep) may find something.
    removed: AtomicBool,
}

impl KnownBlocks {
    /// Over a directory of this destination's cache. It need not exist.
    pub fn of(dir: PathBuf) -> Self {
        Self { dir, removed: AtomicBool::new(false) }
    }

    /// Whether the blocks of a content of this length are worth noting.
    pub fn worth(size: u64) -> bool {
        size >= LEAST
    }

    /// The hashes of a content's blocks, in order. Empty if they are unknown, cut in another length, or unreadable.
    pub fn read(&self, content: Hash, block: u64) -> Vec<Hash> {
        let parse = |file: Vec<u8>| {
            let (head, hashes) = file.split_at_checked(HEAD)?;
            let number = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
            let fits = head.starts_with(MAGIC) && number(8)? == block && number(16)? == (hashes.len() / HASH) as u64;
            let whole = fits && hashes.len() % HASH == 0;
            whole.then(|| hashes.chunks_exact(HASH).filter_map(|hash| Some(Hash(hash.try_into().ok()?))).collect())
        };
        std::fs::read(self.file(content)).ok().and_then(parse).unwrap_or_default()
    }

    /// Notes the blocks of a content that the destination has now.
    ///
    /// # Errors
    /// [`crate::error::Error::Local`] if the cache cannot be written.
    pub fn note(&self, content: Hash, block: u64, hashes: &[Hash]) -> Result<()> {
        private_dir(&self.dir)?;
        let path = self.file(content);
        let unfinished = path.with_extension("new");
        let mut bytes = Vec::with_capacity(HEAD + hashes.len() * HASH);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&block.to_le_bytes());
        bytes.extend_from_slice(&(hashes.len() as u64).to_le_bytes());
        hashes.iter().for_each(|hash| bytes.extend_from_slice(&hash.0));
        let write = || {
            let mut file = private_file().write(true).create(true).truncate(true).open(&unfinished)?;
            file.write_all(&bytes)?;
            std::fs::rename(&unfinished, &path)
        };
        write().map_err(|error| cache_error(&path, error))
    }

    /// Notes that a file of this length was removed or renamed.
    pub fn note_removed(&self, size: u64) {
        self.removed.fetch_or(Self::worth(size), Relaxed);
    }

    /// Forgets every content that the newest manifest does not name, if large files were removed. A rename keeps what is
    /// known, because its content is still named.
    ///
    /// # Errors
    /// [`crate::error::Error::Local`] if the cache cannot be read.
    pub fn sweep(&self, mut newest: CacheReader) -> Result<()> {
        let (true, Ok(files)) = (self.removed.load(Relaxed), std::fs::read_dir(&self.dir)) else { return Ok(()) };
        let mut unnamed: HashSet<OsString> = files.flatten().map(|file| file.file_name()).collect();
        while !unnamed.is_empty()
            && let Some(known) = newest.peek()?
        {
            if Self::worth(known.size())
                && let Some(content) = known.entry()?.content
            {
                unnamed.remove(OsStr::new(&content.hash.to_string()));
            }
            newest.advance();
        }
        for name in unnamed {
            let _ = std::fs::remove_file(self.dir.join(name));
        }
        Ok(())
    }

    /// Forgets a content that was replaced.
    pub fn forget(&self, content: Hash) {
        let _ = std::fs::remove_file(self.file(content));
    }

    fn file(&self, content: Hash) -> PathBuf {
        self.dir.join(content.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_file_of_the_same_block_length_counts() {
        let dir = tempfile::tempdir().unwrap();
        let known = KnownBlocks::of(dir.path().join("blocks"));
        let (content, hashes) = (Hash::of(b"all"), vec![Hash::of(b"a"), Hash::of(b"b")]);
        assert!(known.read(content, 8).is_empty());
        known.note(content, 8, &hashes).unwrap();
        assert_eq!(known.read(content, 8), hashes);
        assert!(known.read(content, 16).is_empty() && known.read(Hash::of(b"other"), 8).is_empty());
        let whole = std::fs::read(known.file(content)).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(known.file(content), &whole[..cut]).unwrap();
            assert!(known.read(content, 8).is_empty(), "{cut} bytes");
        }
        known.note(content, 8, &hashes).unwrap();
        known.forget(content);
        known.forget(content);
        assert!(known.read(content, 8).is_empty());
    }
}
