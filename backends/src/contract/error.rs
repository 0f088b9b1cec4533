//! Errors of the stores: a kind the caller can act on, the URL, and what happened.
//!
//! Owns the mapping from the libraries' errors to kinds, and the one door by which a text of a server or a library comes
//! in ([`Error::new`]). Invariant: a credential never gets into one, nor what steers a terminal, nor more than some lines.

use std::fmt;

pub use crate::contract::scrub::scrub;
use crate::contract::tidy;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The object, bucket or directory is not there.
    NotFound,
    /// It is there already (create-only), or something else is in its place.
    Exists,
    /// It is not what the caller said it would be.
    Precondition,
    /// No or wrong credentials ([`Reach::Place`]), or not allowed to do this ([`Reach::Entry`]).
    Denied,
    /// Worth trying again: time-outs, cut connections, 5xx, 429.
    Transient,
    /// No space left where it is to be written, or a quota is used up.
    Full,
    /// Nothing can be written there: the file system is mounted read-only.
    ReadOnly,
    /// It lies in an archive (Glacier, Azure's archive tier) and has to be asked for before it can be read.
    Archived,
    /// It is larger than the place takes: a file, an object, an extended attribute.
    TooLarge,
    /// The place takes no such name or value.
    NameRefused,
    /// The store has no such operation.
    Unsupported,
    /// A URL, name or setting that cannot be.
    Invalid,
    /// The right to change the place may have run out while the call was on its way; nothing was changed.
    Late,
    /// The server's certificate is none that this machine trusts, or is for another host or time.
    Untrusted,
    /// The clock of this machine is too far off for the server.
    Clock,
    /// The disk or mount under it fails or went away.
    Device,
    /// This machine ran short of open files or memory.
    Exhausted,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// How far a failure of this kind reaches where nothing more is known.
    pub fn reach(self) -> Reach {
        match self {
            Self::Transient | Self::Full | Self::ReadOnly | Self::Untrusted | Self::Clock | Self::Device | Self::Exhausted | Self::Late => {
                Reach::Place
            }
            Self::NotFound
            | Self::Exists
            | Self::Precondition
            | Self::Denied
            | Self::Archived
            | Self::TooLarge
            | Self::NameRefused
            | Self::Unsupported
            | Self::Invalid
            | Self::Other => Reach::Entry,
        }
    }
}

/// How far a failure reaches: whether the next entry may fare better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// One file, directory, link, object or attribute; all else may go on.
    Entry,
    /// The whole place, or this machine: going on makes no sense.
    Place,
}

/// A failed operation on a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    pub reach: Reach,
    /// Which destination, object or file; safe to print.
    pub url: String,
    /// What happened, in a sentence without a final stop.
    pub message: String,
}

impl Error {
    pub fn new(kind: ErrorKind, url: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self { kind, reach: kind.reach(), url: tidy::place(&url.to_string()), message: tidy::tidy(&message.to_string(), tidy::MESSAGE) }
    }

    /// The same, reaching as far as the caller knows it to.
    #[must_use]
    pub fn reaching(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// The same about something else.
    #[must_use]
    pub(crate) fn at(&self, url: impl fmt::Display) -> Self {
        Self { url: tidy::place(&url.to_string()), ..self.clone() }
    }

    /// Whether going on with other entries makes no sense: full, read-only, unreachable, unknown credentials.
    pub fn concerns_place(&self) -> bool {
        self.reach == Reach::Place
    }

    /// Which kind of place it is about, as the scheme of its URL; a path has none and is `file`.
    pub fn scheme(&self) -> &str {
        self.url.split_once("://").map_or("file", |(scheme, _)| scheme)
    }

    pub fn invalid(url: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, url, message)
    }

    /// Whoever asks is not known there, or has shown no credentials.
    pub fn login(url: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Denied, url, message).reaching(Reach::Place)
    }

    /// An error of ours that a library wrapped on its way through.
    pub(crate) fn within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(own) = error.downcast_ref::<Self>() {
                return Some(own);
            }
            next = error.source();
        }
        None
    }

    /// From an I/O error on a local path.
    pub fn from_io(path: impl fmt::Display, error: &std::io::Error) -> Self {
        if let Some(own) = error.get_ref().and_then(|inner| Self::within(inner)) {
            return own.at(path);
        }
        let (kind, reach) = of_io(error);
        Self::new(kind, path, error).reaching(reach)
    }
}

