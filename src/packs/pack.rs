//! Packs: frames one after the other, as one object.
//!
//! Owns the length of packs and their names. Every pack begins with a frame of random bytes that readers of zstd skip.
//! So no two packs have one name, and a pack that no snapshot names any more never comes back: retention relies on that.

use bytes::Bytes;

use super::frame::{Frame, FramePiece};
use crate::error::Result;
use crate::model::{Hash, Piece};
use crate::seal::Padding;

/// A pack ends before a frame that would make it longer than this, in bytes.
const GOAL: usize = 16 << 20;
/// Begins a frame that holds no data (RFC 8878, section 3.1.2).
const SKIPPABLE: u32 = 0x184d_2a50;
/// Room for padding, which has at least this many bytes.
const GAP: usize = 8;
/// Random bytes at the beginning.
const MARK: usize = 16;

/// A frame in a pack.
#[derive(Debug)]
struct PackedFrame {
    offset: u64,
    length: u64,
    pieces: Vec<FramePiece>,
}

/// A pack that is being filled.
#[derive(Debug)]
pub struct PackBuffer {
    bytes: Vec<u8>,
    frames: Vec<PackedFrame>,
}

impl Default for PackBuffer {
    /// A pack without frames.
    fn default() -> Self {
        let mut bytes = Vec::with_capacity(GOAL);
        bytes.extend_from_slice(&SKIPPABLE.to_le_bytes());
        bytes.extend_from_slice(&(MARK as u32).to_le_bytes());
        for _ in 0..MARK / 8 {
            bytes.extend_from_slice(&crate::random().to_le_bytes());
        }
        Self { bytes, frames: Vec::new() }
    }
}

impl PackBuffer {
    /// Whether it has no frame.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether the pack has to end before this frame.
    pub fn is_full_for(&self, frame: &Frame) -> bool {
        !self.frames.is_empty() && self.bytes.len() + frame.bytes.len() + GAP > GOAL
    }

    /// Hides how long the pack is: a full one gets the length of all full ones, and another one a padded length.
    pub fn pad(&mut self, full: bool) {
        let padding = if full { Padding::Full(GOAL as u64) } else { Padding::Sizes };
        self.bytes.extend(padding.frame(self.bytes.len() as u64));
    }

    /// Adds a frame.
    pub fn push(&mut self, frame: Frame) {
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(&frame.bytes);
        self.frames.push(PackedFrame { offset, length: frame.bytes.len() as u64, pieces: frame.pieces });
    }

    /// Ends the pack. `form` makes what the destination gets of it. Hashes that, which takes some milliseconds.
    ///
    /// # Errors
    /// Those of `form`.
    pub fn finish(mut self, form: impl FnOnce(Vec<u8>) -> Result<Vec<u8>>) -> Result<FullPack> {
        let bytes = form(std::mem::take(&mut self.bytes))?;
        let pack = Hash::of(&bytes);
        let pieces = self.frames.into_iter().flat_map(|frame| {
            let PackedFrame { offset, length, pieces } = frame;
            pieces.into_iter().map(move |FramePiece { hash, skip, size }| Piece { size, hash, pack, frame: offset, length, skip })
        });
        Ok(FullPack { name: pack, pieces: pieces.collect(), bytes: bytes.into() })
    }
}

/// A pack that is ready to be written.
#[derive(Debug, Clone)]
pub struct FullPack {
    /// BLAKE3 of its bytes.
    pub name: Hash,
    /// Its bytes.
    pub bytes: Bytes,
    /// The pieces in it.
    pub pieces: Vec<Piece>,
}

#[cfg(test)]
mod tests {
    use super::super::frame::{FrameBuffer, unpack};
    use super::*;

    fn pack_of(texts: &[&[u8]]) -> FullPack {
        let mut pack = PackBuffer::default();
        for text in texts {
            let mut frame = FrameBuffer::default();
            frame.push(Hash::of(text), text);
            pack.push(frame.compress().unwrap());
        }
        pack.finish(Ok).unwrap()
    }

    #[test]
    fn every_piece_is_where_the_pack_says() {
        let pack = pack_of(&[b"one", b"two", b"three"]);
        assert_eq!(pack.name, Hash::of(&pack.bytes));
        for (piece, text) in pack.pieces.iter().zip([&b"one"[..], b"two", b"three"]) {
            let frame = &pack.bytes[piece.frame as usize..][..piece.length as usize];
            assert_eq!(unpack(&"pack", frame).unwrap(), text);
            piece.check().unwrap();
        }
        // Stock tools unpack the whole.
        assert_eq!(zstd::decode_all(&pack.bytes[..]).unwrap(), b"onetwothree");
    }

    #[test]
    fn no_two_packs_have_one_name() {
        assert_ne!(pack_of(&[b"the same"]).name, pack_of(&[b"the same"]).name);
    }
}
