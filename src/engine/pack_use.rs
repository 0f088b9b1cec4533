//! How much of each pack of a packed destination the newest snapshot uses.
//!
//! Owns the pass over the newest manifest that tells. It reads the cache of this machine only. Invariants: memory does
//! not grow with the number of entries. What is not known counts as used, so a pack that is in use throughout never
//! looks unused.

use crate::engine::destination::Destination;
use crate::error::Result;
use crate::model::{Content, Hash};
use crate::packs::{StoredPack, StoredPacks};
use crate::spool::{Joined, Sorted, Sorter};
use serde::{Deserialize, Serialize};

/// Stands for the frame of a use that counts as it is, beyond every frame.
const SHARE: u64 = u32::MAX as u64;

/// A pack that the newest snapshot names.
#[derive(Debug, Clone, Copy)]
pub struct PackUse {
    /// Its name, length and time.
    pub stored: StoredPack,
    /// How many of its bytes the newest snapshot uses.
    pub living: u64,
}

impl PackUse {
    /// Bytes that nothing in the newest snapshot uses.
    pub fn dead(&self) -> u64 {
        self.stored.bytes.saturating_sub(self.living)
    }
}

/// Hands every packed content of the newest manifest to `take`, with its size.
///
/// # Errors
/// Those of `take`, and of reading the cache.
pub fn each_content(destination: &Destination, mut take: impl FnMut(u64, &Content) -> Result<()>) -> Result<()> {
    let mut base = destination.base()?;
    while let Some(known) = base.peek()? {
        let entry = known.entry()?;
        base.advance();
        if let Some(content) = entry.content.as_ref().filter(|content| content.is_packed()) {
            take(entry.size, content)?;
        }
    }
    Ok(())
}

/// What this machine knows of the packs of a destination. Packs that are noted now get the time of the store.
pub fn stored(destination: &Destination) -> StoredPacks {
    let now = destination.backend.meter().clock().unwrap_or_else(chrono::Utc::now);
    StoredPacks::of(&destination.dir, now.timestamp())
}

/// Hands every pack that the newest snapshot names to `take`, in order of the names. Returns how many of them this
/// machine does not know the length of. Those are left out. Blocks.
///
/// # Errors
/// Those of `take`, and of reading or writing the cache.
pub fn each_pack(destination: &Destination, mut take: impl FnMut(PackUse) -> Result<()>) -> Result<u64> {
    let mut stored = Joined::new(stored(destination).sorted(&destination.dir)?)?;
    let mut uses = uses(destination)?;
    let (mut tally, mut unknown) = (None::<PackTally>, 0);
    loop {
        let next = uses.next_sorted()?;
        let same = tally.as_ref().zip(next.as_ref()).is_some_and(|(tally, next)| tally.pack == next.pack());
        if !same && let Some(ended) = tally.take() {
            match stored.meet(&ended.pack.0)? {
                Some(stored) => take(PackUse { stored, living: ended.living_of(&stored).min(stored.bytes) })?,
                None => unknown += 1,
            }
        }
        let Some(next) = next else { return Ok(unknown) };
        tally.get_or_insert_with(|| PackTally::of(next.pack())).add(&next);
    }
}

/// A use of a frame. The key is the pack, the frame and where its piece begins, so two uses of one piece are one.
#[derive(Debug, Serialize, Deserialize)]
struct FrameUse {
    key: String,
    size: u64,
    length: u64,
}

impl FrameUse {
    fn new(pack: &Hash, frame: u64, skip: u64, size: u64, length: u64) -> Self {
        Self { key: format!("{pack}{frame:08x}{skip:08x}"), size, length }
    }

    fn pack(&self) -> Hash {
        let hash = self.key.get(..64).and_then(|hex| blake3::Hash::from_hex(hex).ok());
        hash.map_or(Hash([0; 32]), |hash| Hash(*hash.as_bytes()))
    }

    fn number(&self, from: usize) -> u64 {
        self.key.get(from..from + 8).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
    }
}

