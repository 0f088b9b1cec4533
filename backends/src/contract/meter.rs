//! Counts requests by class and bytes, and remembers how far the store's clock differs from this machine's.
//!
//! Owns the counters, and through `trace.rs` the one log line of each request: what is not counted here was not sent.
//! HTTP backends count inside the connection, so retries count. The directory backend counts each storage call.
//! Invariant: counters only grow.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use chrono::{DateTime, TimeDelta, Utc};

use crate::contract::trace::{self, TracedCall, Tries};

/// The class of a request, as the clouds bill them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Writes an object.
    Put,
    /// Reads an object or a part of one.
    Get,
    /// Reads the properties of an object or of the store.
    Head,
    /// Lists objects, versions or uploads.
    List,
    /// Copies an object on the server.
    Copy,
    /// Deletes one or more objects.
    Delete,
    /// Starts, sends a part of, completes or aborts an upload in parts.
    Multipart,
}

impl Class {
    /// Its name in the log.
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
///
/// # Examples
///
/// ```
/// use object_store::ObjectStoreExt;
/// use offsite_backends::Requests;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// let backend = offsite_backends::open(&dir.path().display().to_string()).await?;
/// backend.store().put(&"index.html".into(), "hello".into()).await?;
/// backend.store().get(&"index.html".into()).await?.bytes().await?;
///
/// let meter = backend.meter();
/// assert_eq!(meter.requests(), Requests { put: 1, get: 1, ..Requests::default() });
/// assert_eq!((meter.requests().total(), meter.sent(), meter.received()), (2, 5, 5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Meter {
    counts: [AtomicU64; 7],
    sent: AtomicU64,
    received: AtomicU64,
    /// Store's clock minus this machine's in milliseconds; `i64::MIN` while unknown.
    skew: AtomicI64,
    tries: Arc<Tries>,
}

impl Default for Meter {
    fn default() -> Self {
        Self { counts: Default::default(), sent: 0.into(), received: 0.into(), skew: i64::MIN.into(), tries: Arc::default() }
    }
}

impl Meter {
    /// Counts one call of a store that does not use HTTP. `at` says what it is about.
    pub(crate) fn call(&self, class: Class, at: impl FnOnce() -> String) {
        self.counts[class as usize].fetch_add(1, Relaxed);
        trace::call(class.word(), at);
    }

    /// Counts one request on the wire. The request is logged in one line when the answer is dropped. `about` gives its
    /// verb and URL, and is called only if somebody listens.
    pub(crate) fn begin<V: Display>(&self, class: Class, about: impl FnOnce() -> (V, String)) -> TracedCall {
        self.counts[class as usize].fetch_add(1, Relaxed);
        self.tell(about)
    }

    /// Logs, without counting, one of several requests that count as one call.
    pub(crate) fn tell<V: Display>(&self, about: impl FnOnce() -> (V, String)) -> TracedCall {
        TracedCall::begin(&self.tries, about)
    }

    /// Adds content bytes that were sent.
    pub fn add_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Relaxed);
    }

    /// Adds content bytes that were received.
    pub fn add_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
    }

    /// Notes what the store's clock said just now, in UTC.
    pub fn note_clock(&self, store: DateTime<Utc>) {
        self.skew.store((store - Utc::now()).num_milliseconds(), Relaxed);
    }

    /// The time in UTC by the store's clock; `None` before the first [`Meter::note_clock`].
    pub fn clock(&self) -> Option<DateTime<Utc>> {
        let skew = self.skew.load(Relaxed);
        (skew != i64::MIN).then(|| Utc::now() + TimeDelta::milliseconds(skew))
    }

    /// The requests counted so far. The classes are read one after the other, not at one moment.
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

/// Number of requests of each class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Requests {
    /// Requests that write an object.
    pub put: u64,
    /// Requests that read an object or a part of one.
    pub get: u64,
    /// Requests for the properties of an object or of the store.
    pub head: u64,
    /// Requests that list objects, versions or uploads.
    pub list: u64,
    /// Requests that copy an object on the server.
    pub copy: u64,
    /// Requests that delete one or more objects.
    pub delete: u64,
    /// Requests of uploads in parts: start, part, completion and abort.
    pub multipart: u64,
}

impl Requests {
    /// Requests of all classes.
    pub fn total(&self) -> u64 {
        self.put + self.get + self.head + self.list + self.copy + self.delete + self.multipart
    }
}
