//! A change: the difference between a tree and a manifest at one path.
//!
//! Owns the shape of the steps of a plan. [`Stamps`] belong to this machine and leave it only in a saved plan.

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::hash::Hash;
use super::path::RelPath;
use super::time::Time;

/// What the file system records besides the metadata that a manifest keeps. It tells whether a file was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Stamps {
    /// Inode number.
    pub ino: u64,
    /// Time of the last change of the inode.
    pub ctime: Time,
}

/// Why a run reads a file of unchanged size again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnverifiedReason {
    /// Its mtime, ctime or inode differs, or it was written while the last scan ran.
    Stamps,
    /// The user asked for all files with `--checksum`.
    Asked,
    /// The file did not change. It is read to send its content again, out of a pack that is hardly used.
    Repack,
}

/// One step of a plan: `entry` is the new state, `old` the state in the last snapshot. The entry of a file that has not
/// been read yet has no content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum Change {
    /// The path is not in the last snapshot.
    Added {
        /// The new entry.
        entry: Entry,
        /// Stamps of the file in the source.
        stamps: Stamps,
    },
    /// The content differs for certain (size or kind). With `unverified` it may differ, and reading the file decides.
    Changed {
        /// The new entry.
        entry: Entry,
        /// Stamps of the file in the source.
        stamps: Stamps,
        /// The entry in the last snapshot.
        old: Entry,
        /// Why the file is unverified. `None` if its content differs for certain.
        #[serde(default, rename = "suspicion", skip_serializing_if = "Option::is_none")]
        unverified: Option<UnverifiedReason>,
    },
    /// Only metadata differs. No content is sent.
    Metadata {
        /// The new entry.
        entry: Entry,
        /// Stamps of the file in the source.
        stamps: Stamps,
        /// The entry in the last snapshot.
        old: Entry,
    },
    /// The path no longer exists.
    Removed {
        /// The entry in the last snapshot.
        old: Entry,
        /// A rename of the same plan uses its content under another path.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        moved: bool,
    },
    /// The path is not in the last snapshot, but the removed entry `from` had this content.
    Renamed {
        /// The new entry.
        entry: Entry,
        /// Stamps of the file in the source.
        stamps: Stamps,
        /// The entry in the last snapshot, under its old path.
        from: Entry,
    },
    /// Only this machine's stamps differ. The manifest does not change.
    Stamped {
        /// The path of the entry.
        path: RelPath,
        /// The new stamps.
        stamps: Stamps,
    },
}

impl Change {
    /// The path that the step is about. For a rename it is the new path.
    pub fn path(&self) -> &RelPath {
        match self {
            Self::Added { entry, .. } | Self::Changed { entry, .. } | Self::Metadata { entry, .. } | Self::Renamed { entry, .. } => {
                &entry.path
            }
            Self::Removed { old, .. } => &old.path,
            Self::Stamped { path, .. } => path,
        }
    }

    /// The new entry. `None` for a removed path, or if only the stamps differ.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Added { entry, .. } | Self::Changed { entry, .. } | Self::Metadata { entry, .. } | Self::Renamed { entry, .. } => {
                Some(entry)
            }
            Self::Removed { .. } | Self::Stamped { .. } => None,
        }
    }

    /// Whether it only moves a content into another pack.
    pub fn is_repack(&self) -> bool {
        matches!(self, Self::Changed { unverified: Some(UnverifiedReason::Repack), .. })
    }

    /// The hash of the old content. An unverified file that has it is unchanged.
    pub fn old_hash(&self) -> Option<Hash> {
        match self {
            Self::Changed { old, .. } | Self::Metadata { old, .. } => old.content.as_ref().map(|c| c.hash),
            _ => None,
        }
    }
}

/// Number of entries by kind of change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Counts {
    /// New entries.
    pub added: u64,
    /// Entries whose content or kind differs.
    pub changed: u64,
    /// Entries of which only the metadata differs.
    pub metadata: u64,
    /// Removed entries.
    pub removed: u64,
    /// Renamed files. The destination already has their content.
    pub renamed: u64,
    /// Entries without a difference.
    pub unchanged: u64,
    /// Sockets, pipes and devices, which are not backed up.
    pub skipped: u64,
}

impl Counts {
    /// Whether a run with these counts has anything to write.
    pub fn any(&self) -> bool {
        self.added + self.changed + self.metadata + self.removed + self.renamed > 0
    }
}
