//! Words that several query verbs share.

use crate::error::Error;
use crate::model::{Entry, Snapshot};

/// The change of a path between two snapshots, in the words of [`crate::model::Change`]; none if it is the same.
pub fn change(old: Option<&Entry>, new: Option<&Entry>) -> Option<&'static str> {
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

/// The error for a path that a snapshot does not have.
pub fn not_there(path: &str, snapshot: &Snapshot, url: &str) -> Error {
    Error::Usage(format!("{} is not in snapshot {} of {url}", crate::model::RelPath::from(path), snapshot.number))
}
