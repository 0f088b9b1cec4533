//! Cuts contents into pieces at places that the bytes themselves decide, after `FastCDC` (2020).
//!
//! Owns the rule. Invariants: a cut depends on the seed and on the bytes since the cut before, never on how the stream
//! is divided into blocks. Each byte is looked at once. At most [`MAX`] bytes are held between two blocks. A change of
//! the rule or of its numbers makes every destination store its large files again.

use bytes::Bytes;

/// Bytes of a piece in which no cut is looked for. Only the last piece of a stream is not longer.
pub const MIN: usize = 128 << 10;
/// The length from which on cuts become more likely. Pieces of random bytes have 636 KiB on average.
pub const MEAN: usize = 512 << 10;
/// A piece that has this length ends.
pub const MAX: usize = 2 << 20;

/// Cuts below [`MEAN`]: the 20 highest bits of the hash are zero, which is so at one byte in twice [`MEAN`].
const STRICT: u64 = 1 << 44;
/// Cuts from [`MEAN`] on: 18 bits, one byte in half of [`MEAN`].
const LOOSE: u64 = 1 << 46;

/// Cuts one stream after the other.
///
/// # Examples
///
/// ```ignore
/// let mut cutter = Cutter::new(7);
/// let mut pieces = cutter.push(Bytes::from(vec![0; 3 << 20]));
/// pieces.extend(cutter.finish());
/// assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), 3 << 20);
/// ```
pub struct Cutter {
    gear: Box<[u64; 256]>,
    /// Of the last 64 bytes of the piece, without the first [`MIN`].
    hash: u64,
    /// Bytes of the piece that have been looked at.
    length: usize,
    /// The piece's bytes of earlier blocks.
    carry: Vec<u8>,
}

impl Cutter {
    /// Streams are cut alike if they are cut with the same seed. Without the seed nobody can tell the cuts of a known
    /// file.
    pub fn new(seed: u64) -> Self {
        // All the entries are random to each other. An XOR of one table with the seed would keep their differences.
        let mut hasher = blake3::Hasher::new_derive_key("offsite 2026-11-28 gear of the cutter");
        hasher.update(&seed.to_le_bytes());
        let mut random = hasher.finalize_xof();
        let mut gear = Box::new([0; 256]);
        for entry in gear.iter_mut() {
            let mut bytes = [0; 8];
            random.fill(&mut bytes);
            *entry = u64::from_le_bytes(bytes);
        }
        Self { gear, hash: 0, length: 0, carry: Vec::new() }
    }

    /// Takes the next block of the stream. Returns the pieces that end in it, in order.
    ///
    /// A piece that lies within the block shares its memory, so the block is held as long as such a piece. Other pieces
    /// are copied, and so is the rest of the block, which is kept for the next one.
    pub fn push(&mut self, block: Bytes) -> Vec<Bytes> {
        let mut pieces = Vec::with_capacity(block.len() / MEAN);
        let mut rest = block;
        while let Some(length) = self.find(&rest) {
            let end = rest.split_to(length);
            pieces.push(if self.carry.is_empty() {
                end
            } else {
                self.carry.extend_from_slice(&end);
                std::mem::take(&mut self.carry).into()
            });
        }
        self.carry.extend_from_slice(&rest);
        pieces
    }

    /// Ends the stream. Returns its last piece, unless the stream ended with the piece before. The next block begins
    /// another stream.
    pub fn finish(&mut self) -> Option<Bytes> {
        (self.hash, self.length) = (0, 0);
        let last = std::mem::take(&mut self.carry);
        (!last.is_empty()).then(|| last.into())
    }

