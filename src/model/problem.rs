//! A path and what was the matter with it.

use serde::{Deserialize, Serialize};

use super::path::RelPath;

/// A path and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Problem {
    pub path: RelPath,
    pub problem: String,
}
