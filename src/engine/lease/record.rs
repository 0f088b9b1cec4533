//! The lease as an object of the destination.

use std::time::Duration;

use object_store::{PutMode, UpdateVersion};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::manifest::Records;
use crate::model::bounds;

pub const KEY: &str = ".offsite/lease.json";

/// A lease expires this long after its last renewal.
pub const TTL: Duration = Duration::from_mins(2);

/// Without compare-and-swap two writers may both write a lease. After this time both read the one that was written
/// last.
pub const SETTLE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Random id of the run.
    #[serde(deserialize_with = "bounds::text")]
    pub run: String,
    #[serde(deserialize_with = "bounds::text")]
    pub host: String,
    /// The local lock file of the writer (boot id, device, inode).
    #[serde(deserialize_with = "bounds::text")]
    pub writer: String,
    pub pid: u32,
    /// When the run began, RFC 3339, by the writer's clock; for people.
    #[serde(deserialize_with = "bounds::text")]
    pub since: String,
    /// The snapshot it started from.
    pub base: u64,
    /// Lifetime in seconds, from the store's time of the last renewal.
    pub ttl: u64,
    /// The run was stopped, and another run may take over at once.
    #[serde(default)]
    pub interrupted: bool,
    /// The run ended cleanly, and may not delete the lease. `interrupted` is set too, for programs that do not know this
    /// member.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
}

impl Body {
    /// The run that wrote this, if it did not end cleanly.
    pub fn cut_off(self) -> Option<String> {
        (!self.released).then_some(self.run)
    }
}

/// Whether a run that ended cleanly left the lease, because it may not delete it.
///
/// # Errors
/// The store's own error. A lease that cannot be read counts as not released.
pub async fn is_released(records: &Records) -> Result<bool> {
    match read(records).await {
        Ok(held) => Ok(held.is_some_and(|(body, ..)| body.released)),
        Err(Error::Damaged { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

pub fn mode(swap: bool, etag: Option<String>) -> PutMode {
    match etag {
        Some(etag) if swap => PutMode::Update(UpdateVersion { e_tag: Some(etag), version: None }),
        _ => PutMode::Overwrite,
    }
}

pub async fn put(records: &Records, body: &Body, mode: PutMode) -> Result<Option<String>> {
    records.write(KEY, body, mode).await
}

pub async fn read(records: &Records) -> Result<Option<(Body, chrono::DateTime<chrono::Utc>, Option<String>)>> {
    let held = records.read(KEY).await.map_err(|error| match error {
        Error::Damaged { object, what } => {
            Error::Damaged { object, what: format!("{what}; if no offsite is running there, delete that object and run again") }
        }
        error => error,
    })?;
    Ok(held.map(|held| (held.record, held.modified, held.etag)))
}
