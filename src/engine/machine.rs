//! The machine that a verb runs on, and the name of this program.

use std::path::PathBuf;

/// What the engine needs to know about the machine it runs on.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Directory for caches, journals and spools. The engine creates it, readable for this user only.
    pub cache_dir: PathBuf,
    /// Name of the host, for snapshots, leases and run records.
    pub host: String,
}

/// Name and version of this program, as snapshots and records have it.
pub const PROGRAM: &str = concat!("offsite ", env!("CARGO_PKG_VERSION"));
