//! The payload of an age v1 file: chunks of 64 KiB, each with a tag of 16 bytes.
//!
//! Owns how chunks are sealed and opened, in memory and streaming.
//! Invariants: no byte of a chunk is given out before its tag was checked; only the last chunk of a file is shorter, and it
//! is empty only if the plaintext is.

use std::io::{self, BufRead, BufReader, Read, Write};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::error::SealError;
use super::header::{FileSecrets, PREFIX, PayloadKey, read_header, read_nonce};
use super::lengths::{CHUNK, SEALED_CHUNK, TAG, sealed_len};
use super::native::{Identity, Recipient};

/// Seals and opens the chunks of one file.
pub(super) struct Chunks(LessSafeKey);

impl Chunks {
    /// # Errors
    /// [`SealError::Cipher`], which is not to be expected.
    pub(super) fn new(key: &PayloadKey) -> Result<Self, SealError> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_bytes()).map_err(|_| SealError::Cipher)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Encrypts `chunk` in place and gives its tag.
    fn seal(&self, number: u64, last: bool, chunk: &mut [u8]) -> Result<[u8; TAG], SealError> {
        let tag = self.0.seal_in_place_separate_tag(nonce(number, last), Aad::empty(), chunk).map_err(|_| SealError::Cipher)?;
        tag.as_ref().try_into().map_err(|_| SealError::Cipher)
    }

    /// Opens `sealed`, which is one chunk with its tag, and adds its plaintext to `out`.
    ///
    /// # Errors
    /// [`SealError::Truncated`] and [`SealError::Extended`] if the chunk is whole but not in its place. `out` is as before.
    pub(super) fn open(&self, number: u64, last: bool, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        let Some((chunk, tag)) = sealed.split_last_chunk::<TAG>() else { return Err(SealError::Truncated) };
        if chunk.is_empty() && number > 0 {
            return Err(SealError::Chunk(number));
        }
        let start = out.len();
        if self.try_open(number, last, (chunk, tag), out) {
            return Ok(());
        }
        let elsewhere = self.try_open(number, !last, (chunk, tag), out);
        out.truncate(start);
        match elsewhere {
            true if last => Err(SealError::Truncated),
            true => Err(SealError::Extended),
            false => Err(SealError::Chunk(number)),
        }
    }

    /// As [`Chunks::open`], for a chunk of which it is not known whether it is the last one of its file.
    pub(super) fn open_either(&self, number: u64, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        match self.open(number, false, sealed, out) {
            Err(SealError::Extended) => self.open(number, true, sealed, out),
            other => other,
        }
    }

    /// Adds the plaintext to `out` if the tag is right.
    fn try_open(&self, number: u64, last: bool, (chunk, tag): (&[u8], &[u8; TAG]), out: &mut Vec<u8>) -> bool {
        let start = out.len();
        out.resize(start + chunk.len(), 0);
        let opened = self.0.open_separate_gather(nonce(number, last), Aad::empty(), chunk, tag, &mut out[start..]);
        if opened.is_err() {
            out.truncate(start);
        }
        opened.is_ok()
    }
}

/// The chunk's number in 11 bytes, then 1 for the last chunk.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(last);
    Nonce::assume_unique_for_key(nonce)
}

/// Seals `plain` to `recipient`. The result has [`sealed_len`] bytes and is the only copy that is made.
///
/// # Errors
/// [`SealError::Cipher`], which is not to be expected.
pub fn seal(recipient: &Recipient, secrets: FileSecrets, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut out = Vec::with_capacity(sealed_len(plain.len() as u64) as usize);
    secrets.write_prefix(recipient, &mut out)?;
    let chunks = Chunks::new(&secrets.payload_key())?;
    let (mut rest, mut number) = (plain, 0);
    loop {
        let (chunk, after) = rest.split_at(rest.len().min(CHUNK));
        let start = out.len();
        out.extend_from_slice(chunk);
        let tag = chunks.seal(number, after.is_empty(), &mut out[start..])?;
        out.extend_from_slice(&tag);
        if after.is_empty() {
            return Ok(out);
        }
        (rest, number) = (after, number + 1);
    }
}

/// Opens a whole age file that has an X25519 stanza for one of `identities`. The result is the only copy that is made.
///
/// # Errors
/// What is wrong with the file. Nothing of it is given out then.
pub fn open(identities: &[Identity], object: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut rest = object;
    let key = read_header(&mut rest, identities)?;
    let chunks = Chunks::new(&key.payload_key(&read_nonce(&mut rest)?))?;
    let mut out = Vec::with_capacity(rest.len());
    let mut number = 0;
    loop {
        let (chunk, after) = rest.split_at(rest.len().min(SEALED_CHUNK));
        chunks.open(number, after.is_empty(), chunk, &mut out)?;
        if after.is_empty() {
            return Ok(out);
        }
        (rest, number) = (after, number + 1);
    }
}

