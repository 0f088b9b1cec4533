//! A limit of bytes a second, shared by all that send (or receive) at once.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Spreads bytes over time; lets through what came due.
#[derive(Debug)]
pub struct Limit {
    /// Bytes a second; none: no limit.
    rate: Option<u64>,
    /// When everything taken so far will have been paid for.
    due: Mutex<Instant>,
}

impl Limit {
    pub fn new(rate: Option<u64>) -> Self {
        Self { rate: rate.filter(|r| *r > 0), due: Mutex::new(Instant::now()) }
    }

    /// Returns when so many bytes may go.
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
