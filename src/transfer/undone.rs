//! What could not be done at a tree, entry by entry, while the rest continued.
//!
//! Owns the decision whether an error of a tree concerns one entry, which is noted, or the whole tree, which ends the
//! work. Owns the words for each. Each path is noted once, with its first problem. A consequence of that (a directory
//! that could not be created has no mode to set) is not listed again.

use std::collections::HashMap;

use offsite_backends::{Error as StoreError, ErrorKind, Unset};

use crate::error::Error;
use crate::model::{Hash, Problem, RelPath};

/// Why a step was not done.
#[derive(Debug)]
pub enum Why {
    /// The tree refused the entry.
    Refused(StoreError),
    /// The entry exists, without this attribute.
    Unset(Unset),
    /// The content of the file could not be read.
    Content(Error),
    /// The entry exists, as a file of its own instead of a hard link.
    Unlinked {
        /// The file that it should be a link to.
        first: RelPath,
        /// Why it is none. None if `first` itself could not be restored.
        error: Option<StoreError>,
    },
}

/// The steps that were not done, in the order in which they failed.
#[derive(Debug, Default)]
pub struct Undone {
    list: Vec<(RelPath, Why)>,
    /// Index of a path in the list.
    known: HashMap<Hash, usize>,
}

impl Undone {
    /// Whether nothing is noted.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether a problem of this path (without a final slash) is noted.
    pub fn has(&self, path: &[u8]) -> bool {
        self.why(path).is_some()
    }

    /// The problem that is noted for this path (without a final slash).
    pub fn why(&self, path: &[u8]) -> Option<&Why> {
        let (_, why) = self.list.get(*self.known.get(&Hash::of(path))?)?;
        Some(why)
    }

    /// All notes, in order.
    pub fn reasons(&self) -> impl Iterator<Item = &(RelPath, Why)> {
        self.list.iter()
    }

    /// Notes a problem, unless the path already has one. A final slash of the path is ignored.
    pub fn note(&mut self, path: &[u8], why: Why) {
        let bare = path.strip_suffix(b"/").unwrap_or(path);
        let hash = Hash::of(bare);
        if !self.known.contains_key(&hash) {
            self.known.insert(hash, self.list.len());
            self.list.push((bare.into(), why));
        }
    }

    /// Takes the result of a tree for one entry. `None` if the tree refused that entry, which is noted.
    ///
    /// # Errors
    /// An error that concerns the whole tree: it is full, read-only or missing.
    pub fn take<T>(&mut self, path: &[u8], done: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(error) if error.concerns_destination() => Err(error),
            Err(error) => {
                self.note(path, Why::Refused(error));
                Ok(None)
            }
        }
    }

    /// Notes the attributes that an entry lacks.
    pub fn unset(&mut self, path: &[u8], unset: Vec<Unset>) {
        unset.into_iter().for_each(|unset| self.note(path, Why::Unset(unset)));
    }

    /// For callers that accept no refusal: fails if an entry was refused.
    ///
    /// # Errors
    /// The first refusal.
    pub fn strict(self) -> Result<(), StoreError> {
        let refused = self.list.into_iter().find_map(|(_, why)| match why {
            Why::Refused(error) => Some(error),
            Why::Unset(_) | Why::Content(_) | Why::Unlinked { .. } => None,
        });
        refused.map_or(Ok(()), Err)
    }

    /// The notes in words. `gone` is the number of the restored snapshot if it expired meanwhile. A missing content of
    /// it then counts as expired, not as damaged.
    pub fn into_problems(self, gone: Option<u64>) -> Vec<Problem> {
        self.list.into_iter().map(|(path, why)| Problem { path, problem: why.words(gone) }).collect()
    }
}

/// The attributes that an entry lacks, in words.
pub fn unset_problems(path: &RelPath, unset: &[Unset]) -> impl Iterator<Item = Problem> {
    unset.iter().map(|unset| Problem { path: path.clone(), problem: unset_words(unset) })
}

fn unset_words(unset: &Unset) -> String {
    format!("stored without its attribute {}: {}", RelPath::from(&unset.name[..]).display(), unset.why)
}

impl Why {
    fn words(&self, gone: Option<u64>) -> String {
        match (self, gone) {
            (Self::Refused(error), _) => refused(error),
            (Self::Unset(unset), _) => unset_words(unset),
            (Self::Content(error), Some(number)) if is_loss(error) => format!("its content expired with snapshot {number}"),
            (Self::Content(error), _) => error.to_string(),
            (Self::Unlinked { first, error: None }, _) => {
                format!("it is a file of its own and not a hard link to {first}, which could not be restored")
            }
            (Self::Unlinked { first, error: Some(error) }, _) => {
                format!("it is a file of its own and not a hard link to {first}: {}", refused(error))
            }
        }
    }
}

/// Whether an error says that a content is missing or is another one.
fn is_loss(error: &Error) -> bool {
    matches!(error, Error::Damaged { .. }) || matches!(error.kind(), Some(ErrorKind::NotFound | ErrorKind::Precondition))
}

/// The words for an entry that a tree refused. The path is printed before them.
fn refused(error: &StoreError) -> String {
    match error.kind {
        ErrorKind::Denied => {
            format!("it may not be changed ({}); check its owner, and with `lsattr` whether it is immutable", error.message)
        }
        _ => error.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> StoreError {
        StoreError::new(kind, "/t/x", "no")
    }

    #[test]
    fn one_entry_is_noted_once_and_a_place_ends_it() {
        let mut undone = Undone::default();
        assert!(undone.take(b"d", Err::<(), _>(error(ErrorKind::Exists))).unwrap().is_none());
        assert!(undone.take(b"d/", Err::<(), _>(error(ErrorKind::NotFound))).unwrap().is_none());
        assert_eq!(undone.take(b"e", Ok(7)).unwrap(), Some(7));
        assert!(undone.take(b"f", Err::<(), _>(error(ErrorKind::Full))).is_err());
        assert!(undone.has(b"d") && !undone.has(b"f"));
        assert_eq!(undone.into_problems(None), [Problem { path: b"d".as_slice().into(), problem: "no".into() }]);
    }

    #[test]
    fn what_went_with_its_snapshot_is_not_damaged() {
        let mut undone = Undone::default();
        undone.note(b"a", Why::Content(Error::damaged("a", "BLAKE3 differs")));
        undone.note(b"b", Why::Content(error(ErrorKind::Archived).into()));
        let words: Vec<String> = undone.into_problems(Some(3)).into_iter().map(|p| p.problem).collect();
        assert_eq!(words, ["its content expired with snapshot 3", "/t/x: no"]);
    }
}
