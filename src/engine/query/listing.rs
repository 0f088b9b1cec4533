//! `snapshots`: every snapshot of a destination with the facts of its run.
//!
//! Owns the rows. It fetches a few objects at a time and returns them in order. A damaged snapshot is a row that says
//! so, and hides none of the others.

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::at;
use crate::engine::clock::shown;
use crate::engine::damage::is_damage;
use crate::engine::destination::Destination;
use crate::engine::machine::Machine;
use crate::error::{Error, Result};
use crate::manifest::{Records, SnapshotRef};
use crate::model::{Counts, RelPath, Snapshot};

/// Snapshot objects in flight.
const AHEAD: usize = 16;

/// All snapshots of a destination, oldest first.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Listing {
    /// URL of the destination.
    pub url: String,
    /// The snapshots, oldest first.
    pub snapshots: Vec<SnapshotRow>,
    /// Why they are not what this machine has seen at that destination before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Exit code: 4 with such a problem.
    #[serde(skip)]
    pub exit: u8,
}

/// One snapshot. If `problem` is set, only its number and time are known.
#[derive(Debug, Default, Serialize, schemars::JsonSchema)]
pub struct SnapshotRow {
    /// Number of the snapshot.
    pub number: u64,
    /// When it was committed by the store's clock, RFC 3339, UTC.
    pub time: String,
    /// Host that made it.
    pub host: String,
    /// The source: the directory that was backed up.
    pub source: RelPath,
    /// Entries of the tree.
    pub entries: u64,
    /// Files of the tree.
    pub files: u64,
    /// Content bytes of the tree.
    pub bytes: u64,
    /// Entries by kind of change since the snapshot before.
    pub changes: Counts,
    /// Content bytes that the run sent.
    pub sent: u64,
    /// How many paths could not be read.
    pub unread: u64,
    /// Why the snapshot cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Lists the snapshots of a destination.
///
/// # Errors
/// If there is no snapshot, or the store cannot be read. A damaged snapshot is no error.
///
/// # Examples
///
/// ```
/// use offsite::engine;
/// # use offsite::engine::{Machine, RunControl, SyncOptions};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # let urls = [backup.clone()];
/// # engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// # std::fs::write(site.join("index.html"), "<h1>hello, world</h1>")?;
/// # std::fs::write(site.join("about.html"), "<h1>about</h1>")?;
/// # engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// let listing = engine::snapshots(&machine, &backup).await?;
/// let rows: Vec<_> = listing.snapshots.iter().map(|row| (row.number, row.files, row.bytes)).collect();
/// assert_eq!(rows, [(1, 1, 14), (2, 2, 35)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn snapshots(machine: &Machine, url: &str) -> Result<Listing> {
    snapshots_over(&Destination::open(url, machine).await?.records).await
}

/// Like [`snapshots`], over records that are already open.
///
/// # Errors
/// [`Error::Usage`] if no snapshot exists. [`Error::Store`] if the store cannot be read. A damaged snapshot is a row,
/// not an error.
pub async fn snapshots_over(records: &Records) -> Result<Listing> {
    let list = at::list(records).await?;
    let last = list.last().map(|last| last.number);
    let rows: Vec<(SnapshotRow, Result<()>)> = stream::iter(list)
        .map(|listed| async move {
            let read = records.snapshot(listed.number).await;
            let follows = match &read {
                Ok(newest) if last == Some(listed.number) => at::check(records, newest),
                _ => Ok(()),
            };
            Ok::<_, Error>((row(&listed, read.map(|(snapshot, _)| snapshot))?, follows))
        })
        .buffered(AHEAD)
        .try_collect()
        .await?;
    let refused = rows.iter().find_map(|(_, follows)| follows.as_ref().err());
    let (problem, exit) = (refused.map(ToString::to_string), refused.map_or(0, Error::exit_code));
    Ok(Listing { url: records.url(""), snapshots: rows.into_iter().map(|(row, _)| row).collect(), problem, exit })
}

fn row(listed: &SnapshotRef, read: Result<Snapshot>) -> Result<SnapshotRow> {
    let bare = SnapshotRow { number: listed.number, time: shown(listed.modified), ..SnapshotRow::default() };
    match read {
        Ok(snapshot) => Ok(SnapshotRow {
            unread: snapshot.unread_count(),
            host: snapshot.host,
            source: snapshot.source,
            entries: snapshot.totals.entries,
            files: snapshot.totals.files,
            bytes: snapshot.totals.bytes,
            changes: snapshot.changes,
            sent: snapshot.sent,
            ..bare
        }),
        // A usage error means that a newer program wrote the snapshot.
        Err(error) if is_damage(&error) || matches!(error, Error::Usage(_)) => Ok(SnapshotRow { problem: Some(error.to_string()), ..bare }),
        Err(error) => Err(error),
    }
}
