//! Where a content is at a packed destination: in which packs, and where in them.
//!
//! Owns the shapes of the members `at`, `pieces` and `lists` of a content (`docs/format.md`, section 18), and the check
//! that a line from a destination has possible ones. A place says where bytes are. The hash beside it says what they
//! must be.

use serde::{Deserialize, Serialize};

use super::hash::Hash;

/// Largest number of pieces that an entry names itself. A file with more has lists.
pub const PIECES: usize = 32;
/// Length of a frame in a pack at most, in bytes.
pub const FRAME: u64 = 4 << 20;
/// Length of an unpacked frame, of a piece and of an unpacked list at most, in bytes.
pub const UNPACKED: u64 = 8 << 20;
/// Length of a pack at most, in bytes.
pub const PACK: u64 = 64 << 20;
/// Pieces in a list at most.
pub const LISTED: u64 = 16_384;
/// Packs that a list names at most.
pub const LISTED_PACKS: usize = 16_384;

/// A stretch of an unpacked frame of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackPlace {
    /// Name of the pack: the BLAKE3 of its object.
    pub pack: Hash,
    /// Offset of the frame in the pack, in bytes.
    pub frame: u64,
    /// Length of the frame in the pack, in bytes.
    pub length: u64,
    /// Offset in the unpacked frame, in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skip: u64,
}

/// A part of a large file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Length in bytes.
    pub size: u64,
    /// BLAKE3 of its bytes.
    pub hash: Hash,
    /// As [`PackPlace::pack`].
    pub pack: Hash,
    /// As [`PackPlace::frame`].
    pub frame: u64,
    /// As [`PackPlace::length`].
    pub length: u64,
    /// As [`PackPlace::skip`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skip: u64,
}

/// A list of consecutive pieces of a large file: JSON lines of [`Piece`], in a frame of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceList {
    /// Length of all its pieces together, in bytes.
    pub size: u64,
    /// Number of its pieces.
    pub count: u64,
    /// BLAKE3 of the unpacked list.
    pub hash: Hash,
    /// Length of the unpacked list in bytes.
    pub raw: u64,
    /// Every pack that its pieces are in, each once, in order of their names, with how far the last of their frames
    /// reaches in it, in bytes. So nobody has to read a list to know what of which packs a snapshot needs.
    pub packs: Vec<(Hash, u64)>,
    /// How many bytes its pieces have in each of these packs, each piece once, in the same order. Empty if the writer did
    /// not say so. It tells how much of a pack is in use, without reading the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used: Vec<u64>,
    /// As [`PackPlace::pack`].
    pub pack: Hash,
    /// As [`PackPlace::frame`].
    pub frame: u64,
    /// As [`PackPlace::length`].
    pub length: u64,
}

impl PackPlace {
    /// Checks that a pack can have this place for so many unpacked bytes.
    pub(super) fn check(&self, size: u64) -> Result<(), &'static str> {
        let ends = |from: u64, length: u64, most: u64| from.checked_add(length).is_some_and(|end| end <= most);
        if self.length == 0 || self.length > FRAME || !ends(self.frame, self.length, PACK) {
            Err("a frame that no pack can have")
        } else if size == 0 || !ends(self.skip, size, UNPACKED) {
            Err("a piece that no frame can have")
        } else {
            Ok(())
        }
    }
}

impl Piece {
    /// Where it is.
    pub fn place(&self) -> PackPlace {
        PackPlace { pack: self.pack, frame: self.frame, length: self.length, skip: self.skip }
    }

    /// Checks that a pack can have this piece.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        self.place().check(self.size)
    }
}

impl PieceList {
    /// Where it is.
    pub fn place(&self) -> PackPlace {
        PackPlace { pack: self.pack, frame: self.frame, length: self.length, skip: 0 }
    }

    /// Checks that a pack can have this list.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        self.place().check(self.raw)?;
        let ordered = self.packs.is_sorted_by(|(a, _), (b, _)| a < b) && self.packs.iter().all(|(_, end)| *end <= PACK);
        let told = self.used.is_empty() || self.used.len() == self.packs.len();
        if !told || self.count == 0 || self.count > LISTED || self.packs.is_empty() || self.packs.len() > LISTED_PACKS || !ordered {
            return Err("a list of pieces that is none");
        }
        Ok(())
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
