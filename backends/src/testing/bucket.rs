//! The content of the bucket in memory, its options and its clock.
//!
//! Invariant: every change is made under one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use object_store::path::Path;
use object_store::{Error, PutMode, PutResult};

use crate::contract::capabilities::Capabilities;
use crate::contract::held::Held;
use crate::contract::meter::{Class, Meter};

/// How the bucket behaves.
#[derive(Debug, Clone, Copy)]
pub struct MemoryOptions {
    /// What the bucket says it can do.
    pub capabilities: Capabilities,
    /// Accepts the conditions of create-only puts and updates, and ignores them.
    pub ignore_conditions: bool,
    /// Turns a backslash in a key into `/`, as `SeaweedFS` does.
    pub change_keys: bool,
    /// Lists in an order that is always the same but not that of the keys.
    pub unordered_listing: bool,
    /// Keeps replaced and deleted objects under their version ids.
    pub versions: bool,
    /// Object lock: no version can be deleted for so many seconds after it was made. Needs `versions`.
    pub locks: Option<i64>,
    /// How a read content differs from the one that was put.
    pub reads: Reads,
}

/// What a reader gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reads {
    /// The content that was put.
    #[default]
    True,
    /// Other bytes, of the same number.
    Garbled,
    /// Whole objects only. A request for a part is refused.
    WholeOnly,
    /// A part from the beginning, whichever part was requested.
    WrongPart,
}

impl Default for MemoryOptions {
    /// Like S3, with fewer uploads in flight and without versions.
    fn default() -> Self {
        let capabilities = Capabilities { transfers: 16, part_copies: true, ..Capabilities::BUCKET };
        Self {
            capabilities,
            ignore_conditions: false,
            change_keys: false,
            unordered_listing: false,
            versions: false,
            locks: None,
            reads: Reads::True,
        }
    }
}

/// One version of an object.
#[derive(Debug, Clone)]
pub(super) struct MemoryVersion {
    /// `None` if the bucket keeps no versions.
    pub id: Option<String>,
    /// `None` is a delete marker.
    pub data: Option<Bytes>,
    pub etag: String,
    /// By the bucket's clock.
    pub modified: DateTime<Utc>,
}

impl MemoryVersion {
    pub fn held(&self, locks: Option<i64>) -> Held {
        let until = locks.filter(|_| self.data.is_some()).map(|seconds| self.modified + TimeDelta::seconds(seconds));
        Held { version: self.id.clone(), until, by_hand: false }
    }
}

#[derive(Debug, Default)]
pub(super) struct MemoryParts {
    pub key: String,
    pub parts: BTreeMap<usize, (String, Bytes)>,
}

/// The content of the bucket.
#[derive(Debug, Default)]
pub(super) struct MemoryBucket {
    /// The newest version last. Never empty.
    pub objects: BTreeMap<String, Vec<MemoryVersion>>,
    pub uploads: BTreeMap<String, MemoryParts>,
    /// Keys under a legal hold.
    pub held: BTreeSet<String>,
    /// Keys that are in an archive, and whether they were requested.
    pub archived: BTreeMap<String, bool>,
    pub serial: u64,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub options: Mutex<MemoryOptions>,
    pub bucket: Mutex<MemoryBucket>,
    pub meter: Meter,
    /// The bucket's clock minus this machine's, in milliseconds.
    pub offset: AtomicI64,
}

impl Shared {
    /// Counts a request; its answer carries the bucket's time, as a `Date` header does.
    pub fn count(&self, class: Class) {
        self.meter.call(class, String::new);
        self.meter.note_clock(self.now());
    }

    pub fn bucket(&self) -> MutexGuard<'_, MemoryBucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn options(&self) -> MutexGuard<'_, MemoryOptions> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::milliseconds(self.offset.load(Relaxed))
    }

    /// The key under which the bucket stores a path.
    pub fn key(&self, path: &Path) -> String {
        match self.options().change_keys {
            true => path.as_ref().replace('\\', "/"),
            false => path.as_ref().to_owned(),
        }
    }

    /// Whether `over` allows to replace what is at `key`.
    pub fn may_replace(&self, bucket: &MemoryBucket, key: &str, over: &PutMode) -> object_store::Result<()> {
        let there = bucket.current(key).map(|(version, _)| version.etag.clone());
        match over {
            _ if self.options().ignore_conditions => Ok(()),
            PutMode::Create if there.is_some() => Err(Error::AlreadyExists { path: key.to_owned(), source: "it is there already".into() }),
            PutMode::Update(wanted) if there.is_none() || there != wanted.e_tag => {
                let text = format!("it is {there:?} and not {:?}", wanted.e_tag);
                Err(Error::Precondition { path: key.to_owned(), source: text.into() })
            }
            _ => Ok(()),
        }
    }

    /// Makes `data` the newest version of `key`.
    pub fn insert(&self, bucket: &mut MemoryBucket, key: &str, data: Option<Bytes>) -> PutResult {
        let versions = self.options().versions;
        bucket.serial += 1;
        let version = MemoryVersion {
            id: versions.then(|| format!("v{:08}", bucket.serial)),
            data,
            etag: format!("\"{:x}\"", bucket.serial),
            modified: self.now(),
        };
        let result = PutResult { e_tag: Some(version.etag.clone()), version: version.id.clone(), extensions: Default::default() };
        let all = bucket.objects.entry(key.to_owned()).or_default();
        if !versions {
            all.clear();
        }
        all.push(version);
        result
    }
}

impl MemoryBucket {
    /// The newest version of `key`, if it is no delete marker.
    pub fn current(&self, key: &str) -> Option<(&MemoryVersion, &Bytes)> {
        let version = self.objects.get(key)?.last()?;
        Some((version, version.data.as_ref()?))
    }

    pub fn version(&self, key: &str, id: &str) -> Option<(&MemoryVersion, &Bytes)> {
        let all = self.objects.get(key)?;
        let version = all.iter().find(|v| v.id.as_deref() == Some(id))?;
        Some((version, version.data.as_ref()?))
    }
}
