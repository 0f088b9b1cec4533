//! What the transfer knows of one destination, and what it reports about single files.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use object_store::ObjectStore;
use offsite_backends::Backend;
use serde::{Deserialize, Serialize};

use super::limit::Limit;
use super::progress::Progress;
use super::stop::Stop;
use crate::manifest::{KeyRules, KnownBlocks};
use crate::model::{Problem, RelPath, Sample};

/// Conditions of a request that the store honours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conditions {
    /// A put that fails if the key has an object.
    pub create: bool,
    /// A put that fails if the key has another object than the expected one.
    pub swap: bool,
}

/// When the destination was last seen to work, after a failure at one entry.
#[derive(Debug, Default)]
pub struct Doubt(pub(super) tokio::sync::Mutex<Option<Instant>>);

/// The data that the transfer needs for one destination.
pub struct Target {
    /// Index of the destination in this run, from 0 on.
    pub index: usize,
    /// The store.
    pub backend: Arc<dyn Backend>,
    /// The objects of that store. Keys are below the prefix of the destination.
    pub store: Arc<dyn ObjectStore>,
    /// The rules by which paths become keys.
    pub rules: KeyRules,
    /// The number of the snapshot that this run is going to commit.
    pub number: u64,
    /// Replaced and removed contents stay readable.
    pub keeps: bool,
    /// An earlier run was interrupted. The transfer must check whether a kept copy exists already, and whether a
    /// content is where the last snapshot says.
    pub careful: bool,
    /// Conditions that replacing requests use.
    pub conditions: Conditions,
    /// Uploads in flight at most.
    pub transfers: usize,
    /// Content bytes in flight at most.
    pub window: u64,
    /// Limit of the upload in bytes a second.
    pub limit: Arc<Limit>,
    /// Counters for the display.
    pub progress: Arc<Progress>,
    /// Cancellation token.
    pub stop: Arc<Stop>,
    /// The blocks of large files that this machine knows there. `None` if nothing there may be relied on.
    pub blocks: Option<KnownBlocks>,
    /// The store has reported a version id for a put.
    pub versioned: AtomicBool,
    /// Findings about single files.
    pub findings: Mutex<Findings>,
    /// When the destination was last seen to work.
    pub doubt: Doubt,
}

/// Files that made trouble without stopping the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Findings {
    /// Could not be read, or the destination did not take it; the copy there stays as it was.
    pub unread: Vec<Problem>,
    /// Files that kept changing while they were read; stored as read.
    pub unstable: Vec<RelPath>,
    /// Files that were removed between the scan and the read.
    pub vanished: Vec<RelPath>,
    /// Entries that are stored without an attribute, because the destination does not accept it.
    #[schemars(with = "Vec<Problem>")]
    pub unset: Sample<Problem>,
}

impl Target {
    /// A version id as manifests hold it. `None` if the store reports `null`, which means that it keeps no versions.
    pub(crate) fn version(&self, version: Option<String>) -> Option<String> {
        let version = version.filter(|v| v != "null");
        if version.is_some() {
            self.versioned.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        version
    }

    /// The bit mask of readers with only this destination.
    pub(crate) fn alone(&self) -> u64 {
        1 << self.index
    }

    /// Adds a finding about a file.
    pub fn note(&self, note: impl FnOnce(&mut Findings)) {
        note(&mut self.findings.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}
