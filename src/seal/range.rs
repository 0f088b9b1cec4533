//! Opening of a part of an object that has a prefix of fixed length.
//!
//! Owns which chunks of what was fetched may be the last one.
//! Invariant: a range gives exactly the bytes asked for or an error; a cut, moved or exchanged chunk is an error.

use std::ops::Range;

use super::error::SealError;
use super::header::{FileKey, HEADER, NONCE, PREFIX, PayloadKey, read_header, read_nonce};
use super::lengths::{CHUNK, SEALED_CHUNK, sealed_range};
use super::native::Identity;
use super::stream::Chunks;

/// Opens parts of one object.
pub struct Opener {
    key: PayloadKey,
    chunks: Chunks,
}

impl Opener {
    /// From the first [`PREFIX`] bytes of an object. More bytes may follow.
    ///
    /// # Errors
    /// What is wrong with the header; [`SealError::LongHeader`] if the object was not written here, so that its chunks lie
    /// elsewhere.
    pub fn new(identities: &[Identity], prefix: &[u8]) -> Result<Self, SealError> {
        let whole = prefix.len() >= PREFIX;
        let mut rest = &prefix[..prefix.len().min(PREFIX)];
        let key = read_header(&mut rest, identities).map_err(|error| match error {
            SealError::Truncated if whole => SealError::LongHeader(HEADER),
            error => error,
        })?;
        if whole && rest.len() != NONCE {
            return Err(SealError::LongHeader(HEADER));
        }
        Ok(Self::from_file_key(&key, &read_nonce(&mut rest)?))
    }

    /// From the file key and the nonce, which are bytes 168 to 183 of the object.
    pub fn from_file_key(key: &FileKey, nonce: &[u8; NONCE]) -> Self {
        Self::from_payload_key(key.payload_key(nonce))
    }

    /// From the payload key alone.
    pub fn from_payload_key(key: PayloadKey) -> Self {
        Self { chunks: Chunks::new(&key), key }
    }

    /// The key that opens this object without its header.
    pub fn payload_key(&self) -> &PayloadKey {
        &self.key
    }

    /// Gives exactly the bytes `plain` of the plaintext. `sealed` has exactly the bytes [`sealed_range`] of the object, and
    /// is shorter only if the object ends there.
    ///
    /// # Errors
    /// [`SealError::Truncated`] if the plaintext ends before `plain` does, [`SealError::Range`] if `sealed` is too long, else
    /// the chunk that is damaged.
    pub fn open_range(&self, plain: Range<u64>, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let expected = sealed_range(plain.clone());
        if sealed.len() as u64 > expected.end - expected.start {
            return Err(SealError::Range);
        }
        if plain.is_empty() {
            return Ok(Vec::new());
        }
        let mut out = Vec::with_capacity(sealed.len());
        let mut number = plain.start / CHUNK as u64;
        let mut rest = sealed;
        loop {
            let (chunk, after) = rest.split_at(rest.len().min(SEALED_CHUNK));
            let start = out.len();
            out.extend_from_slice(chunk);
            match after.is_empty() {
                false => self.chunks.open(number, false, &mut out, start)?,
                true if chunk.len() < SEALED_CHUNK => self.chunks.open(number, true, &mut out, start)?,
                true => self.chunks.open_either(number, &mut out, start)?,
            }
            if after.is_empty() {
                break;
            }
            (rest, number) = (after, number + 1);
        }
        let skip = (plain.start % CHUNK as u64) as usize;
        let end = usize::try_from(plain.end - plain.start).ok().and_then(|length| skip.checked_add(length));
        match end {
            Some(end) if end <= out.len() => out.truncate(end),
            _ => return Err(SealError::Truncated),
        }
        out.drain(..skip);
        Ok(out)
    }
}
