//! Packs: frames one after the other, as one object.
//!
//! Owns the length of packs and their names. Every pack begins with a frame of random bytes that readers of zstd skip.
//! So no two packs have one name, and a pack that no snapshot names any more never comes back: retention relies on that.

use super::frame::{Frame, FramePiece};
use crate::error::{Error, Result};
use crate::model::{Hash, Piece};
use crate::seal::{ObjectWriter, Padding, SealError, sealed_len};

/// A pack ends before a frame that would make it longer than this, in bytes.
const GOAL: u64 = 16 << 20;
/// Room for a pack in memory, in bytes.
pub const PACK_ROOM: usize = sealed_len(GOAL) as usize;
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
pub struct PackBuffer {
    writer: ObjectWriter,
    /// Length of what was written, before it is sealed.
    length: u64,
    frames: Vec<PackedFrame>,
}

impl PackBuffer {
    /// A pack without frames.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn new(writer: ObjectWriter) -> Result<Self> {
        let mut mark = Vec::with_capacity(GAP + MARK);
        mark.extend_from_slice(&SKIPPABLE.to_le_bytes());
        mark.extend_from_slice(&(MARK as u32).to_le_bytes());
        for _ in 0..MARK / 8 {
            mark.extend_from_slice(&crate::random().to_le_bytes());
        }
        let mut pack = Self { writer, length: 0, frames: Vec::new() };
        pack.write(&mark)?;
        Ok(pack)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.length += bytes.len() as u64;
        self.writer.push(bytes).map_err(fail)
    }

    /// Whether the pack has to end before this frame.
    pub fn is_full_for(&self, frame: &Frame) -> bool {
        !self.frames.is_empty() && self.length + (frame.bytes.len() + GAP) as u64 > GOAL
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn push(&mut self, frame: Frame) -> Result<()> {
        let offset = self.length;
        self.write(&frame.bytes)?;
        self.frames.push(PackedFrame { offset, length: frame.bytes.len() as u64, pieces: frame.pieces });
        Ok(())
    }

    /// Ends the pack and hashes it, which takes some milliseconds. The length of a sealed one is hidden: a `full` one gets
    /// the length of all full ones, and another one a padded length.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self, full: bool) -> Result<FullPack> {
        if self.writer.is_sealed() {
            let padding = if full { Padding::Full(GOAL) } else { Padding::Sizes };
            let padding = padding.frame(self.length);
            self.write(&padding)?;
        }
        let bytes = self.writer.finish().map_err(fail)?;
        let pack = Hash::of(&bytes);
        let pieces = self.frames.into_iter().flat_map(|frame| {
            let PackedFrame { offset, length, pieces } = frame;
            pieces.into_iter().map(move |FramePiece { hash, skip, size }| Piece { size, hash, pack, frame: offset, length, skip })
        });
        Ok(FullPack { name: pack, pieces: pieces.collect(), bytes })
    }
}

fn fail(error: SealError) -> Error {
    Error::local("a pack", std::io::Error::other(error))
}

/// A pack that is ready to be written.
#[derive(Debug, Clone)]
pub struct FullPack {
    /// BLAKE3 of its bytes.
    pub name: Hash,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The pieces in it.
    pub pieces: Vec<Piece>,
}

#[cfg(test)]
mod tests {
    use super::super::frame::{FrameBuffer, unpack};
    use super::*;

    fn pack_of(texts: &[&[u8]]) -> FullPack {
        let mut pack = PackBuffer::new(ObjectWriter::Open(Vec::new())).unwrap();
        for text in texts {
            let mut frame = FrameBuffer::default();
            frame.push(Hash::of(text), text);
            pack.push(frame.compress().unwrap()).unwrap();
        }
        pack.finish(true).unwrap()
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
