//! The newest snapshot that this machine has seen at a destination.
//!
//! Owns the comparison with what the destination shows now: a store that hides newer snapshots, or offers another
//! history, is noticed. Sends no request.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::model::{Hash, Snapshot};

/// The newest snapshot that this machine has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Its number.
    pub number: u64,
    /// The hash of its object.
    pub hash: Hash,
    /// The tag of its object, if the store has tags.
    pub etag: Option<String>,
    /// The file in which this machine remembers it.
    pub file: PathBuf,
}

impl Remembered {
    /// Checks the highest number that a destination lists. A snapshot with the same number is not compared.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is lower than the number that this machine remembers.
    pub fn check_number(&self, url: &str, newest: u64) -> Result<()> {
        if newest < self.number { Err(self.refused(url, newest)) } else { Ok(()) }
    }

    /// Checks that the newest snapshot of a destination is the one that this machine remembers, or follows it.
    ///
    /// # Errors
    /// [`Error::Refused`] if it does not follow.
    pub fn check(&self, url: &str, newest: &Snapshot, hash: &Hash) -> Result<()> {
        let follows = match newest.number.cmp(&self.number) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => *hash == self.hash,
            std::cmp::Ordering::Greater => match newest.trail.iter().find(|(number, _)| *number == self.number) {
                Some((_, named)) => *named == self.hash,
                // The trail is full and begins later: it says nothing about that snapshot.
                None => newest.trail.first().is_some_and(|(first, _)| *first > self.number),
            },
        };
        if follows { Ok(()) } else { Err(self.refused(url, newest.number)) }
    }

    fn refused(&self, url: &str, newest: u64) -> Error {
        Error::Refused(vec![format!(
            "{url}: its newest snapshot {newest} does not follow snapshot {}, which this machine has seen; the store may offer an older \
             state; if you went back to that state yourself, delete {} and run again",
            self.number,
            self.file.display()
        )])
    }
}
