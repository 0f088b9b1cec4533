//! The list of the snapshots of a destination, each with its time.
//!
//! Owns which objects are snapshots, and which time counts. That is the store's time of the object, so that no clock of
//! a writer decides what expires. Of a copied snapshot, it is the time that it had where it was copied from.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use offsite_backends::ErrorKind;

use super::copied_times::CopiedTimes;
use super::format::{Format, why_no_key};
use super::records::{Records, object_path, snapshot_key, snapshot_number};
use crate::error::{Error, Result};

/// Snapshots that are read at a time.
const AHEAD: usize = 8;

/// One snapshot as the store lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRef {
    /// Number of the snapshot.
    pub number: u64,
    /// When it was committed, by the store's clock. Of a copied snapshot, when it was committed where it was copied from.
    pub modified: DateTime<Utc>,
    /// The store's time of its object, which is the same unless it is copied.
    pub written: DateTime<Utc>,
    /// Tag of its object, if the store has tags.
    pub etag: Option<String>,
}

impl Records {
    /// Snapshots with a higher number than `after` (all, if none), in order. Ignores objects beside them that do not
    /// have the name of a snapshot; a check lists those as foreign. Snapshots that a copy made have the times that they
    /// had where they were copied from, if the list of these times can be read.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the folder holds more than 250,000 objects or its listing never ends. Otherwise the
    /// store's own error, for example if the bucket is missing.
    pub async fn snapshots(&self, after: Option<u64>) -> Result<Vec<SnapshotRef>> {
        match self.snapshots_in_time(after).await {
            Ok(found) => Ok(found),
            Err((Some(found), error)) => {
                tracing::warn!(target: "offsite::run", %error, "copied snapshots are shown with the times of their copies");
                Ok(found)
            }
            Err((None, error)) => Err(error),
        }
    }

    /// [`Records::snapshots`] for retention. Somebody who may write but not delete could list wrong times, so that a prune
    /// deletes what should stay. So a time counts only if the snapshot itself says it, if it is not after the store's,
    /// and not before that of the snapshot before. Reads every copied snapshot.
    ///
    /// # Errors
    /// Those of [`Records::snapshots`], and [`Error::Damaged`] if the list of times cannot be read.
    pub async fn snapshots_to_expire(&self) -> Result<Vec<SnapshotRef>> {
        let (mut found, copied) = self.snapshots_as_listed(None).await?;
        if !copied {
            return Ok(found);
        }
        let mut listed = found.clone();
        set(&self.copied_times().await?, &mut listed);
        let asked = listed.iter().zip(&found).map(|(listed, stored)| async move {
            if listed.modified >= stored.modified {
                return Ok(false);
            }
            match self.snapshot(listed.number).await {
                Ok((snapshot, _)) => Ok(snapshot.copied.is_some_and(|from| from.time == listed.modified.timestamp())),
                Err(Error::Damaged { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        });
        let said: Vec<bool> = stream::iter(asked.collect::<Vec<_>>()).buffered(AHEAD).try_collect().await?;
        let mut before = DateTime::<Utc>::MIN_UTC;
        for ((stored, listed), said) in found.iter_mut().zip(&listed).zip(said) {
            if said && listed.modified >= before {
                stored.modified = listed.modified;
            }
            before = stored.modified;
        }
        Ok(found)
    }

    /// The times of copied snapshots at this destination, as seconds since 1970. Empty if no copy wrote any.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the list cannot be read.
    pub async fn copied_times(&self) -> Result<CopiedTimes> {
        Ok(self.read(CopiedTimes::KEY).await?.map_or_else(CopiedTimes::default, |stored| stored.record))
    }

    /// The snapshots with their times. The error has the snapshots, if it is about the times only.
    async fn snapshots_in_time(&self, after: Option<u64>) -> Result<Vec<SnapshotRef>, (Option<Vec<SnapshotRef>>, Error)> {
        let (mut found, copied) = self.snapshots_as_listed(after).await.map_err(|error| (None, error))?;
        if !copied || found.is_empty() {
            return Ok(found);
        }
        match self.copied_times().await {
            Ok(times) => {
                set(&times, &mut found);
                Ok(found)
            }
            Err(error @ Error::Damaged { .. }) => Err((Some(found), error)),
            Err(error) => Err((None, error)),
        }
    }

    /// The snapshots with the store's times, and whether the list of copied times is beside them.
    async fn snapshots_as_listed(&self, after: Option<u64>) -> Result<(Vec<SnapshotRef>, bool)> {
        const FOLDER: &str = ".offsite/snapshots";
        let folder = object_path(FOLDER.as_bytes())?;
        let listing = match after {
            None => self.store.list(Some(&folder)),
            Some(number) => self.store.list_with_offset(Some(&folder), &object_path(snapshot_key(number).as_bytes())?),
        };
        let copied = AtomicBool::new(false);
        let noted = &copied;
        let found = self
            .few(FOLDER, listing)
            .try_filter_map(|meta| async move {
                noted.fetch_or(meta.location.as_ref().ends_with(CopiedTimes::KEY), Relaxed);
                if self.keys.is_none() && meta.location.as_ref().ends_with(".json.age") {
                    return Err(why_no_key(self.backend().location(), self.url(Format::KEY), self.format().await));
                }
                let number = meta.location.filename().and_then(snapshot_number);
                Ok(number.map(|number| SnapshotRef { number, modified: meta.last_modified, written: meta.last_modified, etag: meta.e_tag }))
            })
            .try_collect::<Vec<_>>()
            .await;
        let mut found = match found {
            // The directory does not exist yet. An object store has no directories, so there the bucket is missing.
            Err(error) if error.kind() == Some(ErrorKind::NotFound) && self.backend().capabilities().any_name => Vec::new(),
            found => found?,
        };
        found.retain(|s| after.is_none_or(|n| s.number > n));
        found.sort_by_key(|s| s.number);
        found.dedup_by_key(|s| s.number);
        Ok((found, copied.into_inner()))
    }
}

/// Sets the times of the snapshots that the list has.
fn set(times: &CopiedTimes, list: &mut [SnapshotRef]) {
    for (number, time) in &times.times {
        if let Ok(at) = list.binary_search_by_key(number, |listed| listed.number)
            && let Some(time) = DateTime::from_timestamp(*time, 0)
        {
            list[at].modified = time;
        }
    }
}
