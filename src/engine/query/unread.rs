//! `ls --unread`: what the run of a snapshot could not read, and which files kept changing.
//!
//! Owns the source of the list: the snapshot, or the pages beside it if the snapshot has only the beginning of the
//! list. Lines go to the sink as pages arrive, and memory does not grow with the list.

use serde::Serialize;

use super::at::resolve_at;
use crate::engine::destination::Destination;
use crate::engine::machine::Machine;
use crate::error::Result;
use crate::manifest::{PageSource, Records};
use crate::model::Trouble;

/// What was listed, and how long the list is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct UnreadTotals {
    /// URL of the destination.
    pub url: String,
    /// Number of the snapshot.
    pub snapshot: u64,
    /// Paths that could not be read.
    pub unread: u64,
    /// Files that kept changing.
    pub unstable: u64,
}

/// Receives the lines.
pub type UnreadSink<'a> = dyn FnMut(Trouble) -> Result<()> + Send + 'a;

/// Lists what the run of a snapshot could not read, and what kept changing. Without `at`, the snapshot is the newest.
///
/// # Errors
/// [`crate::error::Error::Usage`] for a snapshot that does not exist; [`crate::error::Error::Damaged`] if the list
/// cannot be read; the sink's own errors.
///
/// # Examples
///
/// ```
/// use offsite::engine;
/// use offsite::model::Trouble;
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
/// let mut paths = Vec::new();
/// let mut sink = |line: Trouble| {
///     paths.push(line.path.to_string());
///     Ok(())
/// };
/// let totals = engine::unread(&machine, &backup, None, &mut sink).await?;
/// assert_eq!((totals.unread, totals.unstable), (0, 0), "snapshot {} lacks {paths:?}", totals.snapshot);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn unread(machine: &Machine, url: &str, at: Option<&str>, sink: &mut UnreadSink<'_>) -> Result<UnreadTotals> {
    unread_over(&Destination::open(url, machine).await?.records, at, sink).await
}

/// Like [`unread`], over records that are already open.
///
/// # Errors
/// [`crate::error::Error::Usage`] for a snapshot that does not exist. [`crate::error::Error::Damaged`] if the snapshot
/// or the list cannot be read. The sink's own errors.
pub async fn unread_over(records: &Records, at: Option<&str>, sink: &mut UnreadSink<'_>) -> Result<UnreadTotals> {
    let (snapshot, ..) = resolve_at(records, at).await?;
    if snapshot.troubles.is_some() {
        PageSource::new(records.clone()).troubles(&snapshot, &mut *sink).await?;
    } else {
        for problem in snapshot.unread.first() {
            sink(Trouble { path: problem.path.clone(), problem: Some(problem.problem.clone()) })?;
        }
        for path in snapshot.unstable.first() {
            sink(Trouble { path: path.clone(), problem: None })?;
        }
    }
    let (unread, unstable) = (snapshot.unread_count(), snapshot.unstable_count());
    Ok(UnreadTotals { url: records.url(""), snapshot: snapshot.number, unread, unstable })
}
