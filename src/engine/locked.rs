//! Objects that have expired and that object lock still protects, as a record.

use chrono::{DateTime, SecondsFormat, Utc};
use offsite_backends::Held;
use serde::{Deserialize, Serialize};

/// What has expired but is locked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Locked {
    /// Snapshots that have expired.
    pub snapshots: u64,
    /// Contents that no snapshot names; at a packed destination, packs.
    pub contents: u64,
    /// When the first of them can be deleted, by the store's clock (RFC 3339, UTC). Null if a hold has to be removed
    /// first.
    pub until: Option<String>,
    /// Some are under a legal hold.
    pub hold: bool,
}

impl Locked {
    /// Adds one locked version to `until` and `hold`. The caller counts it in `snapshots` or `contents`. `now` is by
    /// the store's clock.
    pub fn note(&mut self, held: &Held, now: DateTime<Utc>) {
        self.hold |= held.by_hand;
        let text = held.until.filter(|until| *until > now && !held.by_hand).map(|until| until.to_rfc3339_opts(SecondsFormat::Secs, true));
        // RFC 3339 texts in one form and one zone sort by time.
        self.until = [self.until.take(), text].into_iter().flatten().min();
    }

    /// The record, or none if nothing is locked.
    pub fn some(self) -> Option<Self> {
        (self.snapshots + self.contents > 0).then_some(self)
    }

    /// Whether the first lock ends at or before `now`, in seconds since 1970.
    pub fn ends_by(&self, now: i64) -> bool {
        self.until.as_ref().and_then(|until| DateTime::parse_from_rfc3339(until).ok()).is_some_and(|until| until.timestamp() <= now)
    }
}
