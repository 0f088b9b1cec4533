//! The record of a check: `.offsite/check.json`, for any host that asks when a destination was last checked.
//!
//! Owns its shape, and where the reading of samples goes on. Where it cannot be written the point is kept on this
//! machine, and counts as long as nobody else has left a record since.
//! Invariant: a record is only ever written after a check that came to its end.

use std::path::PathBuf;

use object_store::PutMode;
use offsite_backends::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::engine::destination::Destination;
use crate::error::{Error, Result};
use crate::manifest::Records;
use crate::model::{RelPath, Sample, bounds};

/// What a check leaves behind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// By the store's clock, RFC 3339.
    #[serde(deserialize_with = "bounds::text")]
    pub time: String,
    #[serde(deserialize_with = "bounds::text")]
    pub host: String,
    #[serde(deserialize_with = "bounds::text")]
    pub program: String,
    /// The newest snapshot at that time.
    pub snapshot: u64,
    /// `good`, `wrong`, or `partly` where something could not be looked at.
    #[serde(deserialize_with = "bounds::text")]
    pub result: String,
    pub missing: u64,
    pub changed: u64,
    pub damaged: u64,
    pub foreign: u64,
    /// Contents that were there to be checked, and their bytes.
    pub contents: u64,
    pub bytes: u64,
    /// What was read and compared: share (1 is everything), files, bytes.
    #[serde(default)]
    pub share: f64,
    #[serde(default)]
    pub read: u64,
    #[serde(default)]
    pub read_bytes: u64,
    /// Where the next sample begins, of 2^32 points.
    #[serde(default)]
    pub next: u32,
    /// Keys of contents that were read and were not right. They are read again by every check until they are.
    #[serde(default, skip_serializing_if = "Sample::names_none")]
    pub rotten: Sample<RelPath>,
}

impl CheckRecord {
    pub const KEY: &str = ".offsite/check.json";

    /// The record that is there; one that cannot be read counts as none.
    pub async fn read(records: &Records) -> Result<Option<Self>> {
        match records.read(Self::KEY).await {
            Ok(found) => Ok(found.map(|held| held.record)),
            Err(Error::Damaged { .. }) => Ok(None),
            Err(error) if error.kind() == Some(ErrorKind::Denied) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Leaves it at the destination.
    pub async fn write(&self, records: &Records) -> Result<()> {
        records.write(Self::KEY, self, PutMode::Overwrite).await.map(drop)
    }
}

/// A point that could not be left at the destination.
#[derive(Debug, Serialize, Deserialize)]
struct Local {
    /// The time of the record it goes on from.
    after: Option<String>,
    next: u32,
    #[serde(default)]
    rotten: Vec<RelPath>,
}

fn local(destination: &Destination) -> PathBuf {
    destination.local("check-next.json")
}

/// Where a sample begins, and what was found damaged before.
pub fn where_to(destination: &Destination, record: Option<&CheckRecord>) -> (u32, Vec<RelPath>) {
    let here: Option<Local> = std::fs::read(local(destination)).ok().and_then(|body| serde_json::from_slice(&body).ok());
    match (here, record) {
        (Some(here), _) if here.after.as_ref() == record.map(|r| &r.time) => (here.next, here.rotten),
        (_, Some(record)) => (record.next, record.rotten.first().to_vec()),
        _ => (0, Vec::new()),
    }
}

/// Keeps the point on this machine.
pub fn keep_here(destination: &Destination, before: Option<&CheckRecord>, record: &CheckRecord) -> Result<()> {
    let here = Local { after: before.map(|r| r.time.clone()), next: record.next, rotten: record.rotten.first().to_vec() };
    let path = local(destination);
    let body = serde_json::to_vec(&here).map_err(|e| Error::damaged(path.display(), e))?;
    std::fs::write(&path, body).map_err(|e| Error::cache(&path, e))
}
