//! The error type of the program and its exit codes.

use std::fmt;
use std::path::{Path, PathBuf};

use offsite_backends as backends;
use serde::Serialize;

/// The result of whatever can fail with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The source.
    Source,
    /// The destination.
    Destination,
    /// The target of a restore.
    Target,
    /// Caches, journals and spools on this machine.
    Cache,
    /// Standard output.
    Output,
    /// Anything else on this machine.
    Machine,
}

/// Why a run or a part of it failed.
#[derive(Debug)]
pub enum Error {
    /// A store failed.
    Store(backends::Error),
    /// Something on this machine failed.
    Local {
        /// The file, or a name like `standard output`.
        path: PathBuf,
        /// The error of the operating system.
        error: std::io::Error,
        /// What the file belongs to.
        place: Place,
    },
    /// An object of offsite's own is not what it must be.
    Damaged {
        /// The URL or path of the object.
        object: String,
        /// What is wrong with it.
        what: String,
    },
    /// The guard refused the plan. Each reason gives the figure, the limit and the flag that allows it.
    Refused(Vec<String>),
    /// The destination had a snapshot in the last run and has none now.
    Emptied {
        /// URL of the destination.
        url: String,
        /// Number of the last snapshot that this machine knows.
        last: u64,
    },
    /// Another writer has the lease of the destination, or committed first.
    Busy(String),
    /// A command of the user failed.
    Command(String),
    /// The request is invalid or cannot be carried out.
    Usage(String),
    /// The destination or the source changed since a plan was made. Each text names one difference.
    Moved(Vec<String>),
    /// The user interrupted the run.
    Interrupted,
}

impl Error {
    /// An error of a file on this machine that belongs neither to the source, a target nor a cache.
    pub fn local(path: impl AsRef<Path>, error: std::io::Error) -> Self {
        Self::of(Place::Machine, path, error)
    }

    /// An error of a cache, a journal or a spool.
    pub fn cache(path: impl AsRef<Path>, error: std::io::Error) -> Self {
        Self::of(Place::Cache, path, error)
    }

    /// An error of a file in the target of a restore.
    pub fn target(path: impl AsRef<Path>, error: std::io::Error) -> Self {
        Self::of(Place::Target, path, error)
    }

    /// An error of a file in the source.
    pub fn source(path: impl AsRef<Path>, error: std::io::Error) -> Self {
        Self::of(Place::Source, path, error)
    }

    /// An error of standard output.
    pub fn output(error: std::io::Error) -> Self {
        Self::of(Place::Output, "standard output", error)
    }

    fn of(place: Place, path: impl AsRef<Path>, error: std::io::Error) -> Self {
        Self::Local { path: path.as_ref().to_path_buf(), error, place }
    }

    /// `object` is the URL or path of the damaged object, `what` says what is wrong with it.
    pub fn damaged(object: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::Damaged { object: object.to_string(), what: what.to_string() }
    }

    /// The program's exit code for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused(_) | Self::Emptied { .. } => 4,
            Self::Interrupted => 130,
            Self::Store(error) if error.kind == backends::ErrorKind::Invalid => 2,
            Self::Store(_) | Self::Local { .. } | Self::Damaged { .. } | Self::Busy(_) | Self::Command(_) | Self::Moved(_) => 1,
        }
    }

    /// Where it happened.
    pub fn place(&self) -> Place {
        match self {
            Self::Local { place, .. } => *place,
            Self::Store(_) | Self::Damaged { .. } | Self::Refused(_) | Self::Emptied { .. } | Self::Busy(_) | Self::Moved(_) => {
                Place::Destination
            }
            Self::Command(_) | Self::Usage(_) | Self::Interrupted => Place::Machine,
        }
    }

    /// Whether the run cannot continue with other entries. False only for an error of one file, directory, link or
    /// object of the source, the destination or a target. A caller whose cache or spool failed ends its run in any
    /// case.
    pub fn concerns_destination(&self) -> bool {
        match self {
            Self::Store(error) => error.concerns_destination(),
            Self::Local { error, .. } => backends::error::of_io(error).1 == backends::Reach::Destination,
            Self::Damaged { .. } => false,
            Self::Refused(_)
            | Self::Emptied { .. }
            | Self::Busy(_)
            | Self::Command(_)
            | Self::Usage(_)
            | Self::Moved(_)
            | Self::Interrupted => true,
        }
    }

    /// The kind of a store's error. None for any other error.
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
            Self::Local { path, error, .. } => write!(f, "{}: {error}", path.display()),
            Self::Damaged { object, what } => write!(f, "{object} is damaged: {what}"),
            Self::Refused(reasons) => write!(f, "refused, nothing was written: {}", reasons.join("; ")),
            Self::Emptied { url, last } => {
                write!(
                    f,
                    "refused, nothing was written: {url} had snapshot {last} the last time and has none now (not mounted? emptied?); use --start-over to begin again there"
                )
            }
            Self::Busy(text) | Self::Usage(text) | Self::Command(text) => f.write_str(text),
            Self::Moved(what) => write!(f, "the plan no longer fits: {}", what.join("; ")),
            Self::Interrupted => f.write_str("interrupted; run the same command again to continue"),
        }
    }
}

impl std::error::Error for Error {}
