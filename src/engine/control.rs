//! How a verb is watched and stopped, and how much it may hold in memory.

use std::sync::Arc;

use crate::transfer::{Progress, Stop};

/// Content bytes in flight, all destinations together.
pub const WINDOW: u64 = 48 << 20;

/// Where a run says how far it is, and is told to stop.
#[derive(Clone, Default)]
pub struct RunControl {
    /// One for each destination.
    pub progress: Vec<Arc<Progress>>,
    pub stop: Arc<Stop>,
}

impl RunControl {
    pub fn new(destinations: usize) -> Self {
        Self { progress: (0..destinations).map(|_| Arc::default()).collect(), stop: Arc::default() }
    }
}
