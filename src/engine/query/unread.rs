//! `ls --unread`: what the run of a snapshot could not read, and which files kept changing under it.
//!
//! Owns where the list comes from: the snapshot, or the pages beside it where the snapshot names only the first.
//! Lines go out as pages come in; memory does not grow with the list.

use serde::Serialize;

use super::at::resolve_at;
use crate::engine::destination::Destination;
use crate::engine::machine::Machine;
use crate::error::Result;
use crate::manifest::{PageSource, Records};
use crate::model::Trouble;

/// What a list was of, and how long it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct UnreadTotals {
    pub url: String,
    pub snapshot: u64,
    /// Paths that could not be read.
    pub unread: u64,
    /// Files that kept changing.
    pub unstable: u64,
}

/// What takes the lines.
pub type UnreadSink<'a> = dyn FnMut(Trouble) -> Result<()> + Send + 'a;

/// Lists what could not be read in the run of a snapshot (of the newest, if `at` is none), and what kept changing.
///
/// # Errors
/// [`crate::error::Error::Usage`] for a snapshot that is not there; [`crate::error::Error::Damaged`] where the list
/// cannot be read; the sink's own errors.
pub async fn unread(machine: &Machine, url: &str, at: Option<&str>, sink: &mut UnreadSink<'_>) -> Result<UnreadTotals> {
    unread_over(&Destination::open(url, machine).await?.records, at, sink).await
}

/// The same over records that are open.
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
