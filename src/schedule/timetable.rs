//! What is to be run, and when.

use std::path::PathBuf;

use super::times::Rhythm;

/// What to run, and when.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Tells several schedules of one machine apart; letters, digits and `-`.
    pub name: String,
    /// The program and its arguments; the program by its whole path.
    pub command: Vec<String>,
    /// The working directory: relative paths in the config start from it.
    pub directory: String,
    pub rhythm: Rhythm,
    /// Runs begin so much later, at random, in seconds.
    pub jitter: u64,
    pub sandbox: Sandbox,
    pub host: String,
}

/// What the service may write to; everything else is read-only.
#[derive(Debug, Clone, Default)]
pub struct Sandbox {
    /// Directories that jobs write to: destinations on this machine, the metrics' directory.
    pub writes: Vec<PathBuf>,
    /// A destination is a directory: copies get the modes of what they are copies of, set-id bits among them.
    pub copies: bool,
    /// Mail is sent, which `sendmail` puts into a spool.
    pub mails: bool,
    /// Jobs read or write below /tmp, so the service cannot have a private one.
    pub shares_tmp: bool,
    /// The units are a user's own, not the system's.
    pub of_user: bool,
}
