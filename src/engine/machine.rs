//! The machine that a verb runs on, and the name of this program.

use std::path::PathBuf;

/// What the engine has to know of the machine it runs on.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Where caches, journals and spools go.
    pub cache_dir: PathBuf,
    /// For snapshots and leases.
    pub host: String,
}

/// Name and version of this program, for what it writes.
pub const PROGRAM: &str = concat!("offsite ", env!("CARGO_PKG_VERSION"));
