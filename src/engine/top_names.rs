//! The names at the top of a destination that was never synced to.

use std::collections::BTreeSet;

use crate::model::folded;

/// Foreign names at the top of a destination.
#[derive(Debug, Default)]
pub struct TopNames {
    /// The names, as the store has them, or folded.
    pub names: BTreeSet<Vec<u8>>,
    /// The disk folds names; `names` are then folded.
    pub folded: bool,
}

impl TopNames {
    /// Whether a name is in the set, by the disk's rule.
    pub fn has(&self, name: &[u8]) -> bool {
        if self.folded { self.names.contains(&folded(name)) } else { self.names.contains(name) }
    }
}
