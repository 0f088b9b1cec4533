//! Errors of the stores: a kind the caller can act on, the URL, and what happened.
//!
//! Owns the mapping from the libraries' errors to kinds. Invariant: a credential never gets into one;
//! texts of libraries are passed through [`scrub`].

use std::fmt;

use crate::Location;
use crate::s3::Refusal;
pub use crate::scrub::scrub;

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
    /// No or wrong credentials, or not allowed to do this.
    Denied,
    /// Worth trying again: time-outs, cut connections, 5xx.
    Transient,
    /// No space left where it is to be written.
    Full,
    /// The store has no such operation.
    Unsupported,
    /// A URL, name or setting that cannot be.
    Invalid,
    /// The right to change the place may have run out while the call was on its way; nothing was changed.
    Late,
    /// Anything else.
    Other,
}

/// A failed operation on a store.
#[derive(Debug, Clone)]
pub struct Error {
    pub kind: ErrorKind,
    /// Which destination, object or file; safe to print.
    pub url: String,
    /// What happened, in a sentence without a final stop.
    pub message: String,
}

impl Error {
    pub fn new(kind: ErrorKind, url: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self { kind, url: scrub(&url.to_string()), message: scrub(&message.to_string()) }
    }

    pub fn invalid(url: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, url, message)
    }

    /// From an [`object_store::Error`] of an object at `location`.
    pub fn from_store(location: &Location, key: &str, error: &object_store::Error) -> Self {
        use object_store::Error as E;
        if let Some(own) = Self::within(error) {
            return Self::new(own.kind, location.at(key), &own.message);
        }
        let text = chain(error);
        let refusal = Refusal::read(&text);
        let said = refusal.as_ref().and_then(Refusal::kind);
        let kind = match error {
            E::AlreadyExists { .. } if refusal.as_ref().is_some_and(Refusal::is_collision) => ErrorKind::Transient,
            E::NotFound { .. } => ErrorKind::NotFound,
            E::AlreadyExists { .. } => ErrorKind::Exists,
            E::Precondition { .. } | E::NotModified { .. } => ErrorKind::Precondition,
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => said.unwrap_or(ErrorKind::Denied),
            E::NotSupported { .. } | E::NotImplemented { .. } => ErrorKind::Unsupported,
            E::InvalidPath { .. } => ErrorKind::Invalid,
            _ => said.unwrap_or_else(|| kind_of_text(&text)),
        };
        let place = if refusal.as_ref().is_some_and(Refusal::is_no_bucket) { location.to_string() } else { location.at(key) };
        Self::new(kind, place, refusal.and_then(|r| r.sentence(location.scheme())).unwrap_or(text))
    }

    /// The same as the data plane's traits want it; what it says and its kind are kept.
    pub(crate) fn into_store(self) -> object_store::Error {
        use object_store::Error as E;
        let (kind, path) = (self.kind, self.url.clone());
        let source = Box::new(self);
        match kind {
            ErrorKind::NotFound => E::NotFound { path, source },
            ErrorKind::Exists => E::AlreadyExists { path, source },
            ErrorKind::Precondition => E::Precondition { path, source },
            ErrorKind::Denied => E::PermissionDenied { path, source },
            ErrorKind::Unsupported => E::NotSupported { source },
            _ => E::Generic { store: "offsite", source },
        }
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
        use std::io::ErrorKind as K;
        let kind = match error.kind() {
            K::NotFound => ErrorKind::NotFound,
            K::AlreadyExists | K::IsADirectory | K::NotADirectory => ErrorKind::Exists,
            K::PermissionDenied | K::ReadOnlyFilesystem => ErrorKind::Denied,
            K::StorageFull | K::QuotaExceeded => ErrorKind::Full,
            K::Interrupted | K::TimedOut => ErrorKind::Transient,
            K::InvalidInput | K::InvalidFilename => ErrorKind::Invalid,
            _ => ErrorKind::Other,
        };
        Self::new(kind, path, error)
    }
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

/// Sorts what only a text says: connection failures and statuses that the libraries fold into one kind.
pub(crate) fn kind_of_text(text: &str) -> ErrorKind {
    const NOT_FOUND: [&str; 2] = ["NoSuchBucket", "404 Not Found"];
    const DENIED: [&str; 5] = ["AccessDenied", "403 Forbidden", "401 Unauthorized", "ExpiredToken", "Permission denied"];
    const FULL: [&str; 3] = ["No space left", "QuotaExceeded", "507 Insufficient Storage"];
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
    } else if !has(&["invalid peer certificate"]) && has(&TRANSIENT) {
        ErrorKind::Transient
    } else {
        ErrorKind::Other
    }
}
