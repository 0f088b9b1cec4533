//! Frames: pieces that lie one after the other, compressed together.
//!
//! Owns when a frame is full, and its compression. Invariant: a frame that this program writes is within the bounds
//! that readers have for one.

use crate::error::{Error, Result};
use crate::model::{Hash, UNPACKED};

/// Small pieces share a frame until the next one would make it longer than this, in bytes. A longer piece has a frame of
/// its own.
const GOAL: usize = 128 << 10;
/// Level of zstd. What does not shrink is stored as it is, which zstd decides for each block.
const LEVEL: i32 = 3;

/// A piece in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePiece {
    /// BLAKE3 of its bytes.
    pub hash: Hash,
    /// Where it begins in the unpacked frame, in bytes.
    pub skip: u64,
    /// Its length in bytes.
    pub size: u64,
}

/// A frame that is being filled.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    raw: Vec<u8>,
    pieces: Vec<FramePiece>,
}

impl FrameBuffer {
    /// Whether the frame has to end before a piece of this length.
    pub fn is_full_for(&self, size: usize) -> bool {
        !self.raw.is_empty() && self.raw.len() + size > GOAL
    }

    /// Whether it has no piece.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Adds a piece.
    pub fn push(&mut self, hash: Hash, bytes: &[u8]) {
        self.pieces.push(FramePiece { hash, skip: self.raw.len() as u64, size: bytes.len() as u64 });
        self.raw.extend_from_slice(bytes);
    }

    /// Compresses the frame. Takes a moment of computing for each 100 KiB.
    ///
    /// # Errors
    /// [`Error::Local`] if the memory does not suffice.
    pub fn compress(self) -> Result<Frame> {
        let bytes = zstd::bulk::compress(&self.raw, LEVEL).map_err(|e| Error::local("a frame", e))?;
        Ok(Frame { bytes, pieces: self.pieces })
    }
}

/// A compressed frame.
#[derive(Debug)]
pub struct Frame {
    /// The frame as zstd has it.
    pub bytes: Vec<u8>,
    /// Its pieces, in order.
    pub pieces: Vec<FramePiece>,
}

/// Unpacks a frame. `what` is the URL of its pack, for errors.
///
/// # Errors
/// [`Error::Damaged`] if it is not a frame, does not say its length, or is longer than a frame can be.
pub fn unpack(what: &dyn std::fmt::Display, frame: &[u8]) -> Result<Vec<u8>> {
    let damaged = |why: &dyn std::fmt::Display| Error::damaged(what, format_args!("a frame in it is damaged ({why})"));
    let length = zstd::zstd_safe::get_frame_content_size(frame).map_err(|e| damaged(&e.to_string()))?;
    let length = length.filter(|length| *length <= UNPACKED).ok_or_else(|| damaged(&"its length is not one that a frame can have"))?;
    let raw = zstd::bulk::decompress(frame, length as usize).map_err(|e| damaged(&e))?;
    if raw.len() as u64 == length { Ok(raw) } else { Err(damaged(&"it is truncated")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let mut frame = FrameBuffer::default();
        let texts = [&b"one"[..], b"two", &[7; 100_000]];
        for text in texts {
            assert!(!frame.is_full_for(text.len()));
            frame.push(Hash::of(text), text);
        }
        assert!(frame.is_full_for(GOAL));
        let frame = frame.compress().unwrap();
        let raw = unpack(&"pack", &frame.bytes).unwrap();
        for (piece, text) in frame.pieces.iter().zip(texts) {
            assert_eq!(&raw[piece.skip as usize..][..piece.size as usize], text);
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_takes_memory() {
        let bomb = zstd::bulk::compress(&vec![0; UNPACKED as usize + 1], 1).unwrap();
        assert!(unpack(&"pack", &bomb).unwrap_err().to_string().contains("pack"));
        let cut = zstd::bulk::compress(b"a text", 1).unwrap();
        assert!(unpack(&"pack", &cut[..cut.len() - 1]).is_err());
        assert!(unpack(&"pack", b"").is_err() && unpack(&"pack", b"no frame at all").is_err());
    }
}
