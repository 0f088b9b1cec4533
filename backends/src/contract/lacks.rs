//! What a store turned out not to do, and is spared from then on.
//!
//! Owns the list of such things and their names. Each has a way around it in the backend that meets it; this only
//! remembers. Invariant: a [`Lack`] is noted only after the way around it was gone with success.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// One thing that most stores of a kind do and this one does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// A part of an object is asked for, and the answer does not say that it is one: cut out here.
    Ranges,
    /// Checksums of what is put are refused: sent without.
    Checksums,
    /// Many objects cannot be deleted by one request: deleted one by one.
    BulkDelete,
    /// Objects cannot be copied on the server: copied through this machine.
    Copies,
    /// A copy is refused that may replace one content and no other: copied over whatever is there.
    CopyConditions,
    /// The same for the end of an upload in parts.
    UploadConditions,
}

impl Lack {
    /// All there are, in the order in which they are named.
    pub const ALL: [Self; 6] =
        [Self::Ranges, Self::Checksums, Self::BulkDelete, Self::Copies, Self::CopyConditions, Self::UploadConditions];

    /// Its name in `format.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ranges => "ranges",
            Self::Checksums => "checksums",
            Self::BulkDelete => "bulk-delete",
            Self::Copies => "copies",
            Self::CopyConditions => "copy-conditions",
            Self::UploadConditions => "upload-conditions",
        }
    }

    /// The lack of that name; none for one that a newer program wrote.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lack| lack.name() == name)
    }

    /// What it means for the user, as the rest of a sentence that begins with the store.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ranges => {
                "answers a request for a part of an object with the whole object, so reading one file may fetch more than that file"
            }
            Self::Checksums => "takes no checksum with an upload (as with checksum=none in the URL), so it does not check what arrives",
            Self::BulkDelete => "cannot delete many objects at once, so each deletion is a request",
            Self::Copies => "cannot copy objects, so a renamed file and the old version of a changed one go through this machine",
            Self::CopyConditions => "cannot tie a copy to what it replaces, so only the lease keeps two writers apart there",
            Self::UploadConditions => {
                "cannot tie the end of a large upload to what it replaces, so only the lease keeps two writers apart there"
            }
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of [`Lack`]s that many tasks may add to.
#[derive(Debug, Default)]
pub struct Lacks(AtomicU8);

impl Lacks {
    /// Adds one.
    pub fn note(&self, lack: Lack) {
        self.0.fetch_or(1 << lack as u8, Relaxed);
    }

    /// Whether it was noted.
    pub fn has(&self, lack: Lack) -> bool {
        self.0.load(Relaxed) & (1 << lack as u8) != 0
    }

    /// Those that were noted so far, in order.
    pub fn list(&self) -> Vec<Lack> {
        Lack::ALL.into_iter().filter(|lack| self.has(*lack)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_unknown_ones_are_passed_over() {
        for lack in Lack::ALL {
            assert_eq!(Lack::named(lack.name()), Some(lack));
        }
        assert_eq!(Lack::named("telepathy"), None);
    }

    #[test]
    fn what_was_noted_is_listed_once_and_in_order() {
        let lacks = Lacks::default();
        for lack in [Lack::Copies, Lack::Ranges, Lack::Copies] {
            lacks.note(lack);
        }
        assert_eq!(lacks.list(), [Lack::Ranges, Lack::Copies]);
    }
}
