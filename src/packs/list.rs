//! Lists of the pieces of large files.
//!
//! Owns where a list ends, and its form: JSON lines of pieces. A list ends where the pieces themselves say so, so a
//! changed stretch of a file changes the lists over it and no others.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;

use crate::error::{Error, Result};
use crate::model::{Hash, LISTED, Piece, PieceList};

/// From this number of pieces on, a list ends after a piece whose hash begins with a zero byte.
const LEAST: usize = 256;
/// A list has at most this number of pieces.
const MOST: usize = 2_048;

/// A list that is being filled.
#[derive(Debug, Default)]
pub struct ListBuffer {
    pieces: Vec<Piece>,
}

/// What an entry says of a list, before the place of the list is known.
#[derive(Debug, Clone)]
pub struct ListHead {
    /// BLAKE3 of the unpacked list.
    pub hash: Hash,
    /// Length of the unpacked list in bytes.
    pub raw: u64,
    /// Bytes of all its pieces.
    pub size: u64,
    /// Number of its pieces.
    pub count: u64,
    /// The packs that its pieces are in, sorted, and how far the pieces reach in them, in bytes.
    pub packs: Vec<(Hash, u64)>,
    /// Bytes of its pieces in each of these packs, each piece once.
    pub used: Vec<u64>,
}

impl ListHead {
    /// The list at this place.
    pub fn at(self, place: &Piece) -> PieceList {
        let Self { raw, hash, size, count, packs, used } = self;
        PieceList { size, count, hash, raw, packs, used, pack: place.pack, frame: place.frame, length: place.length }
    }
}

impl ListBuffer {
    /// Adds the next piece. Returns the list if it is full, and its unpacked bytes.
    ///
    /// # Errors
    /// [`Error::Local`] if a piece has no form in JSON.
    pub fn push(&mut self, piece: Piece) -> Result<Option<(ListHead, Vec<u8>)>> {
        let ends = piece.hash.0[0] == 0;
        self.pieces.push(piece);
        if self.pieces.len() >= MOST || ends && self.pieces.len() >= LEAST { self.finish() } else { Ok(None) }
    }

    /// Ends the list. `None` if it has no pieces.
    ///
    /// # Errors
    /// As for [`Self::push`].
    pub fn finish(&mut self) -> Result<Option<(ListHead, Vec<u8>)>> {
        let pieces = std::mem::take(&mut self.pieces);
        if pieces.is_empty() {
            return Ok(None);
        }
        let mut raw = Vec::new();
        for piece in &pieces {
            serde_json::to_writer(&mut raw, piece).map_err(|e| Error::local("a list of pieces", e.into()))?;
            raw.push(b'\n');
        }
        let (mut packs, mut seen): (BTreeMap<Hash, (u64, u64)>, HashSet<Hash>) = Default::default();
        for piece in &pieces {
            let (end, used) = packs.entry(piece.pack).or_default();
            *end = (*end).max(piece.frame + piece.length);
            if seen.insert(piece.hash) {
                *used += piece.size;
            }
        }
        let (packs, used) = packs.into_iter().map(|(pack, (end, used))| ((pack, end), used)).unzip();
        let size = pieces.iter().map(|piece| piece.size).sum();
        let (hash, length) = (Hash::of(&raw), raw.len() as u64);
        let head = ListHead { hash, raw: length, size, count: pieces.len() as u64, packs, used };
        Ok(Some((head, raw)))
    }
}

/// The pieces of an unpacked list. Checks that the list is the one that `list` describes. `what` is the URL of its
/// pack, for errors.
///
/// # Errors
/// [`Error::Damaged`] if it is another list, or names what no pack can have.
pub fn read(what: &dyn Display, list: &PieceList, raw: &[u8]) -> Result<Vec<Piece>> {
    let damaged = |why: &dyn Display| Error::damaged(what, format_args!("a list of pieces in it is damaged ({why})"));
    if raw.len() as u64 != list.raw || Hash::of(raw) != list.hash {
        return Err(damaged(&"BLAKE3 differs"));
    }
    let mut pieces = Vec::new();
    let mut size = Some(0u64);
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        let piece: Piece = serde_json::from_slice(line).map_err(|e| damaged(&e))?;
        piece.check().map_err(|e| damaged(&e))?;
        if list.packs.binary_search_by(|(pack, _)| pack.cmp(&piece.pack)).is_err() || pieces.len() as u64 == LISTED {
            return Err(damaged(&"it names a pack that the entry does not name"));
        }
        size = size.and_then(|size| size.checked_add(piece.size));
        pieces.push(piece);
    }
    if (pieces.len() as u64, size) != (list.count, Some(list.size)) {
        return Err(damaged(&"it does not hold what the entry says"));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(n: u64) -> Piece {
        let hash = Hash::of(&n.to_le_bytes());
        Piece { size: n + 1, hash, pack: Hash::of(&(n / 50).to_le_bytes()), frame: 24 + n, length: 10, skip: n % 3 }
    }

    fn lists(numbers: impl Iterator<Item = u64>) -> Vec<(ListHead, Vec<u8>)> {
        let (mut buffer, mut out) = (ListBuffer::default(), Vec::new());
        for n in numbers {
            out.extend(buffer.push(piece(n)).unwrap());
        }
        out.extend(buffer.finish().unwrap());
        out
    }

    #[test]
    fn what_is_listed_is_read() {
        let all: Vec<Piece> =
            lists(0..5_000).into_iter().flat_map(|(head, raw)| read(&"pack", &head.at(&piece(1)), &raw).unwrap()).collect();
        assert_eq!(all, (0..5_000).map(piece).collect::<Vec<_>>());
    }

    #[test]
    fn a_change_in_front_leaves_the_lists_behind_it() {
        let before = lists(0..20_000);
        let after = lists([77_777].into_iter().chain(0..20_000));
        assert_eq!(before.last().unwrap().1, after.last().unwrap().1);
        assert!(before.len() > 10);
        let known: Vec<Hash> = before.iter().map(|(head, _)| head.hash).collect();
        assert!(after.iter().filter(|(head, _)| !known.contains(&head.hash)).count() <= 2);
    }

    #[test]
    fn another_list_is_refused() {
        let (head, raw) = lists(0..10).remove(0);
        let list = head.at(&piece(1));
        assert!(read(&"pack", &list, &raw[1..]).is_err());
        for wrong in [
            PieceList { count: 9, ..list.clone() },
            PieceList { size: 1, ..list.clone() },
            PieceList { packs: vec![(Hash::of(b"other"), 9)], ..list.clone() },
        ] {
            assert!(read(&"pack", &wrong, &raw).is_err());
        }
    }
}
