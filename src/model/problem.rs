//! The record of one problem with one path.

use serde::{Deserialize, Serialize};

use super::path::RelPath;

/// A path and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Problem {
    /// The path.
    pub path: RelPath,
    /// What is wrong, for people. The text is not stable.
    pub problem: String,
}
