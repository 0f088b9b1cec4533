//! Contents that nobody has yet: made while they are sent, once for all destinations.
//!
//! Owns the way from the source of a dump to every destination, a bounded number of pieces at a time. The slowest
//! destination sets the pace; one that is gone holds nobody up. A source is started when the first destination asks.
//! Invariant: a destination is told at the end whether what it got is whole; without that word it is not.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::stop::Stop;
use crate::model::RelPath;

/// Pieces on their way to one destination.
const AHEAD: usize = 8;

/// What comes of a source, in order.
#[derive(Debug, Clone)]
pub enum DumpChunk {
    Block(Bytes),
    /// The last one: whether all of it came.
    End(Result<(), String>),
}

/// Something that makes a content as it goes: the output of a command.
pub trait Source: fmt::Debug + Send + Sync {
    /// Begins to make it and sends every piece to all of `to`; returns at once. Who does not listen any more is
    /// passed over.
    fn start(&self, to: Vec<Sender<DumpChunk>>, stop: Arc<Stop>);
}

/// One content that is made, and what it must be to be taken.
#[derive(Debug, Clone)]
pub struct Dump {
    /// A name at the top of the tree.
    pub path: RelPath,
    pub source: Arc<dyn Source>,
    /// Bytes that it has at least.
    pub min_size: u64,
    /// The share by which it may be smaller than the last one.
    pub max_shrink: Option<f64>,
}

struct DumpSlot {
    /// Until it is started.
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
    pub fn new(dumps: Vec<Dump>, destinations: usize, stop: Arc<Stop>) -> Self {
        let slot = |_: &Dump| {
            let (senders, receivers) = (0..destinations).map(|_| mpsc::channel(AHEAD)).unzip();
            DumpSlot { senders: Some(senders), receivers: Vec::into_iter(receivers).map(Some).collect() }
        };
        Self { slots: Mutex::new(dumps.iter().map(slot).collect()), dumps, stop }
    }

    /// None of them.
    pub fn none() -> Self {
        Self::new(Vec::new(), 0, Arc::default())
    }

    pub fn dumps(&self) -> &[Dump] {
        &self.dumps
    }

    /// What comes for one destination; none if it was taken or given up. The first to take one starts it.
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

    /// A destination takes nothing any more.
    pub fn leave(&self, destination: usize) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in slots.iter_mut() {
            if let Some(receiver) = slot.receivers.get_mut(destination) {
                receiver.take();
            }
        }
    }
}
