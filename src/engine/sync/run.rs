//! The data that the steps of a sync share: for the whole run, and for one destination.

use std::path::PathBuf;
use std::sync::Arc;

use super::repack::Repack;
use super::replay::Replay;
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
    /// When the scan began. `None` if no disk was scanned.
    pub scan_start: Option<Time>,
    pub unread: Vec<Problem>,
    pub adopt: bool,
    pub keep: KeepRules,
    pub transfers: Option<usize>,
    pub limit: Arc<Limit>,
    pub limit_download: Arc<Limit>,
    /// Content bytes in flight at one destination, at most.
    pub window: u64,
    pub job: Option<String>,
    pub kind: Option<String>,
    pub dump_streams: Arc<DumpStreams>,
    /// The snapshot that is copied, if contents come from another destination.
    pub replay: Option<Replay>,
}

impl Common {
    /// Ends the part of one destination. The others no longer wait for it.
    pub fn leave(&self, index: usize) {
        self.shared_reader.leave(index);
        self.dump_streams.leave(index);
    }
}

/// One destination's part of a run.
pub struct DestinationRun {
    pub destination: Destination,
    /// Index of the destination among the URLs of the run.
    pub index: usize,
    pub plan: PathBuf,
    pub facts: Facts,
    /// Files that could not be read while the plan was finished.
    pub unread: Vec<Problem>,
    pub progress: Arc<Progress>,
    /// Which packs are repacked.
    pub repack: Repack,
}
