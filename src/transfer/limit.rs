//! A limit of bytes a second, shared by everything that sends or receives at the same time.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Spreads transfers over time.
#[derive(Debug)]
pub struct Limit {
    /// Bytes a second. `None` for no limit.
    rate: Option<u64>,
    /// When the bytes taken so far are within the rate.
    due: Mutex<Instant>,
}

impl Limit {
    /// A limit in bytes a second. `None` and 0 mean no limit.
    pub fn new(rate: Option<u64>) -> Self {
        Self { rate: rate.filter(|r| *r > 0), due: Mutex::new(Instant::now()) }
    }

    /// Waits until this many bytes may be transferred.
    pub async fn take(&self, bytes: u64) {
        let Some(rate) = self.rate else { return };
        let until = {
            let mut due = self.due.lock().await;
            *due = (*due).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / rate as f64);
            *due
        };
        tokio::time::sleep_until(until).await;
    }
}
