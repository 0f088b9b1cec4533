//! Conversion of errors between the data plane (`object_store`) and this crate.
//!
//! Invariant: an error of this crate that passes through the library keeps its kind and its reach.

use crate::contract::error::{Error, ErrorKind, Reach, chain, kind_of_text};
use crate::contract::location::Location;

/// The result type of the data plane's traits.
pub(crate) type StoreResult<T> = object_store::Result<T>;

/// The error for an operation that a store does not have.
pub(crate) fn unsupported(what: &str) -> object_store::Error {
    object_store::Error::NotSupported { source: what.to_owned().into() }
}

impl Error {
    /// Converts an [`object_store::Error`] about the object at `key` of `location`, by what the library alone says. If
    /// you have a backend, call [`crate::Backend::error`] instead: its server may have said more.
    pub fn from_store(location: &Location, key: &str, error: &object_store::Error) -> Self {
        if let Some(own) = Self::within(error) {
            return own.at(location.at(key));
        }
        let text = chain(error);
        let kind = kind_of_variant(error).unwrap_or_else(|| kind_of_text(&text));
        let reach = if matches!(error, object_store::Error::Unauthenticated { .. }) { Reach::Destination } else { kind.reach() };
        Self::new(kind, location.at(key), text).reaching(reach)
    }

    /// The same error as the data plane's traits expect it. Its message and kind are kept.
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
}

/// The kind, if the library's variant determines it.
pub(crate) fn kind_of_variant(error: &object_store::Error) -> Option<ErrorKind> {
    use object_store::Error as E;
    Some(match error {
        E::NotFound { .. } => ErrorKind::NotFound,
        E::AlreadyExists { .. } => ErrorKind::Exists,
        E::Precondition { .. } | E::NotModified { .. } => ErrorKind::Precondition,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => ErrorKind::Denied,
        E::NotSupported { .. } | E::NotImplemented { .. } => ErrorKind::Unsupported,
        E::InvalidPath { .. } => ErrorKind::Invalid,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_and_reach_survive_the_way_through_the_libraries() {
        let location = Location::parse("s3://acme/p").unwrap();
        let own = Error::new(ErrorKind::Archived, "x", "archived").reaching(Reach::Destination);
        let back = Error::from_store(&location, "k", &own.clone().into_store());
        assert_eq!((back.kind, back.reach, back.url.as_str()), (ErrorKind::Archived, Reach::Destination, "s3://acme/p/k"));
        let back = Error::from_io("/b", &std::io::Error::other(own));
        assert_eq!((back.kind, back.reach, back.url.as_str()), (ErrorKind::Archived, Reach::Destination, "/b"));
        assert_eq!((back.scheme(), Error::new(ErrorKind::Other, "s3://acme/k", "").scheme()), ("file", "s3"));
    }
}
