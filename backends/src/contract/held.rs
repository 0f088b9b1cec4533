//! The lock state of a version: object lock, retention or legal hold of a store forbid its deletion.
//!
//! Owns the answers. A look costs a request, so callers ask only about versions that they are about to delete.
//! Invariant: a store without locks holds nothing. A store whose credentials may not read locks refuses the delete
//! itself.

use chrono::{DateTime, Utc};
use object_store::path::Path;

use crate::contract::error::Error;

/// A version and its locks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The version that was looked at; `None` if the store keeps no versions.
    pub version: Option<String>,
    /// When its retention ends, in UTC by the store's clock. This may be in the past.
    pub until: Option<DateTime<Utc>>,
    /// Somebody placed a hold, which lasts until somebody removes it.
    pub by_hand: bool,
}

impl Held {
    /// Whether the version may not be deleted at the time `now` of the store's clock.
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.by_hand || self.until.is_some_and(|until| until > now)
    }
}

/// A version that the store refused to delete.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Key of the object, relative to the prefix.
    pub path: Path,
    /// Id of the version.
    pub version: String,
    /// Why the store refused.
    pub error: Error,
}
