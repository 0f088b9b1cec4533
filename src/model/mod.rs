//! The words of offsite as plain data: path, time, entry, change, snapshot.
//!
//! Owns the shapes and their JSON, nothing that acts. Imports nothing of the program.
//! Invariant: what is read back is what was written, for every name and time Linux allows.

mod change;
mod entry;
mod path;
mod snapshot;
mod time;

pub use change::{Change, Counts, Stamps, Suspicion};
pub use entry::{Content, Entry, Hash, Kind, Xattr};
pub use path::RelPath;
pub use snapshot::{KeepRules, KeyRules, PageRef, Problem, Snapshot, Totals, TreeRoot};
pub use time::{Time, span};