/// What an I/O error is, and how far it reaches: the one table of the system's error numbers. Where an
/// operation gives a number another meaning (no room for one attribute is `ENOSPC`, too), its caller
/// says so by [`Error::reaching`].
pub fn of_io(error: &std::io::Error) -> (ErrorKind, Reach) {
    use rustix::io::Errno as N;
    use std::io::ErrorKind as K;
    let kind = match N::from_io_error(error) {
        Some(N::NOENT) => ErrorKind::NotFound,
        Some(N::EXIST | N::ISDIR | N::NOTDIR | N::NOTEMPTY) => ErrorKind::Exists,
        Some(N::PERM | N::ACCESS) => ErrorKind::Denied,
        Some(N::ROFS) => ErrorKind::ReadOnly,
        Some(N::NOSPC | N::DQUOT) => ErrorKind::Full,
        Some(N::FBIG | N::TOOBIG) => ErrorKind::TooLarge,
        Some(N::NAMETOOLONG | N::INVAL | N::ILSEQ) => ErrorKind::NameRefused,
        Some(N::NOSYS | N::OPNOTSUPP) => ErrorKind::Unsupported,
        Some(N::IO | N::NOTCONN | N::STALE | N::NODEV | N::NXIO | N::REMOTEIO | N::HOSTDOWN | N::SHUTDOWN | N::UCLEAN) => ErrorKind::Device,
        Some(N::MFILE | N::NFILE | N::NOMEM) => ErrorKind::Exhausted,
        Some(N::INTR | N::TIMEDOUT | N::CONNREFUSED | N::CONNRESET | N::CONNABORTED | N::HOSTUNREACH | N::NETUNREACH) => {
            ErrorKind::Transient
        }
        Some(_) => ErrorKind::Other,
        None => match error.kind() {
            K::NotFound => ErrorKind::NotFound,
            K::AlreadyExists | K::IsADirectory | K::NotADirectory => ErrorKind::Exists,
            K::PermissionDenied => ErrorKind::Denied,
            K::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            K::StorageFull | K::QuotaExceeded => ErrorKind::Full,
            K::FileTooLarge => ErrorKind::TooLarge,
            K::Interrupted | K::TimedOut => ErrorKind::Transient,
            K::InvalidInput | K::InvalidFilename => ErrorKind::NameRefused,
            K::OutOfMemory => ErrorKind::Exhausted,
            _ => ErrorKind::Other,
        },
    };
    (kind, kind.reach())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.message)
    }
}

impl std::error::Error for Error {}

/// An error with all its sources, joined by colons, each said once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let part = source.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = source.source();
    }
    text
}

/// What rustls says of a certificate that it does not take; it stands below the errors of three HTTP clients.
const UNTRUSTED: &str = "invalid peer certificate";

/// Sorts what only a text says: connection failures and statuses that the libraries fold into one kind.
pub(crate) fn kind_of_text(text: &str) -> ErrorKind {
    const NOT_FOUND: [&str; 1] = ["404 Not Found"];
    const DENIED: [&str; 3] = ["403 Forbidden", "401 Unauthorized", "Permission denied"];
    const FULL: [&str; 2] = ["No space left", "507 Insufficient Storage"];
    const TRANSIENT: [&str; 14] = [
        "timed out",
        "timeout",
        "onnection refused",
        "onnection reset",
        "onnection closed",
        "connection error",
        "error sending request",
        "error decoding response body",
        "dns error",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
        "429 Too Many Requests",
    ];
    let has = |needles: &[&str]| needles.iter().any(|n| text.contains(n));
    if has(&NOT_FOUND) {
        ErrorKind::NotFound
    } else if has(&DENIED) {
        ErrorKind::Denied
    } else if has(&FULL) {
        ErrorKind::Full
    } else if has(&[UNTRUSTED]) {
        ErrorKind::Untrusted
    } else if has(&TRANSIENT) {
        ErrorKind::Transient
    } else {
        ErrorKind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno as N;

    #[test]
    fn only_what_concerns_the_whole_place_ends_a_run() {
        let place = [N::ROFS, N::NOSPC, N::DQUOT, N::IO, N::NOTCONN, N::STALE, N::NODEV, N::MFILE, N::TIMEDOUT];
        let entry = [
            N::PERM,
            N::ACCESS,
            N::XDEV,
            N::BUSY,
            N::NAMETOOLONG,
            N::INVAL,
            N::NOSYS,
            N::OPNOTSUPP,
            N::LOOP,
            N::TOOBIG,
            N::FBIG,
            N::NOENT,
            N::ISDIR,
            N::MLINK,
        ];
        for (errno, concerns_place) in place.map(|n| (n, true)).into_iter().chain(entry.map(|n| (n, false))) {
            let error = Error::from_io("/a", &errno.into());
            assert_eq!(error.concerns_place(), concerns_place, "{error}");
        }
    }
}
