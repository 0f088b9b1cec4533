//! The terms of offsite as plain data: path, time, entry, change, snapshot.
//!
//! Owns the shapes and their JSON, and nothing that acts. Imports nothing of the program.
//! Invariant: a value that is read back equals the value that was written, for every name and time that Linux allows.

pub mod bounds;
mod change;
mod content;
mod entry;
mod fold;
mod hash;
mod layout;
mod path;
mod place;
mod problem;
mod sample;
mod snapshot;
mod time;
mod words;
mod zone;

pub use change::{Change, Counts, Stamps, UnverifiedReason};
pub use entry::{Content, Entry, Kind, Xattr};
pub use fold::{fold_hash, folded, twins};
pub use hash::Hash;
pub use layout::Layout;
pub use path::RelPath;
pub use place::{FRAME, LISTED, PACK, PIECES, PackPlace, Piece, PieceList, UNPACKED};
pub use problem::Problem;
pub use sample::{Sample, Weight};
pub use snapshot::{CopiedFrom, DiskRules, KeepRules, KeyRules, PageKeys, PageRef, Snapshot, Totals, TreeRoot, Trouble};
pub use time::{Time, span};
pub use words::plural;
pub use zone::{Calendar, Zone};
