//! The data of a schedule: what to run, when, and what it may write to.

use std::path::PathBuf;

use super::times::Rhythm;

/// What to run, and when.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Distinguishes the schedules of one machine. It has letters, digits and `-`.
    pub name: String,
    /// The program, by its absolute path, and its arguments.
    pub command: Vec<String>,
    /// The working directory. Relative paths in the config start from it.
    pub directory: String,
    /// When it runs.
    pub rhythm: Rhythm,
    /// Maximum random delay of a run, in seconds.
    pub jitter: u64,
    /// What the service may write to.
    pub sandbox: Sandbox,
    /// Name of this machine. It decides the delay in a crontab.
    pub host: String,
}

/// What the service may write to. Everything else is read-only.
#[derive(Debug, Clone, Default)]
pub struct Sandbox {
    /// Directories that jobs write to: destinations on this machine, the metrics' directory.
    pub writes: Vec<PathBuf>,
    /// A destination is a directory, so copies get the modes of their originals, including set-id bits.
    pub copies: bool,
    /// A job sends mail, which `sendmail` writes into a spool.
    pub mails: bool,
    /// Jobs read or write below /tmp, so the service cannot have a private one.
    pub shares_tmp: bool,
    /// The units belong to a user, not to the system.
    pub of_user: bool,
}
