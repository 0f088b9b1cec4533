//! What can go wrong in a run, by what the user can do about it.
//!
//! Owns the one error type of the engine and its exit codes. Texts say what happened, to which file or
//! URL, and what to do now.

use std::fmt;
use std::path::{Path, PathBuf};

use offsite_backends as backends;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug)]
pub enum Error {
    /// A store failed.
    Store(backends::Error),
    /// Something on this machine failed: a spool, the cache, the target of a pull.
    Local {
        path: PathBuf,
        error: std::io::Error,
    },
    /// An object of offsite's own is not what it must be.
    Damaged {
        object: String,
        what: String,
    },
    /// The guard refused; each reason says figure, limit and flag.
    Refused(Vec<String>),
    /// Another writer has the destination, or was faster.
    Busy(String),
    /// A command of the user's failed.
    Command(String),
    /// What was asked for cannot be.
    Usage(String),
    /// The destination or the source moved since a plan was made.
    Moved(Vec<String>),
    Interrupted,
}

impl Error {
    pub fn local(path: impl AsRef<Path>, error: std::io::Error) -> Self {
        Self::Local { path: path.as_ref().to_path_buf(), error }
    }

    pub fn damaged(object: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::Damaged { object: object.to_string(), what: what.to_string() }
    }

    /// The program's exit code for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused(_) => 4,
            Self::Interrupted => 130,
            Self::Store(e) if e.kind == backends::ErrorKind::Invalid => 2,
            _ => 1,
        }
    }

    /// Whether going on with other entries makes no sense. Only what befell one file, directory, link or
    /// object of the source, the destination or a target answers `false`; a caller whose cache or spool
    /// failed ends its run whatever this says.
    pub fn concerns_place(&self) -> bool {
        match self {
            Self::Store(error) => error.concerns_place(),
            Self::Local { error, .. } => backends::error::of_io(error).1 == backends::Reach::Place,
            Self::Damaged { .. } => false,
            Self::Refused(_) | Self::Busy(_) | Self::Command(_) | Self::Usage(_) | Self::Moved(_) | Self::Interrupted => true,
        }
    }

    /// The kind, where a store said one.
    pub fn kind(&self) -> Option<backends::ErrorKind> {
        match self {
            Self::Store(error) => Some(error.kind),
            _ => None,
        }
    }
}

impl From<backends::Error> for Error {
    fn from(error: backends::Error) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Local { path, error } if error.raw_os_error() == Some(28) => {
                write!(
                    f,
                    "{}: no space left on this disk; free some or set OFFSITE_CACHE_DIR to another disk, then run again: it goes on where it stopped",
                    path.display()
                )
            }
            Self::Local { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Damaged { object, what } => write!(f, "{object} is damaged: {what}"),
            Self::Refused(reasons) => write!(f, "refused, nothing was written: {}", reasons.join("; ")),
            Self::Busy(text) | Self::Usage(text) | Self::Command(text) => f.write_str(text),
            Self::Moved(what) => write!(f, "the plan no longer fits: {}", what.join("; ")),
            Self::Interrupted => f.write_str("interrupted; run the same command again to go on"),
        }
    }
}

impl std::error::Error for Error {}
