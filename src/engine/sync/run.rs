//! What the steps of a sync share: of the whole run, and of one destination.

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::destination::Destination;
use crate::engine::machine::Machine;
use crate::model::{KeepRules, Problem, RelPath, Time, TreeRoot};
use crate::plan::Facts;
use crate::transfer::{DumpStreams, Limit, Progress, SharedReader, Stop};

/// What all destinations of a run have in common.
pub struct Common {
    pub machine: Machine,
    pub shared_reader: Arc<SharedReader>,
    pub stop: Arc<Stop>,
    pub source: RelPath,
    pub tree_root: TreeRoot,
    pub scan_start: Time,
    pub unread: Vec<Problem>,
    pub adopt: bool,
    pub keep: KeepRules,
    pub transfers: Option<usize>,
    pub limit: Arc<Limit>,
    pub limit_download: Arc<Limit>,
    /// Content bytes in flight a destination.
    pub window: u64,
    pub job: Option<String>,
    pub kind: Option<String>,
    pub dump_streams: Arc<DumpStreams>,
}

impl Common {
    /// One destination takes part no longer: the others do not wait for it.
    pub fn leave(&self, place: usize) {
        self.shared_reader.leave(place);
        self.dump_streams.leave(place);
    }
}

/// One destination's part of a run.
pub struct DestinationRun {
    pub destination: Destination,
    /// Its place among the destinations.
    pub index: usize,
    pub plan: PathBuf,
    pub facts: Facts,
    /// What could not be read when the plan was finished.
    pub unread: Vec<Problem>,
    pub progress: Arc<Progress>,
}
