//! Which jobs of a config are selected, and where the values of variables come from.

use crate::containers::Volumes;

/// What `resolve` resolves, and with which values.
pub struct Selection<'a> {
    /// Names of jobs. Empty for all jobs.
    pub jobs: &'a [String],
    /// The type, from `--type`.
    pub kind: Option<&'a str>,
    /// Names and values, from `--set NAME=VALUE`.
    pub set: &'a [(String, String)],
    /// Looks up a variable of the environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Name of this machine.
    pub host: &'a str,
    /// The container engine, for sources that are volumes.
    pub volumes: &'a dyn Volumes,
}
