//! Features that a store turned out to lack. Later requests do without them.
//!
//! Owns the list of these features and their names. The backend that meets a missing one has a workaround; this module only
//! remembers it. Invariant: a [`MissingFeature`] is noted only after the workaround has succeeded.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// One feature that most stores of a kind have and this one lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MissingFeature {
    /// The answer to a request for a part of an object does not say that it is a part. The backend cuts the part out.
    Ranges,
    /// The store refuses checksums of uploads. The backend sends none.
    Checksums,
    /// One request cannot delete many objects. The backend deletes them one by one.
    BulkDelete,
    /// The server cannot copy objects. The backend copies them through this machine.
    Copies,
    /// The store refuses a condition on the object that a copy replaces. The backend copies without one.
    CopyConditions,
    /// The same for the end of an upload in parts.
    UploadConditions,
}

impl MissingFeature {
    /// All of them, in the order in which they are named.
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

    /// The feature with this name; `None` for one that a newer program wrote.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feature| feature.name() == name)
    }

    /// What it means for the user, as the rest of a sentence whose subject is the store.
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

impl fmt::Display for MissingFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of [`MissingFeature`]s that several tasks can add to at once.
#[derive(Debug, Default)]
pub struct MissingFeatures(AtomicU8);

impl MissingFeatures {
    /// Adds one.
    pub fn note(&self, feature: MissingFeature) {
        self.0.fetch_or(1 << feature as u8, Relaxed);
    }

    /// Whether it was noted.
    pub fn has(&self, feature: MissingFeature) -> bool {
        self.0.load(Relaxed) & (1 << feature as u8) != 0
    }

    /// The features that were noted so far, in the order of [`MissingFeature::ALL`].
    pub fn list(&self) -> Vec<MissingFeature> {
        MissingFeature::ALL.into_iter().filter(|feature| self.has(*feature)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_unknown_ones_are_passed_over() {
        for feature in MissingFeature::ALL {
            assert_eq!(MissingFeature::named(feature.name()), Some(feature));
        }
        assert_eq!(MissingFeature::named("telepathy"), None);
    }

    #[test]
    fn what_was_noted_is_listed_once_and_in_order() {
        let missing = MissingFeatures::default();
        for feature in [MissingFeature::Copies, MissingFeature::Ranges, MissingFeature::Copies] {
            missing.note(feature);
        }
        assert_eq!(missing.list(), [MissingFeature::Ranges, MissingFeature::Copies]);
    }
}
