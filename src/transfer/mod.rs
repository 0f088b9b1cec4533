//! Moving contents: one read feeds many destinations, and the way back.
//!
//! Owns windows, parts, the journal and the publishing of files. Runs before the commit and names
//! nothing in a manifest; what it finished is in the journal, and the commit takes it from there.
//! Invariant: a kept copy is made before a content is replaced, and nothing is deleted here.

mod archived;
mod bring;
mod dump;
mod feed;
mod fetch;
mod finish;
mod hub;
mod journal;
mod keep;
mod limit;
mod objects;
mod parts;
mod place;
mod present;
mod progress;
mod refused;
mod replace;
mod stop;
mod tree;
mod undone;
mod way;
mod witness;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use object_store::ObjectStore;
use offsite_backends::Backend;
use serde::{Deserialize, Serialize};

pub use archived::{Archived, archived};
pub use bring::{Fetch, Fetched, of_target};
pub use dump::{Sent, send_dump};
pub use feed::{Dump, Feeds, Piece, Source};
pub use fetch::{Place, Sink, hash_at, locate, read_content};
pub use hub::Hub;
pub use journal::{Done, Header, Journal, Resumed, Upload};
pub use limit::Limit;
pub use objects::upload_objects;
pub use parts::{abort_stale, part_size};
pub use place::{file_meta, kept_place, place, planned};
pub use progress::{Phase, Progress};
pub use refused::{Doubt, not_taken};
pub use replace::Conditions;
pub use stop::Stop;
pub use tree::upload_tree;
pub use undone::{Undone, Why, unset_problems};
pub use way::{Blocked, make_way};
pub use witness::Witness;

use crate::manifest::KeyRules;
use crate::model::{Change, Problem, RelPath, Sample};

/// One line of a spooled plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub step: Change,
    /// Which destinations read this file's content, as a bit mask.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub readers: u64,
    /// The content is made while it is sent: see `dump.rs`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dump: bool,
    /// The tree may take its name for another one's: whether it gets its own is still to be decided.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub twin: bool,
}

impl Line {
    /// A step whose content `readers` read.
    pub fn new(step: Change, readers: u64) -> Self {
        Self { step, readers, dump: false, twin: false }
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

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
    /// Kept changing while they were read; stored as read.
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
