//! What a run that committed could not do.
//!
//! Owns warnings and their words; `note.rs` has what is no fault. Invariant: whether one makes a run less than whole is
//! told by its kind.

use std::fmt;

use serde::{Serialize, Serializer};

/// Something to be told of a run that committed; the text inside says why, or what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// Removals, or metadata of directories.
    NotCleanedUp(String),
    /// Old snapshots that are due.
    NotPruned(String),
    /// The lease stays until it expires.
    LeaseNotReleased(String),
    /// The record that `offsite status` reads.
    RunUnrecorded(String),
    /// The path below the source where the cache lies.
    OwnCache(String),
    /// The time of a copied snapshot.
    TimeNotNoted(String),
    /// Another host or another source wrote there before.
    Owner(String),
}

impl Warning {
    /// Whether the mirror is not yet what the snapshot says.
    pub fn is_unfinished(&self) -> bool {
        match self {
            Self::NotCleanedUp(_) | Self::TimeNotNoted(_) => true,
            Self::NotPruned(_) | Self::LeaseNotReleased(_) | Self::RunUnrecorded(_) | Self::OwnCache(_) | Self::Owner(_) => false,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCleanedUp(why) => write!(f, "committed, but not cleaned up ({why}); the next run does it"),
            Self::NotPruned(why) => write!(f, "expired snapshots were not deleted ({why}); the next run tries again"),
            Self::LeaseNotReleased(why) => write!(f, "the lease was not released ({why}); it expires by itself"),
            Self::OwnCache(path) => write!(f, "offsite's own cache is below the source and is always excluded: {path}"),
            Self::TimeNotNoted(why) => write!(f, "the time of the copied snapshot was not noted ({why}); the next copy does it"),
            Self::Owner(note) => f.write_str(note),
            Self::RunUnrecorded(why) => write!(f, "could not update the run record at the destination: {why}"),
        }
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
