//! What was left undone of a tree, entry by entry, while the rest went on.
//!
//! Owns the decision whether an answer of a tree is one entry's own trouble, which is noted, or the whole place's,
//! which ends the work; and the words for each. Each path is noted once, with the first thing that befell it: what
//! follows from that (a directory that could not be made has no mode to set) is not said again.

use std::collections::HashMap;

use offsite_backends::{Error as StoreError, ErrorKind, Unset};

use crate::error::Error;
use crate::model::{Hash, Problem, RelPath};

/// Why something was not done.
#[derive(Debug)]
pub enum Why {
    /// The tree refused it.
    Refused(StoreError),
    /// It is there, without this attribute.
    Unset(Unset),
    /// Its content cannot be had.
    Content(Error),
    /// It is there, as a file of its own and not as another name of this one.
    Unlinked { first: RelPath, error: Option<StoreError> },
}

/// A list of it, in the order in which it came up.
#[derive(Debug, Default)]
pub struct Undone {
    list: Vec<(RelPath, Why)>,
    /// Where in the list a path stands.
    known: HashMap<Hash, usize>,
}

impl Undone {
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether something of this path (without a final slash) is noted.
    pub fn has(&self, path: &[u8]) -> bool {
        self.why(path).is_some()
    }

    /// What is noted of it.
    pub fn why(&self, path: &[u8]) -> Option<&Why> {
        let (_, why) = self.list.get(*self.known.get(&Hash::of(path))?)?;
        Some(why)
    }

    /// Every note so far.
    pub fn reasons(&self) -> impl Iterator<Item = &(RelPath, Why)> {
        self.list.iter()
    }

    pub fn note(&mut self, path: &[u8], why: Why) {
        let bare = path.strip_suffix(b"/").unwrap_or(path);
        let hash = Hash::of(bare);
        if !self.known.contains_key(&hash) {
            self.known.insert(hash, self.list.len());
            self.list.push((bare.into(), why));
        }
    }

    /// What a tree answered about one entry: none if that entry was refused, which is noted.
    ///
    /// # Errors
    /// What concerns the whole place: it is full, read-only, gone.
    pub fn take<T>(&mut self, path: &[u8], done: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(error) if error.concerns_place() => Err(error),
            Err(error) => {
                self.note(path, Why::Refused(error));
                Ok(None)
            }
        }
    }

    /// Attributes that an entry came without.
    pub fn unset(&mut self, path: &[u8], unset: Vec<Unset>) {
        unset.into_iter().for_each(|unset| self.note(path, Why::Unset(unset)));
    }

    /// For who takes no entry's refusal: the first one.
    ///
    /// # Errors
    /// That refusal.
    pub fn strict(self) -> Result<(), StoreError> {
        let refused = self.list.into_iter().find_map(|(_, why)| match why {
            Why::Refused(error) => Some(error),
            Why::Unset(_) | Why::Content(_) | Why::Unlinked { .. } => None,
        });
        refused.map_or(Ok(()), Err)
    }

    /// The same in words. `gone` is the number of a snapshot that was let go meanwhile: then what could not be
    /// found of it is not damaged.
    pub fn into_problems(self, gone: Option<u64>) -> Vec<Problem> {
        self.list.into_iter().map(|(path, why)| Problem { path, problem: why.words(gone) }).collect()
    }
}

/// Attributes that an entry lies there without, in words.
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

/// Whether an error says that a content is not there, or not that content.
fn is_loss(error: &Error) -> bool {
    matches!(error, Error::Damaged { .. }) || matches!(error.kind(), Some(ErrorKind::NotFound | ErrorKind::Precondition))
}

/// A tree's refusal of one entry, whose path stands before it.
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
