//! The twins of a manifest: names that some disks take for one.
//!
//! Owns the search. A manifest is sorted by the bytes of its paths, so the names of one fold are not neighbours in it.
//! Memory holds the twins only, as hashes.

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::manifest::CacheReader;
use crate::model::{Hash, RelPath, fold_hash};
use crate::spool::Sorter;

/// A path with the fold of its name.
#[derive(Serialize, Deserialize)]
struct FoldedPath {
    order: RelPath,
    path: RelPath,
}

/// Paths that have a twin in their directory.
#[derive(Default)]
pub struct ManifestTwins(HashSet<Hash>);

fn bare(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

impl ManifestTwins {
    /// Finds the twins of a manifest. Blocks.
    pub fn find(mut manifest: CacheReader, scratch: &Path) -> Result<Self> {
        let mut sorter = Sorter::new(scratch, |line: &FoldedPath| line.order.as_bytes());
        while let Some(known) = manifest.peek()? {
            let path = bare(&known.path);
            let order = [&fold_hash(path).to_be_bytes()[..], path].concat();
            sorter.push(&FoldedPath { order: RelPath(order), path: path.into() })?;
            manifest.advance();
        }
        let (mut sorted, mut twins) = (sorter.finish()?, HashSet::new());
        let mut last: Option<FoldedPath> = None;
        while let Some(line) = sorted.next_sorted()? {
            if let Some(last) = last.filter(|last| last.order.as_bytes()[..8] == line.order.as_bytes()[..8]) {
                twins.extend([&last, &line].map(|twin| Hash::of(twin.path.as_bytes())));
            }
            last = Some(line);
        }
        Ok(Self(twins))
    }

    /// Whether the path or a directory above it has a twin.
    pub fn covers(&self, path: &[u8]) -> bool {
        let path = bare(path);
        let above = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at]);
        !self.0.is_empty() && above.chain([path]).any(|name| self.0.contains(&Hash::of(name)))
    }
}
