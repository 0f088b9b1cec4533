//! The looking verbs: what a destination holds, what it held, and what became of a path.
//!
//! Owns `snapshots`, `ls`, `diff`, `history` and `cat`, and which snapshot the user means. Each verb
//! opens a destination and does its work in a function over what is open. Pages of a manifest are fetched
//! only where they can say something that is not known yet.
//! Invariant: nothing here takes a lease or writes to a destination; on this machine only `diff` writes,
//! into files that are gone afterwards.

mod at;
mod cat;
mod diff;
mod history;
mod listing;
mod ls;
mod spot;
mod unread;

pub(super) use at::newest;
pub use at::{at_in, resolve_at};
pub use cat::{cat, cat_over};
pub use diff::{DiffLine, DiffTotals, diff, diff_over};
pub use history::{HistoryLine, history, history_over};
pub use listing::{Listing, SnapshotRow, snapshots, snapshots_over};
pub(super) use ls::ls_in;
pub use ls::{LsLine, LsTotals, ls, ls_over};
pub use unread::{UnreadTotals, unread, unread_over};

use chrono::{DateTime, SecondsFormat, Utc};
use offsite_backends::ErrorKind;

use crate::error::Error;
use crate::model::{Entry, Snapshot};

/// How times are shown and written: UTC, whole seconds.
pub(super) fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// What happened to a path between two snapshots, in the words of [`crate::model::Change`].
fn change(old: Option<&Entry>, new: Option<&Entry>) -> Option<&'static str> {
    let hash = |entry: &Entry| entry.content.as_ref().map(|c| c.hash);
    match (old, new) {
        (None, None) => None,
        (None, Some(_)) => Some("added"),
        (Some(_), None) => Some("removed"),
        (Some(old), Some(new)) if old.kind != new.kind || hash(old) != hash(new) => Some("changed"),
        (Some(old), Some(new)) if !old.same_metadata(new) => Some("metadata"),
        _ => None,
    }
}

/// Whether it is one object that is broken, so that others may still be looked at; not that the store
/// cannot be reached or refuses.
pub(super) fn is_damage(error: &Error) -> bool {
    match error {
        Error::Damaged { .. } => true,
        Error::Store(error) => matches!(error.kind, ErrorKind::NotFound | ErrorKind::Precondition | ErrorKind::Other),
        _ => false,
    }
}

/// A path that was asked for is not in a snapshot.
fn not_there(path: &str, snapshot: &Snapshot, url: &str) -> Error {
    Error::Usage(format!("{} is not in snapshot {} of {url}", crate::model::RelPath::from(path), snapshot.number))
}

#[cfg(test)]
mod tests;
