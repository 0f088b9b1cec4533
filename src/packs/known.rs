//! What this machine knows of the pieces that a packed destination has.
//!
//! Owns the answer to "is this piece there already". The index can be older or newer than the newest snapshot, and it
//! can be deleted at any time. Invariant: a piece counts only if its pack is named by the newest snapshot or was written
//! by this run, because retention deletes all other packs.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::index::{Index, Record};
use crate::error::{Error, Result};
use crate::model::{Content, Hash, Piece};

/// An index with more than this many records for each that lives is made anew.
const STALE: u64 = 3;
/// Below this number of records an index is not worth making anew.
const FEW: u64 = 100_000;

/// The beginning of the name of a pack. It tells packs apart in half the memory.
type ShortName = [u8; 16];

fn short(pack: &[u8; 32]) -> ShortName {
    pack.first_chunk().copied().unwrap_or_default()
}

/// The pieces of one destination that a run can refer to.
pub struct KnownPieces {
    dir: PathBuf,
    stamp: [u8; 32],
    index: Index,
    living: HashSet<ShortName>,
    /// Living packs whose contents are sent again.
    retired: HashSet<ShortName>,
    made_anew: bool,
    /// A part of the index is damaged, so it is made anew by the next run.
    broken: bool,
}

impl KnownPieces {
    /// Opens the index of the destination with this `id`, in its cache directory. An index that is missing or damaged is
    /// made anew, and [`Self::is_new`] says so.
    ///
    /// # Errors
    /// [`Error::Local`] if the directory cannot be used.
    pub fn open(cache: &Path, id: &str) -> Result<Self> {
        let (dir, stamp) = (cache.join("pieces"), Hash::of(id.as_bytes()).0);
        let fail = |e| Error::cache(&dir, e);
        let (index, made_anew) = match Index::open(&dir, &stamp).map_err(fail)? {
            Some(index) => (index, false),
            None => (Index::create(&dir).map_err(fail)?, true),
        };
        Ok(Self { index, made_anew, living: HashSet::new(), retired: HashSet::new(), broken: false, dir, stamp })
    }

    /// Whether nothing was known, so that the pieces of the newest snapshot have to be noted.
    pub fn is_new(&self) -> bool {
        self.made_anew
    }

    /// Makes the index anew if it has far more records than the newest snapshot has pieces.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn renew_if_stale(&mut self, pieces: u64) -> Result<()> {
        if self.index.count() > FEW.max(pieces.saturating_mul(STALE)) {
            self.renew()?;
        }
        Ok(())
    }

    fn renew(&mut self) -> Result<()> {
        self.index = Index::create(&self.dir).map_err(|e| Error::cache(&self.dir, e))?;
        self.made_anew = true;
        Ok(())
    }

    /// Notes that the newest snapshot names this pack.
    pub fn lives(&mut self, pack: &Hash) {
        self.living.insert(short(&pack.0));
    }

    /// Whether a new snapshot may rely on all packs of a content that the newest one names.
    pub fn relies_on(&self, content: &Content) -> bool {
        content.packs().all(|pack| self.living.contains(&short(&pack.0)))
    }

    /// Notes that the pieces of this pack are to be sent again. It stays usable for entries that name it already.
    pub fn retire(&mut self, pack: &Hash) {
        self.retired.insert(short(&pack.0));
    }

    /// Whether a part of a content is in a pack whose pieces are to be sent again.
    pub fn is_retired(&self, content: &Content) -> bool {
        !self.retired.is_empty() && content.packs().any(|pack| self.retired.contains(&short(&pack.0)))
    }

    /// Where the destination has this piece, if a new snapshot may refer to it.
    ///
    /// # Errors
    /// As for [`Self::open`]. What lies in a damaged part of the index is not known.
    pub fn get(&mut self, hash: &Hash, size: u64) -> Result<Option<Piece>> {
        let found = match self.index.get(&hash.0) {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                self.broken = true;
                None
            }
            found => found.map_err(|e| Error::cache(&self.dir, e))?,
        };
        let usable = found.filter(|record| {
            let pack = short(&record.pack);
            u64::from(record.size) == size && self.living.contains(&pack) && !self.retired.contains(&pack)
        });
        Ok(usable.map(|record| Piece {
            size,
            hash: *hash,
            pack: Hash(record.pack),
            frame: u64::from(record.frame),
            length: u64::from(record.length),
            skip: u64::from(record.skip),
        }))
    }

    /// Notes a piece of a pack that the newest snapshot names or that this run has written.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn note(&mut self, piece: &Piece) -> Result<()> {
        self.lives(&piece.pack);
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let record = Record {
            hash: piece.hash.0,
            pack: piece.pack.0,
            frame: number(piece.frame),
            length: number(piece.length),
            skip: number(piece.skip),
            size: number(piece.size),
        };
        match self.index.insert(record) {
            // The damage was met while older records were merged.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                self.renew()?;
                self.broken = true;
                self.index.insert(record).map_err(|e| Error::cache(&self.dir, e))
            }
            inserted => inserted.map_err(|e| Error::cache(&self.dir, e)),
        }
    }

    /// Notes that these packs are deleted.
    pub fn forget(&mut self, packs: &[Hash]) {
        for pack in packs {
            self.living.remove(&short(&pack.0));
        }
    }

    /// Keeps what was noted for later runs.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn keep(&mut self) -> Result<()> {
        if self.broken {
            return self.renew();
        }
        match self.index.commit(&self.stamp) {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => self.renew(),
            kept => kept.map_err(|e| Error::cache(&self.dir, e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str, pack: &str) -> Piece {
        let hash = |text: &str| Hash::of(text.as_bytes());
        Piece { size: text.len() as u64, hash: hash(text), pack: hash(pack), frame: 24, length: 9, skip: 3 }
    }

    #[test]
    fn only_pieces_of_living_packs_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let mut known = KnownPieces::open(dir.path(), "id").unwrap();
        assert!(known.is_new());
        let (one, two) = (piece("one", "first"), piece("two", "second"));
        known.note(&one).unwrap();
        known.note(&two).unwrap();
        assert_eq!(known.get(&one.hash, 3).unwrap(), Some(one));
        assert_eq!(known.get(&one.hash, 4).unwrap(), None, "a piece of another length");
        known.keep().unwrap();

        let mut later = KnownPieces::open(dir.path(), "id").unwrap();
        assert!(!later.is_new() && later.get(&one.hash, 3).unwrap().is_none());
        later.lives(&two.pack);
        assert_eq!((later.get(&one.hash, 3).unwrap(), later.get(&two.hash, 3).unwrap()), (None, Some(two)));
        let content = Content { at: Some(two.place()), ..Content::new(two.hash, 1) };
        later.retire(&two.pack);
        assert_eq!(later.get(&two.hash, 3).unwrap(), None, "a retired pack");
        assert!(later.is_retired(&content) && later.relies_on(&content), "an entry may go on naming it");
        later.forget(&[two.pack]);
        assert_eq!(later.get(&two.hash, 3).unwrap(), None);
        assert!(!later.relies_on(&content));
        assert!(KnownPieces::open(dir.path(), "another id").unwrap().is_new());
    }
}
