//! A change: the difference between a tree and a manifest at one path.
//!
//! Owns the shape of the steps of a plan. [`Stamps`] belong to this machine and leave it only in a saved plan.

use serde::{Deserialize, Serialize};

use super::entry::{Entry, Hash};
use super::path::RelPath;
use super::time::Time;

/// What the file system says beside the metadata that is kept: enough to tell whether a file was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Stamps {
    pub ino: u64,
    pub ctime: Time,
}

/// Why a file of unchanged size is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Suspicion {
    /// Its mtime, ctime or inode moved, or it was written while the last scan ran.
    Stamps,
    /// `--checksum` looks at all.
    Asked,
}

/// One step of a plan. Entries of files that have not been read yet have no content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum Change {
    /// Not in the last snapshot.
    Added { entry: Entry, stamps: Stamps },
    /// Content differs for certain (size or kind), or, with `suspicion`, may differ: reading tells.
    Changed {
        entry: Entry,
        stamps: Stamps,
        old: Entry,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suspicion: Option<Suspicion>,
    },
    /// Only metadata differs; no content is sent.
    Metadata { entry: Entry, stamps: Stamps, old: Entry },
    /// No longer there.
    Removed {
        old: Entry,
        /// A rename of the same plan uses its content under another path.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        moved: bool,
    },
    /// Not in the last snapshot under this path, but `from` was removed and had this content.
    Renamed { entry: Entry, stamps: Stamps, from: Entry },
    /// Nothing that is kept differs, only this machine's stamps moved.
    Stamped { path: RelPath, stamps: Stamps },
}

impl Change {
    pub fn path(&self) -> &RelPath {
        match self {
            Self::Added { entry, .. } | Self::Changed { entry, .. } | Self::Metadata { entry, .. } | Self::Renamed { entry, .. } => {
                &entry.path
            }
            Self::Removed { old, .. } => &old.path,
            Self::Stamped { path, .. } => path,
        }
    }

    /// The entry as it is to be, if there is one.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Added { entry, .. } | Self::Changed { entry, .. } | Self::Metadata { entry, .. } | Self::Renamed { entry, .. } => {
                Some(entry)
            }
            Self::Removed { .. } | Self::Stamped { .. } => None,
        }
    }

    /// The hash that reading a suspect must yield for it to be unchanged.
    pub fn old_hash(&self) -> Option<Hash> {
        match self {
            Self::Changed { old, .. } | Self::Metadata { old, .. } => old.content.as_ref().map(|c| c.hash),
            _ => None,
        }
    }
}

/// How many entries of each kind of change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Counts {
    pub added: u64,
    pub changed: u64,
    pub metadata: u64,
    pub removed: u64,
    pub renamed: u64,
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