/// Every use of a frame in the newest manifest, by pack and place.
fn uses(destination: &Destination) -> Result<Sorted<FrameUse>> {
    let mut sorter = Sorter::new(&destination.dir, |one: &FrameUse| one.key.as_bytes());
    each_content(destination, |size, content| {
        if let Some(at) = &content.at {
            sorter.push(&FrameUse::new(&at.pack, at.frame, at.skip, size, at.length))?;
        }
        for piece in &content.pieces {
            sorter.push(&FrameUse::new(&piece.pack, piece.frame, piece.skip, piece.size, piece.length))?;
        }
        for list in &content.lists {
            sorter.push(&FrameUse::new(&list.pack, list.frame, 0, list.raw, list.length))?;
            for (index, (pack, end)) in list.packs.iter().enumerate() {
                // Two files with the same list count once.
                let number = u64::from_le_bytes(list.hash.0.first_chunk().copied().unwrap_or_default());
                // What is not said is at most as far as its frames reach.
                let used = list.used.get(index).copied().unwrap_or(*end);
                sorter.push(&FrameUse::new(pack, SHARE, number, used, used.min(*end)))?;
            }
        }
        Ok(())
    })?;
    sorter.finish()
}

/// The uses of one pack.
struct PackTally {
    pack: Hash,
    /// Bytes of its pieces in use, unpacked.
    raw: u64,
    /// Bytes of its frames in use, those of the last one excluded.
    living: u64,
    frame: Option<u64>,
    /// Length of the frame in the pack, and of the used parts of what it holds.
    length: u64,
    covered: u64,
    /// How far the last part reaches. Nobody says how long the frame is beyond that.
    reach: u64,
}

impl PackTally {
    fn of(pack: Hash) -> Self {
        Self { pack, raw: 0, living: 0, frame: None, length: 0, covered: 0, reach: 0 }
    }

    fn add(&mut self, one: &FrameUse) {
        let (frame, skip) = (one.number(64), one.number(72));
        self.raw = self.raw.saturating_add(one.size);
        if frame == SHARE {
            self.living = self.living.saturating_add(one.length);
            return;
        }
        if self.frame != Some(frame) {
            self.living = self.living();
            (self.frame, self.covered, self.reach) = (Some(frame), 0, 0);
        }
        let end = skip.saturating_add(one.size);
        self.length = one.length;
        self.covered += end.saturating_sub(skip.max(self.reach));
        self.reach = self.reach.max(end);
    }

    /// The bytes of frames that are used so far.
    fn living(&self) -> u64 {
        self.living.saturating_add(share(self.length, self.covered, self.reach))
    }

    /// The bytes of the pack that are used: by what of its pieces is in use, if their length is known.
    fn living_of(&self, stored: &StoredPack) -> u64 {
        match stored.raw {
            0 => self.living(),
            raw => share(stored.bytes, self.raw, raw),
        }
    }
}

/// `part` of `whole`, in bytes of `all`.
fn share(all: u64, part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(all) * u128::from(part) / u128::from(whole.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_counts_by_what_of_it_is_used() {
        let pack = Hash::of(b"pack");
        let mut tally = PackTally::of(pack);
        // Of 1,000 unpacked bytes, 100 and 300 are used. The first use is named twice, but that is one key.
        for (skip, size) in [(100, 100), (700, 300)] {
            tally.add(&FrameUse::new(&pack, 24, skip, size, 500));
        }
        assert_eq!(tally.living(), 200);
        // A frame of one piece, and what a list says.
        tally.add(&FrameUse::new(&pack, 900, 0, 5_000, 4_000));
        tally.add(&FrameUse::new(&pack, SHARE, 7, 20, 10));
        assert_eq!((tally.living(), FrameUse::new(&pack, 24, 5, 1, 1).pack()), (4_210, pack));
        // By the pieces: 100, 300, 5,000 and 20 of 10,840 bytes.
        let stored = StoredPack { pack, bytes: 8_000, raw: 10_840, written: 0 };
        assert_eq!(tally.living_of(&stored), 4_000);
    }

    #[test]
    fn a_frame_that_is_used_throughout_counts_whole() {
        let pack = Hash::of(b"pack");
        let mut tally = PackTally::of(pack);
        for skip in 0..40 {
            tally.add(&FrameUse::new(&pack, 24, skip * 3_000, 3_000, 77_777));
        }
        assert_eq!(tally.living(), 77_777);
    }
}
