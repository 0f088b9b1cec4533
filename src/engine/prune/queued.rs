//! A line of the list of what a prune deletes.

use serde::{Deserialize, Serialize};

use crate::model::RelPath;

/// One thing that goes.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueuedDeletion {
    pub key: RelPath,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub bytes: u64,
    /// Locked until then, by the store's clock, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// Only if the store wrote it no earlier than this, and no later than that; seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
}

impl QueuedDeletion {
    /// What lies at a key, without a version of the store.
    pub fn at(key: &[u8], bytes: u64) -> Self {
        Self { key: key.to_vec().into(), version: None, bytes, until: None, after: None, before: None }
    }
}

/// A line of the list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum QueueLine {
    /// The first: what has to be gone. A list of an older offsite has none; it was written for snapshots that went.
    After {
        snapshots: Vec<u64>,
    },
    QueuedDeletion(QueuedDeletion),
}
