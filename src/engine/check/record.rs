//! The check record: `.offsite/check.json`. It tells any host when a destination was last checked.
//!
//! Owns the shape of the record, and the point where the next sample begins. If the record is not written, this machine
//! remembers the point. That point counts until the record at the destination changes.
//! Invariant: a record is written only after a check that finished.

use std::path::PathBuf;

use object_store::PutMode;
use offsite_backends::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::engine::destination::Destination;
use crate::error::{Error, Result};
use crate::manifest::Records;
use crate::model::{RelPath, Sample, bounds};

/// The check record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// When the check ended, by the store's clock, in RFC 3339.
    #[serde(deserialize_with = "bounds::text")]
    pub time: String,
    #[serde(deserialize_with = "bounds::text")]
    pub host: String,
    #[serde(deserialize_with = "bounds::text")]
    pub program: String,
    /// Number of the newest snapshot at that time.
    pub snapshot: u64,
    /// `good`, `wrong`, or `partly` if nothing is wrong but not everything could be checked.
    #[serde(deserialize_with = "bounds::text")]
    pub result: String,
    pub missing: u64,
    pub changed: u64,
    pub damaged: u64,
    pub foreign: u64,
    /// Number of contents that must be at the destination, and their bytes.
    pub contents: u64,
    pub bytes: u64,
    /// What was read and compared: the share (1 is everything), files and bytes.
    #[serde(default)]
    pub share: f64,
    #[serde(default)]
    pub read: u64,
    #[serde(default)]
    pub read_bytes: u64,
    /// The point where the next sample begins. A round has 2^32 points.
    #[serde(default)]
    pub next: u32,
    /// Keys of contents that were read and are damaged. Every check reads them again until they are repaired.
    #[serde(default, skip_serializing_if = "Sample::names_none")]
    pub rotten: Sample<RelPath>,
}

impl CheckRecord {
    pub const KEY: &str = ".offsite/check.json";

    /// Reads the record. One that is damaged, or that the credentials may not read, counts as none.
    pub async fn read(records: &Records) -> Result<Option<Self>> {
        match records.read(Self::KEY).await {
            Ok(found) => Ok(found.map(|held| held.record)),
            Err(Error::Damaged { .. }) => Ok(None),
            Err(error) if error.kind() == Some(ErrorKind::Denied) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the record to the destination, in place of an earlier one.
    pub async fn write(&self, records: &Records) -> Result<()> {
        records.write(Self::KEY, self, PutMode::Overwrite).await.map(drop)
    }
}

/// What this machine remembers of a check whose record was not written.
#[derive(Debug, Serialize, Deserialize)]
struct Local {
    /// The time of the record that the destination had.
    after: Option<String>,
    next: u32,
    #[serde(default)]
    rotten: Vec<RelPath>,
}

fn local(destination: &Destination) -> PathBuf {
    destination.local("check-next.json")
}

/// The point where the next sample begins, and the keys that the last check found damaged.
pub fn where_to(destination: &Destination, record: Option<&CheckRecord>) -> (u32, Vec<RelPath>) {
    let here: Option<Local> = std::fs::read(local(destination)).ok().and_then(|body| serde_json::from_slice(&body).ok());
    match (here, record) {
        (Some(here), _) if here.after.as_ref() == record.map(|r| &r.time) => (here.next, here.rotten),
        (_, Some(record)) => (record.next, record.rotten.first().to_vec()),
        _ => (0, Vec::new()),
    }
}

/// Remembers on this machine what would be in the record. `before` is the record that the destination has.
pub fn keep_here(destination: &Destination, before: Option<&CheckRecord>, record: &CheckRecord) -> Result<()> {
    let here = Local { after: before.map(|r| r.time.clone()), next: record.next, rotten: record.rotten.first().to_vec() };
    let path = local(destination);
    let body = serde_json::to_vec(&here).map_err(|e| Error::damaged(path.display(), e))?;
    std::fs::write(&path, body).map_err(|e| Error::cache(&path, e))
}
