//! Streams that are too long for memory, kept in local files.
//!
//! Owns JSON-lines files and sorting them. If a file ends in the middle of a line, for example after a crash, readers
//! skip that line. Errors name the file.

mod lines;
mod private;
mod sort;

pub use lines::{Reader, Writer};
pub use private::{cache_error, private_dir, private_file};
pub use sort::{Joined, Sorted, Sorter};
