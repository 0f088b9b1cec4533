//! Contents that are made while they are sent, once for all destinations.
//!
//! Owns the way from the source of a dump to every destination, with a bounded number of blocks in between. The slowest
//! destination sets the pace, and one that has left delays no other. A source starts when the first destination takes
//! its dump.
//! Invariant: the last chunk tells a destination whether the dump is complete. Without that chunk it is not.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::stop::Stop;
use crate::model::RelPath;

/// Blocks that one destination has not taken yet, at most.
const AHEAD: usize = 8;

/// A part of a dump. A source sends them in order.
#[derive(Debug, Clone)]
pub enum DumpChunk {
    /// The next bytes.
    Block(Bytes),
    /// The last chunk. The error says why the dump is incomplete.
    End(Result<(), String>),
}

/// Makes a content while it is sent, for example from the output of a command.
pub trait Source: fmt::Debug + Send + Sync {
    /// Starts to make the content, sends every chunk to all of `to`, and returns at once. It skips a receiver that has
    /// been dropped. It ends if the run is stopped.
    fn start(&self, to: Vec<Sender<DumpChunk>>, stop: Arc<Stop>);
}

/// One dump, and the checks that it must pass.
#[derive(Debug, Clone)]
pub struct Dump {
    /// A name at the top of the tree.
    pub path: RelPath,
    /// Makes the content.
    pub source: Arc<dyn Source>,
    /// Smallest length that is accepted, in bytes.
    pub min_size: u64,
    /// Largest part of the previous length by which the dump may be smaller: 0.25 is a quarter. `None` for no check.
    pub max_shrink: Option<f64>,
}

struct DumpSlot {
    /// `None` once the source has started.
    senders: Option<Vec<Sender<DumpChunk>>>,
    receivers: Vec<Option<Receiver<DumpChunk>>>,
}

/// The dumps of a run, each for every destination.
pub struct DumpStreams {
    dumps: Vec<Dump>,
    slots: Mutex<Vec<DumpSlot>>,
    stop: Arc<Stop>,
}

impl DumpStreams {
    /// Prepares a channel for each dump and each destination. No source starts yet.
    pub fn new(dumps: Vec<Dump>, destinations: usize, stop: Arc<Stop>) -> Self {
        let slot = |_: &Dump| {
            let (senders, receivers) = (0..destinations).map(|_| mpsc::channel(AHEAD)).unzip();
            DumpSlot { senders: Some(senders), receivers: Vec::into_iter(receivers).map(Some).collect() }
        };
        Self { slots: Mutex::new(dumps.iter().map(slot).collect()), dumps, stop }
    }

    /// A run without dumps.
    pub fn none() -> Self {
        Self::new(Vec::new(), 0, Arc::default())
    }

    /// All dumps. Their indices in this list are the arguments of [`Self::take`].
    pub fn dumps(&self) -> &[Dump] {
        &self.dumps
    }

    /// Takes the chunks of a dump for one destination, and starts the source if it is the first to do so. `None` if
    /// they were taken before or the destination has left.
    pub fn take(&self, dump: usize, destination: usize) -> Option<Receiver<DumpChunk>> {
        let (receiver, senders) = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let slot = slots.get_mut(dump)?;
            (slot.receivers.get_mut(destination)?.take()?, slot.senders.take())
        };
        if let (Some(senders), Some(dump)) = (senders, self.dumps.get(dump)) {
            dump.source.start(senders, Arc::clone(&self.stop));
        }
        Some(receiver)
    }

    /// Tells the sources that a destination takes no more chunks. It discards only dumps that the destination has not
    /// taken.
    pub fn leave(&self, destination: usize) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in slots.iter_mut() {
            if let Some(receiver) = slot.receivers.get_mut(destination) {
                receiver.take();
            }
        }
    }
}
