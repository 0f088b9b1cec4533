//! Room that is kept back for offsite's own small objects on a disk that others have filled.
//!
//! Owns the file's name, its content and who may use up its room; directories and SFTP put it into their staging area.
//! Without it not even a prune could begin, which is what makes room.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::contract::error::{ErrorKind, Result};

/// The file's name within the staging area.
pub(crate) const NAME: &[u8] = b"/reserve";
const BYTES: u64 = 64 << 10;

/// Objects up to this length, in bytes, are written with the last room there is.
const SMALL: u64 = 16 << 10;

/// What the file holds: a file system that packs zeros away would keep no room for them.
pub(crate) fn content() -> Vec<u8> {
    (0..BYTES / 8).flat_map(|i| RandomState::new().hash_one(i).to_le_bytes()).collect()
}

/// Whether a write of so many bytes failed for want of room, and may have what is kept back.
pub(crate) fn may_use<T>(done: &Result<T>, length: u64) -> bool {
    length <= SMALL && done.as_ref().is_err_and(|error| error.kind == ErrorKind::Full)
}