/// Seals what is written to it. Without [`SealWriter::finish`] the file is incomplete, and no reader accepts it.
pub struct SealWriter<W: Write> {
    output: W,
    chunks: Chunks,
    number: u64,
    /// Plaintext that no chunk has yet. It is written once it is known whether more follows.
    chunk: Vec<u8>,
    failed: bool,
}

impl<W: Write> SealWriter<W> {
    /// Where the sealed bytes go.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.output
    }

    /// Writes header and nonce to `output`.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn new(recipient: &Recipient, secrets: FileSecrets, mut output: W) -> Result<Self, SealError> {
        let mut prefix = Vec::with_capacity(PREFIX);
        secrets.write_prefix(recipient, &mut prefix)?;
        output.write_all(&prefix)?;
        let chunks = Chunks::new(&secrets.payload_key())?;
        Ok(Self { output, chunks, number: 0, chunk: Vec::with_capacity(SEALED_CHUNK), failed: false })
    }

    /// Writes the last chunk and flushes the output.
    ///
    /// # Errors
    /// Those of the output, and every error of an earlier write.
    pub fn finish(mut self) -> Result<W, SealError> {
        self.write_chunk(true)?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn write_chunk(&mut self, last: bool) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier write failed"));
        }
        // A chunk is encrypted where it lies, so it cannot be tried again.
        self.failed = true;
        let tag = self.chunks.seal(self.number, last, &mut self.chunk)?;
        self.chunk.extend_from_slice(&tag);
        self.output.write_all(&self.chunk)?;
        self.chunk.clear();
        self.number += 1;
        self.failed = false;
        Ok(())
    }
}

impl<W: Write> Write for SealWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK && !bytes.is_empty() || self.failed {
            self.write_chunk(false)?;
        }
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Flushes the chunks that are complete.
    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Opens an age file while it is read. Its errors are [`SealError`] inside of `io::Error`; `SealError::from` takes them out.
///
/// Bytes that it gave out are right, but only its end shows that the file is whole.
pub struct OpenReader<R: Read> {
    input: BufReader<R>,
    chunks: Chunks,
    number: u64,
    sealed: Vec<u8>,
    chunk: Vec<u8>,
    /// Where in `chunk` the next byte is.
    next: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    More,
    Ended,
    Failed,
}

impl<R: Read> OpenReader<R> {
    /// Reads header and nonce.
    ///
    /// # Errors
    /// What is wrong with the header, or that no identity opens it.
    pub fn new(identities: &[Identity], input: R) -> Result<Self, SealError> {
        let mut input = BufReader::new(input);
        let key = read_header(&mut input, identities)?;
        let chunks = Chunks::new(&key.payload_key(&read_nonce(&mut input)?))?;
        let (sealed, chunk) = (Vec::with_capacity(SEALED_CHUNK), Vec::with_capacity(CHUNK));
        Ok(Self { input, chunks, number: 0, sealed, chunk, next: 0, state: State::More })
    }

    fn read_chunk(&mut self) -> Result<(), SealError> {
        self.state = State::Failed;
        self.sealed.clear();
        self.chunk.clear();
        self.next = 0;
        (&mut self.input).take(SEALED_CHUNK as u64).read_to_end(&mut self.sealed)?;
        let last = self.sealed.len() < SEALED_CHUNK || self.ended()?;
        self.chunks.open(self.number, last, &self.sealed, &mut self.chunk)?;
        self.number += 1;
        self.state = if last { State::Ended } else { State::More };
        Ok(())
    }

    /// Whether the input has ended.
    fn ended(&mut self) -> io::Result<bool> {
        loop {
            match self.input.fill_buf() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(<[u8]>::is_empty),
            }
        }
    }
}

impl<R: Read> Read for OpenReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.next == self.chunk.len() && !buffer.is_empty() {
            match self.state {
                State::More => self.read_chunk()?,
                State::Ended => return Ok(0),
                State::Failed => return Err(io::Error::other("an earlier read failed")),
            }
        }
        let count = buffer.len().min(self.chunk.len() - self.next);
        buffer[..count].copy_from_slice(&self.chunk[self.next..self.next + count]);
        self.next += count;
        Ok(count)
    }
}
