//! The query verbs: what a destination holds, what it held, and how a path changed.
//!
//! Owns `snapshots`, `ls`, `diff`, `history` and `cat`, and which snapshot the user means. Each verb opens a
//! destination and works in an `_over` function on what is open. It fetches only the pages of a manifest that can add
//! something. Invariant: no verb here takes a lease or writes to a destination. On this machine only `diff` writes,
//! into temporary files.

pub mod at;
mod cat;
mod diff;
mod history;
mod listing;
pub mod ls;
mod spot;
mod unread;
mod words;

pub use at::{at_in, resolve_at};
pub(super) use at::{follows, list, newest};
pub use cat::{cat, cat_from, cat_over};
pub use diff::{DiffLine, DiffTotals, diff, diff_over};
pub use history::{HistoryLine, history, history_over};
pub use listing::{Listing, SnapshotRow, snapshots, snapshots_over};
pub(super) use ls::ls_in;
pub use ls::{LsLine, LsTotals, ls, ls_over};
pub use unread::{UnreadTotals, unread, unread_over};

#[cfg(test)]
mod tests;
