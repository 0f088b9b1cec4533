//! A bucket, rooted at the prefix.
//!
//! Owns the conversion of a relative path to a full name, and of failures to the errors of `object_store`. Invariant:
//! a path is sent unchanged.

use std::fmt;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{Error, Result};

use super::claim;
use super::error::Failure;
use super::large::B2CopyLimits;
use super::session::Account;
use super::upload::Pool;
use super::versions::B2Version;
use crate::contract::error::ErrorKind;
use crate::contract::location::Location;

#[derive(Clone)]
pub(super) struct B2Store {
    pub account: Arc<Account>,
    pub pool: Arc<Pool>,
    pub copy: B2CopyLimits,
}

impl B2Store {
    /// The full name of a path.
    pub(super) fn name(&self, path: &Path) -> String {
        match self.account.prefix.as_str() {
            "" => path.as_ref().to_owned(),
            prefix => format!("{prefix}/{path}"),
        }
    }

    pub(super) fn refused(&self, path: &Path, failure: Failure) -> Error {
        refused(&self.account.location, path.as_ref(), failure)
    }

    /// The version that a reader sees now; one LIST.
    pub(super) async fn look(&self, path: &Path) -> Result<B2Version, Failure> {
        let listed = self.account.versions_of(&self.name(path)).await?;
        match claim::current(&claim::live(&listed)) {
            Some(seen) => Ok(seen.clone()),
            None => Err(Failure::new(ErrorKind::NotFound, "not found")),
        }
    }
}

/// Converts a failure to an error of the traits. It contains this crate's own error, for callers that need
/// its kind.
pub(super) fn refused(location: &Location, key: &str, failure: Failure) -> Error {
    let (kind, path) = (failure.kind, key.to_owned());
    let source = Box::new(failure.about(location, key));
    match kind {
        ErrorKind::NotFound => Error::NotFound { path, source },
        ErrorKind::Exists => Error::AlreadyExists { path, source },
        ErrorKind::Precondition => Error::Precondition { path, source },
        ErrorKind::Denied => Error::PermissionDenied { path, source },
        ErrorKind::Unsupported => Error::NotSupported { source },
        _ => Error::Generic { store: "b2", source },
    }
}

impl fmt::Debug for B2Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for B2Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "B2({})", self.account.location)
    }
}
