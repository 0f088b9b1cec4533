//! `diff`: what differs between two snapshots of a destination.
//!
//! Owns the join. It leaves out pages that both snapshots have before it fetches anything of them. It fetches the
//! other pages into local files and joins these as streams, so memory does not grow with the number of changes.
//! Invariant: the files are removed however the verb ends; a later `diff` removes those of a killed one after a day.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::at::resolve_two;
use super::words::change;
use crate::engine::destination::Destination;
use crate::engine::download::fetch_leaves;
use crate::engine::machine::Machine;
use crate::error::Result;
use crate::manifest::{CacheReader, Known, PageSource};
use crate::model::{Entry, Hash, Kind, PageRef, RelPath, Snapshot};

const PREFIX: &str = "diff-";
/// A killed process left files that are older than this.
const STALE: Duration = Duration::from_hours(24);

/// One path that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct DiffLine {
    /// `added`, `removed`, `changed` or `metadata`.
    pub change: &'static str,
    /// The path that differs.
    pub path: RelPath,
    /// Content bytes in the first snapshot, if it was a file there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_before: Option<u64>,
    /// Content bytes in the second snapshot, if it was a file there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_after: Option<u64>,
}

/// What was compared, and how many paths differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct DiffTotals {
    /// URL of the destination.
    pub url: String,
    /// Number of the first snapshot.
    pub from: u64,
    /// Number of the second snapshot.
    pub to: u64,
    /// Paths that only the second snapshot has.
    pub added: u64,
    /// Paths that only the first snapshot has.
    pub removed: u64,
    /// Paths whose kind or content differs.
    pub changed: u64,
    /// Paths of which only the metadata differs.
    pub metadata: u64,
    /// Content bytes of the whole tree in the first snapshot.
    pub bytes_before: u64,
    /// Content bytes of the whole tree in the second snapshot.
    pub bytes_after: u64,
}

/// Receives the lines.
pub type DiffSink<'a> = dyn FnMut(DiffLine) -> Result<()> + Send + 'a;

/// Compares two snapshots. Without `to`, the second is the newest. Lines come in order of paths.
///
/// # Errors
/// [`crate::error::Error::Usage`] for a snapshot that does not exist; damage; the sink's own errors.
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
/// let mut lines = Vec::new();
/// let mut sink = |line: engine::DiffLine| {
///     lines.push((line.change, line.path.to_string()));
///     Ok(())
/// };
/// let totals = engine::diff(&machine, &backup, "1", None, &mut sink).await?;
/// assert_eq!(lines, [("added", "about.html".to_owned()), ("changed", "index.html".to_owned())]);
/// assert_eq!((totals.from, totals.to, totals.bytes_before, totals.bytes_after), (1, 2, 14, 35));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn diff(machine: &Machine, url: &str, from: &str, to: Option<&str>, sink: &mut DiffSink<'_>) -> Result<DiffTotals> {
    diff_over(&Destination::open(url, machine).await?, from, to, sink).await
}

/// Like [`diff`], over a destination that is already open.
///
/// # Errors
/// [`crate::error::Error::Usage`] for a snapshot that does not exist. [`crate::error::Error::Damaged`] if a snapshot or
/// a page that the comparison needs cannot be read. [`crate::error::Error::Local`] if the cache cannot be written. The
/// sink's own errors.
pub async fn diff_over(destination: &Destination, from: &str, to: Option<&str>, sink: &mut DiffSink<'_>) -> Result<DiffTotals> {
    let records = &destination.records;
    let (from, to) = resolve_two(records, from, to).await?;
    let mut totals = DiffTotals {
        url: records.url(""),
        from: from.number,
        to: to.number,
        bytes_before: from.totals.bytes,
        bytes_after: to.totals.bytes,
        ..DiffTotals::default()
    };
    if hash(&from) == hash(&to) {
        return Ok(totals);
    }
    let source = PageSource::new(records.clone());
    let (before, after) = futures::try_join!(leaves(&source, &from), leaves(&source, &to))?;
    let (before, after) = without_common(before, after);
    sweep(&destination.dir);
    let (old, new) = (Temp::new(&destination.dir), Temp::new(&destination.dir));
    futures::try_join!(fetch_leaves(records, before, &old.0), fetch_leaves(records, after, &new.0))?;
    join(&mut CacheReader::open(&old.0, None)?, &mut CacheReader::open(&new.0, None)?, &mut totals, sink)?;
    Ok(totals)
}

fn hash(snapshot: &Snapshot) -> Option<Hash> {
    snapshot.root.as_ref().map(|root| root.hash)
}

async fn leaves(source: &PageSource, snapshot: &Snapshot) -> Result<Vec<PageRef>> {
    let (leaves, _, lost) = source.leaves(snapshot, |_, _| true).await?;
    match lost.into_iter().next() {
        Some(lost) => Err(lost.error),
        None => Ok(leaves),
    }
}

/// Removes the pages that both have. A page contains its paths, so a common page is at the same place in both.
fn without_common(before: Vec<PageRef>, after: Vec<PageRef>) -> (Vec<PageRef>, Vec<PageRef>) {
    let hashes = |pages: &[PageRef]| pages.iter().map(|page| page.hash).collect::<HashSet<_>>();
    let (old, new) = (hashes(&before), hashes(&after));
    let only = |pages: Vec<PageRef>, other: &HashSet<Hash>| pages.into_iter().filter(|page| !other.contains(&page.hash)).collect();
    (only(before, &new), only(after, &old))
}

fn join(old: &mut CacheReader, new: &mut CacheReader, totals: &mut DiffTotals, sink: &mut DiffSink<'_>) -> Result<()> {
    loop {
        let order = match (old.peek()?, new.peek()?) {
            (None, None) => return Ok(()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(old), Some(new)) => old.path.cmp(&new.path),
        };
        let before = if order.is_le() { take(old)? } else { None };
        let after = if order.is_ge() { take(new)? } else { None };
        let Some(change) = change(before.as_ref(), after.as_ref()) else { continue };
        *match change {
            "added" => &mut totals.added,
            "removed" => &mut totals.removed,
            "changed" => &mut totals.changed,
            _ => &mut totals.metadata,
        } += 1;
        let size = |entry: &Option<Entry>| entry.as_ref().filter(|e| e.kind == Kind::File).map(|e| e.size);
        let (size_before, size_after) = (size(&before), size(&after));
        if let Some(entry) = after.or(before) {
            sink(DiffLine { change, path: entry.path, size_before, size_after })?;
        }
    }
}

fn take(reader: &mut CacheReader) -> Result<Option<Entry>> {
    let entry = reader.peek()?.map(Known::entry).transpose()?;
    reader.advance();
    Ok(entry)
}

/// A local file that is removed when this value is dropped.
struct Temp(PathBuf);

impl Temp {
    fn new(dir: &Path) -> Self {
        Self(dir.join(format!("{PREFIX}{:016x}", crate::random())))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Removes the files that a killed `diff` left.
fn sweep(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX)) {
        let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
        if age.is_some_and(|age| age > STALE) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
