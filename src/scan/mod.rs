//! The source side: walks a tree in path order, selects paths, and reads files that may be changing.
//!
//! Owns everything that touches the source. Of the program it imports only `model`.
//! Invariant: a scan yields every path of the tree in byte order, and reports what it could not read. It never takes an
//! unreadable path for a missing one.

mod blocks;
mod directory;
mod filter;
mod listing;
mod names;
mod read;
mod root;
mod stat;
mod walk;

pub use filter::{ExcludeReason, Filter, Idle};
pub use names::Names;
pub use read::{BigFile, Read, ReadError, TRIES, hash_file, read_file, read_metadata};
pub use root::Root;
pub use stat::{FileType, Stat};
pub use walk::{Event, Walk, WalkOptions};
