//! The wish to stop: Ctrl-C, or a lease that was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

use crate::error::{Error, Result};

const RUN: u8 = 0;
const INTERRUPTED: u8 = 1;
const LOST: u8 = 2;

/// Shared by everything that runs; asked between steps.
#[derive(Debug, Default)]
pub struct Stop {
    state: AtomicU8,
    wake: Notify,
    above: Option<Arc<Self>>,
}

impl Stop {
    /// One that also stops when `above` does. What stops this one stops nobody else.
    pub fn below(above: &Arc<Self>) -> Self {
        Self { above: Some(Arc::clone(above)), ..Self::default() }
    }

    /// The user wants to stop.
    pub fn interrupt(&self) {
        let _ = self.state.compare_exchange(RUN, INTERRUPTED, Ordering::SeqCst, Ordering::SeqCst);
        self.wake.notify_waiters();
    }

    /// Somebody else writes to the destination now.
    pub fn lease_lost(&self) {
        self.state.store(LOST, Ordering::SeqCst);
        self.wake.notify_waiters();
    }

    /// An error if it is time to stop.
    pub fn check(&self) -> Result<()> {
        match self.state.load(Ordering::SeqCst) {
            RUN => self.above.as_ref().map_or(Ok(()), |above| above.check()),
            LOST => {
                Err(Error::Busy("the lease on the destination was lost to another writer, and nothing was committed; run again".into()))
            }
            _ => Err(Error::Interrupted),
        }
    }

    /// Returns when it is time to stop.
    pub async fn wait(&self) {
        loop {
            let woken = self.wake.notified();
            if self.check().is_err() {
                return;
            }
            match &self.above {
                None => woken.await,
                Some(above) => tokio::select! {
                    () = woken => {}
                    () = Box::pin(above.wait()) => {}
                },
            }
        }
    }
}
