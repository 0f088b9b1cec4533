//! Which jobs of a config are asked for, and where variables come from.

use crate::containers::Volumes;

/// What is to be resolved, and with what.
pub struct Selection<'a> {
    /// Names of jobs; all if there are none.
    pub jobs: &'a [String],
    pub kind: Option<&'a str>,
    /// `--set NAME=VALUE`.
    pub set: &'a [(String, String)],
    pub env: &'a dyn Fn(&str) -> Option<String>,
    pub host: &'a str,
    pub volumes: &'a dyn Volumes,
}
