//! The lines of a spooled plan.

use serde::{Deserialize, Serialize};

use crate::model::Change;

/// One line of a spooled plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The change.
    pub step: Change,
    /// The destinations that read this file's content, as a bit mask of their indices.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub readers: u64,
    /// The content is made while it is sent, see `dump.rs`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dump: bool,
    /// The tree may take the name of this entry and that of another for one. Whether the entry gets its own name is not
    /// decided yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub twin: bool,
}

impl Line {
    /// A step whose content the destinations in `readers` read.
    pub fn new(step: Change, readers: u64) -> Self {
        Self { step, readers, dump: false, twin: false }
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
