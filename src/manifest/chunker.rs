//! Where a manifest is cut into pages.
//!
//! Owns the rule: after the line that makes a page reach 64 KiB, a page ends after the first line whose
//! path's BLAKE3 begins with a zero byte, and in any case once it has reached 256 KiB. The rule looks at
//! nothing before the page, so it cuts an unchanged stretch of a tree the same way in every snapshot.

use std::io;

use serde::Serialize;

use crate::model::{Hash, RelPath, bounds};

/// Minimum length of a page in bytes, unpacked. Only the last page of a level is shorter.
pub const MIN: usize = 64 << 10;
/// A page ends at the latest after the line that makes it this long.
pub const MAX: usize = 256 << 10;

/// A finished page.
#[derive(Debug)]
pub struct PageChunk {
    /// JSON lines.
    pub raw: Vec<u8>,
    /// First path on it or below it.
    pub first: RelPath,
    /// Number of entries on it or below it.
    pub entries: u64,
    /// Bytes of content of these entries.
    pub bytes: u64,
}

/// Takes lines in order and says when a page is full.
#[derive(Debug, Default)]
pub struct Chunker {
    raw: Vec<u8>,
    first: RelPath,
    entries: u64,
    bytes: u64,
}

impl Chunker {
    /// Whether the next line begins a page.
    pub fn at_start(&self) -> bool {
        self.raw.is_empty()
    }

    /// Adds a line for `path` that represents this many entries and bytes. Returns a page if the line ends it.
    ///
    /// # Errors
    /// The line is longer than a manifest allows.
    pub fn push(&mut self, line: &impl Serialize, path: &RelPath, entries: u64, bytes: u64) -> io::Result<Option<PageChunk>> {
        if self.raw.is_empty() {
            self.first = path.clone();
        }
        let before = self.raw.len();
        serde_json::to_writer(&mut self.raw, line)?;
        self.raw.push(b'\n');
        if self.raw.len() - before > bounds::LINE {
            return Err(io::Error::other(format!("{path} has more attributes than a manifest can hold")));
        }
        self.entries += entries;
        self.bytes += bytes;
        let full = self.raw.len() >= MAX || self.raw.len() >= MIN && Hash::of(path.as_bytes()).0[0] == 0;
        Ok(full.then(|| self.take()))
    }

    /// The last page. None if no lines are left.
    pub fn finish(mut self) -> Option<PageChunk> {
        (!self.raw.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> PageChunk {
        let done = std::mem::take(self);
        PageChunk { raw: done.raw, first: done.first, entries: done.entries, bytes: done.bytes }
    }
}
