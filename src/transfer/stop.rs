//! Cancellation: the user pressed Ctrl-C, or a lease was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

use crate::error::{Error, Result};

const RUN: u8 = 0;
const INTERRUPTED: u8 = 1;
const LOST: u8 = 2;

/// Cancellation token. Every part of a run shares it and checks it between steps.
#[derive(Debug, Default)]
pub struct Stop {
    state: AtomicU8,
    wake: Notify,
    above: Option<Arc<Self>>,
}

impl Stop {
    /// A token that also stops if `above` stops. Stopping it does not stop `above`.
    pub fn below(above: &Arc<Self>) -> Self {
        Self { above: Some(Arc::clone(above)), ..Self::default() }
    }

    /// Stops because the user asked for it. A lost lease stays the reason if it came first.
    pub fn interrupt(&self) {
        let _ = self.state.compare_exchange(RUN, INTERRUPTED, Ordering::SeqCst, Ordering::SeqCst);
        self.wake.notify_waiters();
    }

    /// Stops because another writer has the lease of the destination.
    pub fn lease_lost(&self) {
        self.state.store(LOST, Ordering::SeqCst);
        self.wake.notify_waiters();
    }

    /// Checks whether the run may continue.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after an interrupt, [`Error::Busy`] after a lost lease.
    pub fn check(&self) -> Result<()> {
        match self.state.load(Ordering::SeqCst) {
            RUN => self.above.as_ref().map_or(Ok(()), |above| above.check()),
            LOST => {
                Err(Error::Busy("the lease on the destination was lost to another writer, and nothing was committed; run again".into()))
            }
            _ => Err(Error::Interrupted),
        }
    }

    /// Waits until the run is stopped.
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
