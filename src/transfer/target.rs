//! What the transfer knows of one destination, and what it has to say about single files.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use object_store::ObjectStore;
use offsite_backends::Backend;
use serde::{Deserialize, Serialize};

use super::limit::Limit;
use super::progress::Progress;
use super::stop::Stop;
use crate::manifest::KeyRules;
use crate::model::{Problem, RelPath, Sample};

/// What may be relied on when something is replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conditions {
    /// A put where nothing is.
    pub create: bool,
    /// A put over one content and no other.
    pub swap: bool,
}

/// When the place was last seen to work, after an entry had failed there.
#[derive(Debug, Default)]
pub struct Doubt(pub(super) tokio::sync::Mutex<Option<Instant>>);

/// What the transfer needs to know of one destination.
pub struct Target {
    /// Its place among the destinations of this run.
    pub index: usize,
    pub backend: Arc<dyn Backend>,
    pub store: Arc<dyn ObjectStore>,
    pub rules: KeyRules,
    /// The snapshot this run is going to commit.
    pub number: u64,
    /// Replaced and removed contents stay reachable.
    pub keeps: bool,
    /// An earlier run did not end cleanly: look before believing that a kept copy is still to be made, or that
    /// a content lies where the last snapshot says.
    pub careful: bool,
    /// What the store compares when something is replaced.
    pub conditions: Conditions,
    /// Uploads in flight.
    pub transfers: usize,
    /// Content bytes in flight.
    pub window: u64,
    pub limit: Arc<Limit>,
    pub progress: Arc<Progress>,
    pub stop: Arc<Stop>,
    /// The store answered a put with a version of its own.
    pub versioned: AtomicBool,
    /// What there was to say about single files.
    pub findings: Mutex<Findings>,
    pub doubt: Doubt,
}

/// Files that made trouble without stopping the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Findings {
    /// Could not be read, or the destination did not take it; the copy there stays as it was.
    pub unread: Vec<Problem>,
    /// Files that kept changing while they were read; stored as read.
    pub unstable: Vec<RelPath>,
    /// Went away between scan and read.
    pub vanished: Vec<RelPath>,
    /// Lie there without an attribute that the destination does not take.
    #[schemars(with = "Vec<Problem>")]
    pub unset: Sample<Problem>,
}

impl Target {
    /// A version id as manifests hold it: none where the store only says that it keeps none.
    pub(crate) fn version(&self, version: Option<String>) -> Option<String> {
        let version = version.filter(|v| v != "null");
        if version.is_some() {
            self.versioned.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        version
    }

    /// The set of readers that holds only this destination.
    pub(crate) fn alone(&self) -> u64 {
        1 << self.index
    }

    /// Notes something about a file.
    pub fn note(&self, note: impl FnOnce(&mut Findings)) {
        note(&mut self.findings.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}