    /// Number of bytes of `bytes` that belong to the piece if it ends in them.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = MIN.saturating_sub(self.length).min(bytes.len());
        self.length += at;
        for (end, below) in [(MEAN, STRICT), (MAX, LOOSE)] {
            let part = &bytes[at..];
            let part = &part[..end.saturating_sub(self.length).min(part.len())];
            let found = self.scan(part, below);
            let seen = found.unwrap_or(part.len());
            (at, self.length) = (at + seen, self.length + seen);
            if found.is_some() || self.length == MAX {
                (self.hash, self.length) = (0, 0);
                return Some(at);
            }
        }
        None
    }

    /// Takes bytes into the hash up to the first one after which it is small enough.
    fn scan(&mut self, bytes: &[u8], below: u64) -> Option<usize> {
        let mut hash = self.hash;
        let found = bytes.iter().position(|byte| {
            hash = (hash << 1).wrapping_add(self.gear[usize::from(*byte)]);
            hash < below
        });
        self.hash = hash;
        found.map(|at| at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn random(seed: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    /// The pieces of a stream in blocks of these sizes, again and again.
    fn pieces(seed: u64, bytes: &[u8], sizes: &[usize]) -> Vec<Bytes> {
        let mut cutter = Cutter::new(seed);
        let mut rest = Bytes::copy_from_slice(bytes);
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            pieces.extend(cutter.push(rest.split_to((*size).min(rest.len()))));
            assert!(cutter.carry.len() < MAX);
        }
        pieces.extend(cutter.finish());
        pieces
    }

    fn lengths(pieces: &[Bytes]) -> Vec<usize> {
        pieces.iter().map(Bytes::len).collect()
    }

    fn new_bytes(old: &[Bytes], new: &[Bytes]) -> usize {
        let known: HashSet<_> = old.iter().map(|piece| blake3::hash(piece)).collect();
        new.iter().filter(|piece| !known.contains(&blake3::hash(piece))).map(Bytes::len).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn blocks_do_not_move_cuts(seed: u64, length in 0usize..6 << 20, sizes in prop::collection::vec(1usize..3 << 20, 1..6), small in 1usize..5000) {
            let bytes = random(seed, length);
            let whole = pieces(seed, &bytes, &[usize::MAX]);
            prop_assert_eq!(whole.concat(), &bytes[..]);
            let (last, others) = whole.split_last().map_or((None, &[][..]), |(last, others)| (Some(last), others));
            prop_assert!(others.iter().all(|piece| (MIN + 1..=MAX).contains(&piece.len())));
            prop_assert!(last.is_none_or(|piece| (1..=MAX).contains(&piece.len())));
            prop_assert_eq!(&pieces(seed, &bytes, &sizes), &whole);
            prop_assert_eq!(&pieces(seed, &bytes, &[small]), &whole);
        }
    }

    #[test]
    fn a_small_change_makes_few_new_bytes() {
        const KIB4: usize = 4 << 10;
        let bytes = random(1, 64 << 20);
        let old = pieces(7, &bytes, &[8 << 20]);
        let at = 20 << 20;
        let changes = [
            ("overwritten", [&bytes[..at], &random(2, KIB4), &bytes[at + KIB4..]].concat()),
            ("inserted", [&bytes[..at], &random(2, KIB4), &bytes[at..]].concat()),
            ("removed", [&bytes[..at], &bytes[at + KIB4..]].concat()),
        ];
        for (what, changed) in changes {
            let new = new_bytes(&old, &pieces(7, &changed, &[8 << 20]));
            assert!((1..=2 << 20).contains(&new), "{what}: {new}");
        }
    }

    #[test]
    fn pieces_of_zeros_are_alike() {
        let zeros = pieces(7, &vec![0; 9 << 20], &[1 << 20]);
        assert!(zeros.len() > 3 && lengths(&zeros)[..zeros.len() - 1].iter().all(|length| *length == zeros[0].len()));
    }

    #[test]
    fn an_empty_stream_has_no_piece() {
        let mut cutter = Cutter::new(7);
        assert!(cutter.push(Bytes::new()).is_empty() && cutter.finish().is_none());
    }

    /// What a destination has must be found by every later version.
    #[test]
    fn the_cuts_stay_where_they_are() {
        let bytes = random(3, 4 << 20);
        let cuts = lengths(&pieces(7, &bytes, &[1 << 20]));
        assert_eq!(cuts, [1_019_491, 995_802, 227_939, 268_520, 560_166, 1_122_386]);
        assert_ne!(lengths(&pieces(8, &bytes, &[1 << 20])), cuts);
    }

    #[test]
    fn a_cutter_forgets_the_stream_before() {
        let bytes = Bytes::from(random(4, 3 << 20));
        let mut cutter = Cutter::new(7);
        let mut cut = || {
            let mut found = cutter.push(bytes.clone());
            found.extend(cutter.finish());
            found
        };
        let first = cut();
        assert_eq!(first, cut());
        // Pieces within a block are not copied.
        assert_eq!(first[0].as_ptr(), bytes.as_ptr());
    }
}
