//! The options of a copy.

use std::ops::RangeInclusive;

use crate::engine::sync::options::SyncOptions;

/// Which snapshots to copy. Only those that the new destination does not have are copied in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CopySelection {
    /// All.
    #[default]
    All,
    /// This many of the newest ones.
    Last(u64),
    /// Those with these numbers.
    Numbers(Vec<RangeInclusive<u64>>),
}

/// How to copy.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// How to write: layout, sealing, guard, limits. What is about a source directory or retention does not count.
    pub writing: SyncOptions,
    /// Which snapshots.
    pub select: CopySelection,
    /// Copy a snapshot without the files whose contents are lost, instead of stopping before it.
    pub skip_damaged: bool,
    /// Only find out which snapshots would be copied.
    pub dry_run: bool,
}

impl CopySelection {
    /// Whether the snapshot is selected. `newer` counts the snapshots after it.
    pub fn has(&self, number: u64, newer: u64) -> bool {
        match self {
            Self::All => true,
            Self::Last(count) => newer < *count,
            Self::Numbers(ranges) => ranges.iter().any(|range| range.contains(&number)),
        }
    }
}
