//! Errors of the stores: a kind that the caller can act on, the URL, and what happened.
//!
//! Owns the mapping from the libraries' errors to kinds. [`Error::new`] is the only way for a text of a server or a
//! library into an error. Invariant: an error contains no credential and nothing that controls a terminal, and its
//! length is limited.

use std::fmt;

pub use crate::contract::redact::redact;
use crate::contract::tidy;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The object, bucket or directory does not exist.
    NotFound,
    /// The object exists already (create-only), or something else has its name.
    Exists,
    /// The object is not what the caller said it would be.
    Precondition,
    /// Missing or wrong credentials ([`Reach::Destination`]), or a missing right ([`Reach::Entry`]).
    Denied,
    /// A retry may help: time-outs, cut connections, 5xx, 429.
    Transient,
    /// No space is left where the data is to be written, or a quota is used up.
    Full,
    /// The file system is mounted read-only.
    ReadOnly,
    /// The object is in an archive (Glacier, Azure's archive tier) and has to be requested before it can be read.
    Archived,
    /// A file, an object or an extended attribute is larger than the destination accepts.
    TooLarge,
    /// The destination does not accept this name or value.
    NameRefused,
    /// The store has no such operation.
    Unsupported,
    /// A URL, name or setting is not valid.
    Invalid,
    /// The right to change the destination may have expired while the call was on its way. Nothing was changed.
    Late,
    /// This machine does not trust the server's certificate, or the certificate is for another host or time.
    Untrusted,
    /// The clock of this machine is too far off for the server.
    Clock,
    /// The underlying disk or mount fails or was removed.
    Device,
    /// This machine ran short of open files or memory.
    Exhausted,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// How far a failure of this kind reaches if nothing more is known.
    pub fn reach(self) -> Reach {
        match self {
            Self::Transient | Self::Full | Self::ReadOnly | Self::Untrusted | Self::Clock | Self::Device | Self::Exhausted | Self::Late => {
                Reach::Destination
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

/// How far a failure reaches: whether the next entry may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// One file, directory, link, object or attribute. All other work can continue.
    Entry,
    /// The whole destination, or this machine. It makes no sense to continue.
    Destination,
}

/// A failed operation on a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What can be done about it.
    pub kind: ErrorKind,
    /// Whether other entries fail too.
    pub reach: Reach,
    /// The destination, object or file; safe to print.
    pub url: String,
    /// What happened, as a sentence without a full stop.
    pub message: String,
    /// The request was to delete, or the store works without deletes only in append-only mode.
    pub deleting: bool,
}

impl Error {
    /// An error with the reach of its kind. URL and message each become one line of limited length, without secrets and
    /// control characters.
    pub fn new(kind: ErrorKind, url: impl fmt::Display, message: impl fmt::Display) -> Self {
        let message = tidy::tidy(&message.to_string(), tidy::MESSAGE);
        Self { kind, reach: kind.reach(), url: tidy::place(&url.to_string()), message, deleting: false }
    }

    /// The same error with a reach that the caller knows.
    #[must_use]
    pub fn reaching(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// The same error, of a request that was to delete.
    #[must_use]
    pub fn of_delete(self) -> Self {
        Self { deleting: true, ..self }
    }

    /// The same error with another URL.
    #[must_use]
    pub(crate) fn at(&self, url: impl fmt::Display) -> Self {
        Self { url: tidy::place(&url.to_string()), ..self.clone() }
    }

    /// Whether it makes no sense to continue with other entries, for example if the destination is full, read-only or
    /// unreachable.
    pub fn concerns_destination(&self) -> bool {
        self.reach == Reach::Destination
    }

    /// The scheme of its URL, which tells the kind of store. A path has none and counts as `file`.
    pub fn scheme(&self) -> &str {
        self.url.split_once("://").map_or("file", |(scheme, _)| scheme)
    }

    /// An error of the kind [`ErrorKind::Invalid`].
    pub fn invalid(url: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, url, message)
    }

    /// The server does not know the caller, or got no credentials. Concerns the whole destination.
    pub fn login(url: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Denied, url, message).reaching(Reach::Destination)
    }

    /// The error of this crate that a library wrapped, if there is one.
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

    /// Converts an I/O error about a local path. A wrapped error of this crate keeps its kind, reach and message.
    pub fn from_io(path: impl fmt::Display, error: &std::io::Error) -> Self {
        if let Some(own) = error.get_ref().and_then(|inner| Self::within(inner)) {
            return own.at(path);
        }
        let (kind, reach) = of_io(error);
        Self::new(kind, path, error).reaching(reach)
    }
}

/// Kind and reach of an I/O error. This is the only table of the system's error numbers. If an operation gives a number
/// another meaning (`ENOSPC` can mean no space for one attribute), its caller corrects that with [`Error::reaching`].
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

/// An error with all its sources, joined by colons, each message only once.
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

/// What rustls says about a certificate that it rejects. Three HTTP clients have it in the sources of their errors.
const UNTRUSTED: &str = "invalid peer certificate";

/// Classifies an error by its text alone: connection failures, and statuses that the libraries merge into one kind.
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
        for (errno, concerns_destination) in place.map(|n| (n, true)).into_iter().chain(entry.map(|n| (n, false))) {
            let error = Error::from_io("/a", &errno.into());
            assert_eq!(error.concerns_destination(), concerns_destination, "{error}");
        }
    }
}
