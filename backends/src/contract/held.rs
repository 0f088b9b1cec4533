//! What forbids to delete a version: a store's object lock, retention or legal hold.
//!
//! Owns the plain answers. Looking costs a request, so it is asked of what is about to go, never of all.
//! Invariant: a store that has no such thing holds nothing, and one whose key may not look at locks says so
//! by refusing the delete itself.

use chrono::{DateTime, Utc};
use object_store::path::Path;

use crate::contract::error::Error;

/// A version, and what holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Which version was looked at; none where the store keeps none.
    pub version: Option<String>,
    /// Its retention ends then, by the store's clock. It may lie in the past.
    pub until: Option<DateTime<Utc>>,
    /// Somebody put a hold on it, which ends when somebody takes it away.
    pub by_hand: bool,
}

impl Held {
    /// Whether it may not be deleted at a moment of the store's clock.
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.by_hand || self.until.is_some_and(|until| until > now)
    }
}

/// A version that the store did not let go.
#[derive(Debug, Clone)]
pub struct Refused {
    pub path: Path,
    pub version: String,
    pub error: Error,
}
