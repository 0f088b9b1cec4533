//! What lies at a store, as its own listing says.
//!
//! Owns the words for it: how far a listing goes, and one thing in it. The listings themselves are the
//! backends'. Invariant: a key is given byte for byte, whatever a URL or a library could make of it.

use chrono::{DateTime, Utc};

/// Where a listing looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// What is under the destination's prefix; keys are relative to it.
    Prefix,
    /// The whole bucket, keys whole. For a store without buckets the same as [`Scope::Prefix`].
    Bucket,
}

/// What a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Depth {
    /// What a reader sees.
    Current,
    /// Everything that takes up room: old versions, delete markers and unfinished uploads too.
    Everything,
    /// Uploads in parts that have not ended, and nothing else; nothing where a store has none or lists none.
    Unfinished,
}

/// What a listed thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    Current,
    /// A version that was replaced or removed; the store keeps it.
    Old,
    /// A mark that the name was removed; the newest one of its name hides what is older.
    Marker,
    /// An upload in parts that has not ended; its size is that of the parts that arrived, where the
    /// store says so without being asked for each, else 0.
    Unfinished,
}

/// One thing that the store lists, its key untouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Key relative to the scope, byte for byte.
    pub key: Vec<u8>,
    /// Content length in bytes; 0 for a marker.
    pub size: u64,
    /// The store's entity tag, without quotes, where it has one.
    pub etag: Option<String>,
    /// When the store says it was last written; for an unfinished upload, when it began.
    pub modified: DateTime<Utc>,
    pub state: State,
    /// The store's version (the upload's id for an unfinished one), where the listing says it.
    pub version: Option<String>,
    /// The storage class in the store's own word, where the listing says it.
    pub class: Option<String>,
}

/// Room of a file system or of a quota, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    /// What this user may still fill.
    pub free: u64,
}
