//! What a run that ended has to tell beside its figures.
//!
//! Owns warnings and notes, and their words. Invariant: whether one makes a run less than whole is told by its kind.

use std::fmt;
use std::path::Path;

use serde::{Serialize, Serializer};

use crate::scan::{ExcludeReason, Filter, Idle};

/// Something to be told of a run that committed; the text inside says why, or what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// Removals, or metadata of directories.
    NotTidiedUp(String),
    /// Old snapshots that are due.
    NotPruned(String),
    LeaseNotGivenBack(String),
    /// The record that `offsite status` reads.
    WordNotLeft(String),
    /// The path below the source where the cache lies.
    OwnCache(String),
    /// Another host or another source wrote there before.
    Owner(String),
}

impl Warning {
    /// Whether the mirror is not yet what the snapshot says.
    pub fn is_unfinished(&self) -> bool {
        match self {
            Self::NotTidiedUp(_) => true,
            Self::NotPruned(_) | Self::LeaseNotGivenBack(_) | Self::WordNotLeft(_) | Self::OwnCache(_) | Self::Owner(_) => false,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTidiedUp(why) => write!(f, "committed, but not cleaned up ({why}); the next run does it"),
            Self::NotPruned(why) => write!(f, "expired snapshots were not deleted ({why}); the next run tries again"),
            Self::LeaseNotGivenBack(why) => write!(f, "the lease was not released ({why}); it expires by itself"),
            Self::OwnCache(path) => write!(f, "offsite's own cache is below the source and is always excluded: {path}"),
            Self::Owner(note) => f.write_str(note),
            Self::WordNotLeft(why) => write!(f, "could not update the run record at the destination: {why}"),
        }
    }
}

/// Something worth knowing that is no fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A rule of the filter that left nothing out, or took nothing.
    Idle(Idle),
    /// So many more of them.
    MoreIdle(usize),
}

impl Note {
    /// So many rules are named; a long list of patterns for all machines has many that fit none of them.
    const NAMED: usize = 5;

    /// What a filter has to tell after it was used on a whole tree.
    pub fn of(filter: &Filter, source: Option<&Path>) -> Vec<Self> {
        let (never, nothing): (Vec<_>, Vec<_>) = filter.idle(source).into_iter().partition(|idle| idle.why != ExcludeReason::Nothing);
        let more = nothing.len().saturating_sub(Self::NAMED);
        let named = never.into_iter().chain(nothing.into_iter().take(Self::NAMED)).map(Self::Idle);
        named.chain((more > 0).then_some(Self::MoreIdle(more))).collect()
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle(idle) => idle.fmt(f),
            Self::MoreIdle(more) => write!(f, "and {more} more patterns matched nothing"),
        }
    }
}

impl Serialize for Note {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
