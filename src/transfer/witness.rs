//! Whether a store that did not give one content still answers at all.
//!
//! Owns the request that tells a failure of one object (archived, key refused, lost, damaged) from one of the whole
//! store (expired credentials, a lost network): it asks for the snapshot that is being read. No status or text of a
//! store is as reliable, and the request is the same for every store.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::error::Result;
use crate::manifest::Records;

/// How long an answer is valid. If many contents fail, this makes one request a second.
const FRESH: Duration = Duration::from_secs(1);

/// Checks that a store still answers about one snapshot.
#[derive(Debug)]
pub struct Witness {
    number: u64,
    asked: Mutex<Option<Instant>>,
    gone: AtomicBool,
}

impl Witness {
    /// For the snapshot with this number.
    pub fn new(number: u64) -> Self {
        Self { number, asked: Mutex::default(), gone: AtomicBool::default() }
    }

    /// Succeeds if the store answers about the snapshot, whether it exists or not. Costs at most one request a second.
    ///
    /// # Errors
    /// The error that the store returned instead.
    pub async fn ask(&self, records: &Records) -> Result<()> {
        let mut asked = self.asked.lock().await;
        if asked.is_none_or(|at| at.elapsed() >= FRESH) {
            self.look(records).await?;
            *asked = Some(Instant::now());
        }
        Ok(())
    }

    /// The number of the snapshot, if it expired meanwhile. Asks the store again.
    pub async fn gone(&self, records: &Records) -> Option<u64> {
        if !self.gone.load(SeqCst) {
            let _ = self.look(records).await;
        }
        self.gone.load(SeqCst).then_some(self.number)
    }

    async fn look(&self, records: &Records) -> Result<()> {
        let there = records.has_snapshot(self.number).await?;
        self.gone.fetch_or(!there, SeqCst);
        Ok(())
    }
}
