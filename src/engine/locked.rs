//! What the store's object lock does not let go yet, as a record.

use chrono::{DateTime, SecondsFormat, Utc};
use offsite_backends::Held;
use serde::{Deserialize, Serialize};

/// What has expired but is locked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Locked {
    pub snapshots: u64,
    /// Contents that no snapshot names.
    pub contents: u64,
    /// When the first of them can be deleted, by the store's clock (RFC 3339, UTC). Null if a hold has to be removed first.
    pub until: Option<String>,
    /// Some are under a legal hold.
    pub hold: bool,
}

impl Locked {
    pub fn note(&mut self, held: &Held, now: DateTime<Utc>) {
        self.hold |= held.by_hand;
        let text = held.until.filter(|until| *until > now && !held.by_hand).map(|until| until.to_rfc3339_opts(SecondsFormat::Secs, true));
        // In one form and one time zone, texts have the order of times.
        self.until = [self.until.take(), text].into_iter().flatten().min();
    }

    /// None if nothing is locked.
    pub fn some(self) -> Option<Self> {
        (self.snapshots + self.contents > 0).then_some(self)
    }

    /// Whether the first of them may go at a moment.
    pub fn ends_by(&self, now: i64) -> bool {
        self.until.as_ref().and_then(|until| DateTime::parse_from_rfc3339(until).ok()).is_some_and(|until| until.timestamp() <= now)
    }
}
