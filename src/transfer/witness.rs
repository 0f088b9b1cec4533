//! Whether a store that did not give one content still gives anything.
//!
//! Owns the question that tells one object's trouble (archived, refused its key, lost, rotten) from the whole
//! store's (credentials that ran out, a network that went away): the snapshot that is being read is asked for
//! again. No status and no text of a store says that as surely, and it is the same for every store.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::error::Result;
use crate::manifest::Records;

/// How long an answer is believed. With many contents in trouble, one question a second.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Witness {
    number: u64,
    asked: Mutex<Option<Instant>>,
    gone: AtomicBool,
}

impl Witness {
    /// For the snapshot of this number.
    pub fn new(number: u64) -> Self {
        Self { number, asked: Mutex::default(), gone: AtomicBool::default() }
    }

    /// Returns if the store answers about the snapshot, there or not. Costs at most one request a second.
    ///
    /// # Errors
    /// What it answered instead.
    pub async fn ask(&self, records: &Records) -> Result<()> {
        let mut asked = self.asked.lock().await;
        if asked.is_none_or(|at| at.elapsed() >= FRESH) {
            self.look(records).await?;
            *asked = Some(Instant::now());
        }
        Ok(())
    }

    /// The number of the snapshot, if it was let go meanwhile; asked afresh.
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
