//! What this machine knows of the packs of a destination: how long each is, and when it was written.
//!
//! Owns the file `packs` in the cache of the destination, to which each run appends the packs that arrived. It is a
//! cache: packs that another machine wrote are missing in it until a listing adds them. Of several records of one pack
//! the last counts.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::Hash;
use crate::spool::{Reader, Sorted, Sorter, Writer};

/// Length of a record at most, in bytes.
const RECORD: u64 = 192;

/// A pack at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPack {
    /// Its name.
    pub pack: Hash,
    /// Length of its object in bytes.
    pub bytes: u64,
    /// Length of its pieces together, unpacked. 0 if that is not known, because another machine wrote it.
    #[serde(default)]
    pub raw: u64,
    /// When it was written, by the store's clock, in seconds since 1970.
    pub written: i64,
}

/// The packs of one destination.
#[derive(Debug)]
pub struct StoredPacks {
    path: PathBuf,
    now: i64,
    out: Option<Writer<StoredPack>>,
}

impl StoredPacks {
    /// Those in the cache directory of a destination. `now` is the time of packs that are noted.
    pub fn of(cache: &Path, now: i64) -> Self {
        Self { path: cache.join("packs"), now, out: None }
    }

    /// Notes a pack that arrived.
    ///
    /// # Errors
    /// [`crate::error::Error::Local`] if the file cannot be written.
    pub fn note(&mut self, pack: Hash, bytes: u64, raw: u64) -> Result<()> {
        let record = StoredPack { pack, bytes, raw, written: self.now };
        if self.out.is_none() {
            self.out = Some(Writer::append(&self.path)?);
        }
        match &mut self.out {
            Some(out) => out.push(&record).and_then(|()| out.flush()),
            None => Ok(()),
        }
    }

    /// All packs, by name. `spill` is a directory for sorting. What cannot be read is missing.
    ///
    /// # Errors
    /// [`crate::error::Error::Local`] if a file in `spill` cannot be written or read.
    pub fn sorted(&self, spill: &Path) -> Result<Sorted<StoredPack>> {
        let mut sorter = Sorter::new(spill, |stored: &StoredPack| &stored.pack.0[..]);
        if let Ok(mut records) = Reader::<StoredPack>::open(&self.path) {
            while let Ok(Some(record)) = records.next_line() {
                sorter.push(&record)?;
            }
        }
        sorter.finish()
    }

    /// Whether the file has far more than so many records.
    pub fn is_longer_than(&self, records: u64) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|file| file.len() > records.saturating_mul(RECORD))
    }

    /// Replaces all records by those that `write` pushes.
    ///
    /// # Errors
    /// Those of `write`, and [`crate::error::Error::Local`] if the file cannot be written.
    pub fn replace(&mut self, write: impl FnOnce(&mut Writer<StoredPack>) -> Result<()>) -> Result<()> {
        self.out = None;
        let fresh = self.path.with_extension("new");
        let mut out = Writer::create(&fresh)?;
        write(&mut out)?;
        out.flush()?;
        std::fs::rename(&fresh, &self.path).map_err(|e| crate::error::Error::cache(&self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_of_a_pack_counts_and_a_torn_line_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (Hash::of(b"one"), Hash::of(b"two"));
        let mut stored = StoredPacks::of(dir.path(), 7);
        stored.note(one, 1, 10).unwrap();
        stored.note(two, 2, 20).unwrap();
        let mut later = StoredPacks::of(dir.path(), 9);
        later.note(one, 3, 30).unwrap();
        let all = |stored: &StoredPacks| {
            let mut sorted = stored.sorted(dir.path()).unwrap();
            std::iter::from_fn(|| sorted.next_sorted().unwrap()).map(|s| (s.pack, s.bytes, s.written)).collect::<Vec<_>>()
        };
        let mut want = vec![(one, 3, 9), (two, 2, 7)];
        want.sort();
        assert_eq!(all(&later), want);
        std::fs::write(dir.path().join("packs"), "{\"pack\":\"").unwrap();
        assert_eq!(all(&later), []);
        later.replace(|out| out.push(&StoredPack { pack: two, bytes: 5, raw: 0, written: 1 })).unwrap();
        assert_eq!(all(&later), [(two, 5, 1)]);
        assert!(!later.is_longer_than(1) && later.is_longer_than(0));
    }
}
