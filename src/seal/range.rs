//! Opening of a part of an object that has a prefix of fixed length.
//!
//! Owns which chunks of what was fetched may be the last one.
//! Invariant: a range gives exactly the bytes asked for or an error; a cut, moved or exchanged chunk is an error.

use std::ops::Range;

use bytes::BytesMut;

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
        Self::from_file_key(&key, &read_nonce(&mut rest)?)
    }

    /// From the file key and the nonce, which are bytes 168 to 183 of the object.
    ///
    /// # Errors
    /// [`SealError::Cipher`], which is not to be expected.
    pub fn from_file_key(key: &FileKey, nonce: &[u8; NONCE]) -> Result<Self, SealError> {
        Self::from_payload_key(key.payload_key(nonce))
    }

    /// From the payload key alone.
    ///
    /// # Errors
    /// As for [`Self::from_file_key`].
    pub fn from_payload_key(key: PayloadKey) -> Result<Self, SealError> {
        Ok(Self { chunks: Chunks::new(&key)?, key })
    }

    /// The key that opens this object without its header.
    pub fn payload_key(&self) -> &PayloadKey {
        &self.key
    }

    /// Opens the chunks that hold the bytes `plain` of the plaintext, while they arrive.
    pub fn chunks(self, plain: Range<u64>) -> ChunkOpener {
        let number = plain.start / CHUNK as u64;
        ChunkOpener {
            chunks: self.chunks,
            number,
            end: plain.end.div_ceil(CHUNK as u64).max(number),
            skip: (plain.start % CHUNK as u64) as usize,
            sealed: Vec::with_capacity(SEALED_CHUNK),
            opened: Vec::with_capacity(CHUNK),
        }
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
            match after.is_empty() {
                false => self.chunks.open(number, false, chunk, &mut out)?,
                true if chunk.len() < SEALED_CHUNK => self.chunks.open(number, true, chunk, &mut out)?,
                true => self.chunks.open_either(number, chunk, &mut out)?,
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

/// Opens chunks that follow one another, while they arrive.
pub struct ChunkOpener {
    chunks: Chunks,
    /// The number of the next chunk.
    number: u64,
    /// The number of the first chunk that is not wanted.
    end: u64,
    /// Bytes of the next chunk that are not wanted.
    skip: usize,
    /// A chunk that has not arrived as a whole.
    sealed: Vec<u8>,
    opened: Vec<u8>,
}

impl ChunkOpener {
    /// Takes sealed bytes, and appends to `out` the plaintext of every chunk that is whole now.
    ///
    /// # Errors
    /// The chunk that is damaged, and [`SealError::Range`] for bytes behind the last chunk that is wanted.
    pub fn push(&mut self, mut sealed: &[u8], out: &mut BytesMut) -> Result<(), SealError> {
        while !sealed.is_empty() {
            if self.number >= self.end {
                return Err(SealError::Range);
            }
            let (now, later) = sealed.split_at(sealed.len().min(SEALED_CHUNK - self.sealed.len()));
            self.sealed.extend_from_slice(now);
            sealed = later;
            if self.sealed.len() == SEALED_CHUNK {
                self.open(false, out)?;
            }
        }
        Ok(())
    }

    /// Takes the end of the object, or of what was asked for.
    ///
    /// # Errors
    /// The chunk that is damaged or cut.
    pub fn end(&mut self, out: &mut BytesMut) -> Result<(), SealError> {
        if self.sealed.is_empty() { Ok(()) } else { self.open(true, out) }
    }

    fn open(&mut self, short: bool, out: &mut BytesMut) -> Result<(), SealError> {
        self.opened.clear();
        match short {
            true => self.chunks.open(self.number, true, &self.sealed, &mut self.opened)?,
            // Only of the last one that is wanted it is not known whether it is the last of the object.
            false if self.number + 1 == self.end => self.chunks.open_either(self.number, &self.sealed, &mut self.opened)?,
            false => self.chunks.open(self.number, false, &self.sealed, &mut self.opened)?,
        }
        let wanted = self.opened.get(self.skip..).ok_or(SealError::Truncated)?;
        out.extend_from_slice(wanted);
        self.sealed.clear();
        (self.number, self.skip) = (self.number + 1, 0);
        Ok(())
    }
}
