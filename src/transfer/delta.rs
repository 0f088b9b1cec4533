//! Block delta: the parts of a changed large file that the store copies from the old content.
//!
//! Owns the decision for one file, block by block, and the fallback: after any refusal the part is sent. Invariant: a
//! part is copied only if its bytes here have the hash that the old content had there. The store compares the tag of the
//! old content with the manifest's, and proves by a digest what it copied.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use object_store::path::Path;
use offsite_backends::{Backend, Stretch};

use super::target::Target;
use crate::error::Result;
use crate::manifest::{KeyRules, KnownBlocks, object_path};
use crate::model::{Entry, Hash};

/// The old content of a file, as far as its blocks are known.
pub(super) struct OldBlocks {
    from: Path,
    etag: String,
    hashes: Vec<Hash>,
    /// Length of each block but the last, in bytes.
    block: u64,
    /// The store has refused a copy.
    refused: AtomicBool,
}

impl OldBlocks {
    /// What is known of `old` in blocks of this length. `None` if no block of it can be copied.
    pub(super) fn of(target: &Target, old: Option<&Entry>, block: u64) -> Result<Option<Self>> {
        let (Some(known), Some(old), true) = (&target.blocks, old, target.backend.capabilities().part_copies) else { return Ok(None) };
        let Some((content, etag)) = old.content.as_ref().and_then(|content| Some((content, content.etag.clone()?))) else {
            return Ok(None);
        };
        let hashes = known.read(content.hash, block);
        if hashes.len() as u64 != old.size.div_ceil(block) {
            return Ok(None);
        }
        Ok(Some(Self { from: object_path(&KeyRules::current_key(old))?, etag, hashes, block, refused: AtomicBool::new(false) }))
    }

    /// Whether the old content has this block at this place.
    pub(super) fn has(&self, index: usize, hash: Option<Hash>) -> bool {
        hash.is_some() && self.hashes.get(index).copied() == hash && !self.refused.load(Relaxed)
    }

    /// Copies a block as a part of an upload. `None` if the store refused. Then no other block of this file is tried.
    pub(super) async fn copy(&self, backend: &dyn Backend, to: &Path, id: &String, index: usize, bytes: Bytes) -> Option<String> {
        let from = Stretch { from: &self.from, etag: &self.etag, start: index as u64 * self.block, bytes };
        match backend.copy_part(to, id, index, &from).await {
            Ok(part) => Some(part.content_id),
            Err(error) => {
                tracing::info!(target: "offsite::run", key = to.as_ref(), index, %error, "a block was not copied");
                self.refused.store(true, Relaxed);
                None
            }
        }
    }
}

/// Notes the blocks of a content that has arrived, in place of those of the content it replaces. If this machine cannot
/// write them down, the next change of the file is sent whole.
pub(super) fn note(target: &Target, old: Option<&Entry>, new: Hash, block: u64, hashes: &[Hash]) {
    let Some(known) = &target.blocks else { return };
    if !hashes.is_empty()
        && let Err(error) = known.note(new, block, hashes)
    {
        tracing::info!(target: "offsite::run", %error, "blocks were not noted");
    }
    let replaced = old.and_then(|old| old.content.as_ref()).map(|content| content.hash);
    if let Some(hash) = replaced.filter(|hash| *hash != new) {
        known.forget(hash);
    }
}

/// The hash of a block, if the store could copy it some day.
pub(super) fn hash_of(target: &Target, size: u64, block: &[u8]) -> Option<Hash> {
    let wanted = target.blocks.is_some() && KnownBlocks::worth(size) && target.backend.capabilities().part_copies;
    wanted.then(|| Hash::of(block))
}
