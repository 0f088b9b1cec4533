//! The names at the top of a destination that was never synced to.

use std::collections::BTreeSet;

use crate::model::folded;

/// Names of others at the top of a place.
#[derive(Debug, Default)]
pub struct TopNames {
    pub names: BTreeSet<Vec<u8>>,
    /// The disk there takes names for one that differ in case: these are folds.
    pub folded: bool,
}

impl TopNames {
    /// Whether a name is among them.
    pub fn has(&self, name: &[u8]) -> bool {
        if self.folded { self.names.contains(&folded(name)) } else { self.names.contains(name) }
    }
}
