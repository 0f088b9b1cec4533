//! `history`: the changes of one path, snapshot by snapshot.
//!
//! Owns the comparison of a path's entry in each snapshot with its entry in the one before. It searches every
//! distinct root page once, and reads every distinct page that can hold the path once, a few at a time. It notes a
//! snapshot that is damaged where the path would be, and continues with the next.

use std::cmp::Reverse;
use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::at;
use super::spot::{EntrySpot, find, own_pages};
use super::words::change;
use crate::engine::clock::shown;
use crate::engine::damage::is_damage;
use crate::engine::destination::Destination;
use crate::engine::machine::Machine;
use crate::error::{Error, Result};
use crate::manifest::{PageSource, Records, SnapshotRef};
use crate::model::{Entry, Hash, Kind, PageRef, RelPath, Sample, Snapshot, Time};

/// Objects in flight.
const AHEAD: usize = 16;
/// Pages of entries in flight. There are few, because unpacked pages take memory.
const PAGES_AHEAD: usize = 4;

/// One snapshot at which a path is not what it was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct HistoryLine {
    /// Number of the snapshot.
    pub snapshot: u64,
    /// When it was committed by the store's clock, RFC 3339, UTC.
    pub time: String,
    /// `added`, `changed`, `metadata`, `removed` or `damaged`.
    pub change: &'static str,
    /// Content bytes, if it is a file there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When the entry was last modified; null if it was removed or is damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub mtime: Option<Time>,
    /// BLAKE3 of the content, if it is a file there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hash>,
    /// What is damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A value from a snapshot, or why it cannot be read.
type Soft<T> = Result<T, String>;
/// The hashes of the pages that can hold the path.
type VersionKey = Vec<Hash>;

/// Lists, newest first, the snapshots in which a path was added, changed, got other metadata, or was removed.
///
/// # Errors
/// [`Error::Usage`] for a path that no snapshot has; errors of the store.
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
/// # std::fs::remove_file(site.join("index.html"))?;
/// # engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// let lines = engine::history(&machine, &backup, "index.html").await?;
/// let changes: Vec<_> = lines.iter().map(|line| (line.snapshot, line.change)).collect();
/// assert_eq!(changes, [(3, "removed"), (2, "changed"), (1, "added")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn history(machine: &Machine, url: &str, path: &str) -> Result<Vec<HistoryLine>> {
    history_over(&Destination::open(url, machine).await?.records, path).await
}

/// Like [`history`], over records that are already open.
///
/// # Errors
/// [`Error::Usage`] for the top of the tree, for a path that no snapshot has, if no snapshot exists, and if a newer
/// offsite wrote one. Errors of the store. A damaged snapshot is a line, not an error.
pub async fn history_over(records: &Records, path: &str) -> Result<Vec<HistoryLine>> {
    let spot = EntrySpot::new(path);
    if spot.is_top() {
        return Err(Error::Usage("history needs a path below the top; `snapshots` lists the whole tree".into()));
    }
    let list = at::list_checked(records).await?;
    let snapshots = read_snapshots(records, list).await?;
    let source = PageSource::new(records.clone());
    let pages = locate(&source, &snapshots, &spot).await?;
    let entries = read_entries(&source, &pages, &spot).await?;
    let states = snapshots.iter().map(|(listed, snapshot)| {
        let state = match snapshot.as_ref().map(root) {
            Err(problem) => Err(problem),
            Ok(None) => Ok(None),
            Ok(Some(hash)) => match &pages[&hash] {
                Err(problem) => Err(problem),
                Ok(pages) => entries[&key(pages)].as_ref().map(Option::as_ref),
            },
        };
        (listed, state)
    });
    let lines = lines(states);
    if lines.is_empty() {
        return Err(Error::Usage(format!("{} is in no snapshot of {}", RelPath::from(path), records.url(""))));
    }
    Ok(lines)
}

fn root(snapshot: &Snapshot) -> Option<Hash> {
    snapshot.root.as_ref().map(|root| root.hash)
}

fn key(pages: &[PageRef]) -> VersionKey {
    pages.iter().map(|page| page.hash).collect()
}

/// Turns damage into a value. Other errors would concern every snapshot, so they stay errors.
fn soft<T>(result: Result<T>) -> Result<Soft<T>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if is_damage(&error) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

/// All snapshots, oldest first, without their lists, which may be long.
async fn read_snapshots(records: &Records, list: Vec<SnapshotRef>) -> Result<Vec<(SnapshotRef, Soft<Snapshot>)>> {
    let last = list.last().map(|last| last.number);
    stream::iter(list)
        .map(|listed| async move {
            let read = soft(records.snapshot(listed.number).await)?;
            if let Ok(newest) = read.as_ref()
                && last == Some(listed.number)
            {
                at::check(records, newest)?;
            }
            let read = read.map(|(snapshot, _)| Snapshot {
                objects: Vec::new(),
                unread: Sample::default(),
                unstable: Sample::default(),
                ..snapshot
            });
            Ok((listed, read))
        })
        .buffered(AHEAD)
        .try_collect()
        .await
}

/// For each root page: the pages that can hold the path.
async fn locate(
    source: &PageSource,
    snapshots: &[(SnapshotRef, Soft<Snapshot>)],
    spot: &EntrySpot,
) -> Result<HashMap<Hash, Soft<Vec<PageRef>>>> {
    let good = snapshots.iter().filter_map(|(_, snapshot)| snapshot.as_ref().ok());
    // Owned, because a future over borrowed items is not `Send`.
    let roots: HashMap<Hash, Snapshot> = good.filter_map(|s| Some((root(s)?, s.clone()))).collect();
    stream::iter(roots)
        .map(|(root, snapshot)| async move { Ok((root, soft(own_pages(source, &snapshot, spot).await)?)) })
        .buffer_unordered(AHEAD)
        .try_collect()
        .await
}

/// For each group of such pages: the path's entry.
async fn read_entries(
    source: &PageSource,
    pages: &HashMap<Hash, Soft<Vec<PageRef>>>,
    spot: &EntrySpot,
) -> Result<HashMap<VersionKey, Soft<Option<Entry>>>> {
    let good = pages.values().filter_map(|pages| pages.as_ref().ok());
    let groups: HashMap<VersionKey, Vec<PageRef>> = good.map(|pages| (key(pages), pages.clone())).collect();
    stream::iter(groups)
        .map(|(key, pages)| async move { Ok((key, soft(find(source, pages, spot).await)?)) })
        .buffer_unordered(PAGES_AHEAD)
        .try_collect()
        .await
}

/// Compares each snapshot, oldest first, with the last one that could be read; newest line first.
fn lines<'a>(states: impl Iterator<Item = (&'a SnapshotRef, Result<Option<&'a Entry>, &'a String>)>) -> Vec<HistoryLine> {
    let mut before = None;
    let mut lines = Vec::new();
    for (listed, state) in states {
        let (change, entry, problem) = match state {
            Err(problem) => ("damaged", None, Some(problem.clone())),
            Ok(now) => match change(std::mem::replace(&mut before, now), now) {
                Some(change) => (change, now, None),
                None => continue,
            },
        };
        lines.push(HistoryLine {
            snapshot: listed.number,
            time: shown(listed.modified),
            change,
            size: entry.filter(|e| e.kind == Kind::File).map(|e| e.size),
            mtime: entry.map(|e| e.mtime),
            hash: entry.and_then(|e| e.content.as_ref()).map(|c| c.hash),
            problem,
        });
    }
    lines.sort_by_key(|line| Reverse(line.snapshot));
    lines
}
