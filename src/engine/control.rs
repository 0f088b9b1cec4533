//! Progress and cancellation of a run, and how much content it may hold in memory.

use std::sync::Arc;

use crate::transfer::{Progress, Stop};

/// Content bytes in flight, for all destinations together.
pub const WINDOW: u64 = 48 << 20;

/// Progress and cancellation of one run. Clones share both.
#[derive(Clone, Default)]
pub struct RunControl {
    /// Counters, one for each destination, in the order of the URLs.
    pub progress: Vec<Arc<Progress>>,
    /// The cancellation token.
    pub stop: Arc<Stop>,
}

impl RunControl {
    /// A control for a run with this many destinations.
    pub fn new(destinations: usize) -> Self {
        Self { progress: (0..destinations).map(|_| Arc::default()).collect(), stop: Arc::default() }
    }
}
