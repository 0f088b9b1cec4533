//! Counts requests by class and bytes, and remembers how far the store's clock is from ours.
//!
//! Owns the counters, and through `trace.rs` the one line that is told of each request: what is not counted here was not
//! sent. HTTP backends feed it from inside the connection, so retries count; the
//! directory backend feeds it per storage call. Counters only ever grow.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use chrono::{DateTime, TimeDelta, Utc};

use crate::contract::trace::{self, TracedCall, Tries};

/// The class of a request, as the clouds bill them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Put,
    Get,
    Head,
    List,
    Copy,
    Delete,
    /// Start, part, finish and abort of an upload in parts.
    Multipart,
}

impl Class {
    /// As it stands in a log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Copy => "copy",
            Self::Delete => "delete",
            Self::Multipart => "multipart",
        }
    }
}

/// Shared counters of one destination.
#[derive(Debug)]
pub struct Meter {
    counts: [AtomicU64; 7],
    sent: AtomicU64,
    received: AtomicU64,
    /// Store's clock minus ours in milliseconds; `i64::MIN` while unknown.
    skew: AtomicI64,
    tries: Arc<Tries>,
}

impl Default for Meter {
    fn default() -> Self {
        Self { counts: Default::default(), sent: 0.into(), received: 0.into(), skew: i64::MIN.into(), tries: Arc::default() }
    }
}

impl Meter {
    /// Counts one call of a store that is none of HTTP's: `at` says what it is about.
    pub(crate) fn call(&self, class: Class, at: impl FnOnce() -> String) {
        self.counts[class as usize].fetch_add(1, Relaxed);
        trace::call(class.word(), at);
    }

    /// Counts one request on the wire, which is told in one line when the answer is dropped. `about` says its verb and
    /// place, and is asked only if somebody listens.
    pub(crate) fn begin<V: Display>(&self, class: Class, about: impl FnOnce() -> (V, String)) -> TracedCall {
        self.counts[class as usize].fetch_add(1, Relaxed);
        self.tell(about)
    }

    /// The same for one of several requests that are one call, and counted as that.
    pub(crate) fn tell<V: Display>(&self, about: impl FnOnce() -> (V, String)) -> TracedCall {
        TracedCall::begin(&self.tries, about)
    }

    /// Counts content bytes that went out.
    pub fn add_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Relaxed);
    }

    /// Counts content bytes that came in.
    pub fn add_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
    }

    /// Notes what the store's clock said just now.
    pub fn note_clock(&self, store: DateTime<Utc>) {
        self.skew.store((store - Utc::now()).num_milliseconds(), Relaxed);
    }

    /// The time by the store's clock, if it was ever seen.
    pub fn clock(&self) -> Option<DateTime<Utc>> {
        let skew = self.skew.load(Relaxed);
        (skew != i64::MIN).then(|| Utc::now() + TimeDelta::milliseconds(skew))
    }

    /// The figures so far.
    pub fn requests(&self) -> Requests {
        let n = |class: Class| self.counts[class as usize].load(Relaxed);
        Requests {
            put: n(Class::Put),
            get: n(Class::Get),
            head: n(Class::Head),
            list: n(Class::List),
            copy: n(Class::Copy),
            delete: n(Class::Delete),
            multipart: n(Class::Multipart),
        }
    }

    /// Content bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Content bytes received so far.
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }
}

/// Requests by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Requests {
    pub put: u64,
    pub get: u64,
    pub head: u64,
    pub list: u64,
    pub copy: u64,
    pub delete: u64,
    pub multipart: u64,
}

impl Requests {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.put + self.get + self.head + self.list + self.copy + self.delete + self.multipart
    }
}
