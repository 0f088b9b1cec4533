//! Lengths of plaintext and object, for objects with a prefix of fixed length.
//!
//! Owns the arithmetic between the two.
//! Invariant: no number that a manifest can hold makes it overflow.

use std::ops::Range;

use super::header::PREFIX;

/// The length of a chunk of plaintext.
pub(super) const CHUNK: usize = 64 * 1024;
/// The length of a chunk's tag.
pub(super) const TAG: usize = 16;
/// The length of a chunk as it lies in the file.
pub(super) const SEALED_CHUNK: usize = CHUNK + TAG;

/// The length of an object with `plain_len` bytes of plaintext.
pub const fn sealed_len(plain_len: u64) -> u64 {
    let chunks = if plain_len == 0 { 1 } else { plain_len.div_ceil(CHUNK as u64) };
    plain_len.saturating_add(chunks.saturating_mul(TAG as u64)).saturating_add(PREFIX as u64)
}

/// The length of the plaintext of an object with a prefix of [`PREFIX`] bytes, or `None` if no such object has this length.
pub fn plain_len(object_len: u64) -> Option<u64> {
    let payload = object_len.checked_sub(PREFIX as u64)?;
    let (full, rest) = (payload / SEALED_CHUNK as u64, payload % SEALED_CHUNK as u64);
    let plain = match rest {
        0 if full > 0 => 0,
        rest if rest > TAG as u64 || (rest == TAG as u64 && full == 0) => rest - TAG as u64,
        _ => return None,
    };
    Some(full * CHUNK as u64 + plain)
}

/// The bytes of an object that hold `plain`: whole chunks. The end may lie behind the end of the object, whose last chunk
/// may be shorter. An empty range has no bytes.
pub fn sealed_range(plain: Range<u64>) -> Range<u64> {
    let at = |chunk: u64| chunk.saturating_mul(SEALED_CHUNK as u64).saturating_add(PREFIX as u64);
    let start = at(plain.start / CHUNK as u64);
    match plain.is_empty() {
        true => start..start,
        false => start..at(plain.end.div_ceil(CHUNK as u64)),
    }
}
