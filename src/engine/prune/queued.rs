//! The format of the deletion queue, the saved list of what a prune deletes.

use serde::{Deserialize, Serialize};

use crate::model::RelPath;

/// An object or a version to delete.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueuedDeletion {
    pub key: RelPath,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub bytes: u64,
    /// Locked until this time, by the store's clock, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// Delete only a version that the store wrote at or after this time, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
    /// Delete only a version that the store wrote at or before this time, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
}

impl QueuedDeletion {
    /// The deletion of a key, without a version of the store.
    pub fn at(key: &[u8], bytes: u64) -> Self {
        Self { key: key.to_vec().into(), version: None, bytes, until: None, after: None, before: None }
    }
}

/// A line of the list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum QueueLine {
    /// The first line: the snapshots that must be deleted before the rest of the list. Lists of older offsite versions
    /// do not have it, and were written for snapshots that are already deleted.
    After {
        snapshots: Vec<u64>,
    },
    QueuedDeletion(QueuedDeletion),
}
