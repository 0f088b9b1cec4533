//! What a store's listing shows.
//!
//! Owns the words for it: how far a listing reaches, and one item of it. The backends make the listings. Invariant: a
//! key is given byte for byte, whatever a URL or a library could make of it.

use chrono::{DateTime, Utc};

/// Where a listing looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everything below the destination's prefix; keys are relative to it.
    Prefix,
    /// The whole bucket, with full keys. For a store without buckets the same as [`Scope::Prefix`].
    Bucket,
}

/// What a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Depth {
    /// What a reader sees.
    Current,
    /// Everything that takes up space: also old versions, delete markers and unfinished uploads.
    Everything,
    /// Only uploads in parts that have not ended. Empty if the store has none or cannot list them.
    Unfinished,
}

/// What a listed item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// What a reader of the key sees.
    Current,
    /// A version that was replaced or deleted; the store keeps it.
    Old,
    /// A delete marker. The newest one of a key hides all older versions.
    Marker,
    /// An upload in parts that has not ended. Its size is the size of the parts that arrived if the store says so
    /// without a request for each upload, else 0.
    Unfinished,
}

/// One item of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Key relative to the scope, byte for byte.
    pub key: Vec<u8>,
    /// Content length in bytes; 0 for a marker.
    pub size: u64,
    /// The store's entity tag without quotes, if it has one.
    pub etag: Option<String>,
    /// When the object was last written, in UTC by the store's clock. For an unfinished upload, when it began.
    pub modified: DateTime<Utc>,
    /// What the item is.
    pub state: State,
    /// The version id (for an unfinished upload its id), if the listing has it.
    pub version: Option<String>,
    /// The storage class in the store's own term, if the listing has it.
    pub class: Option<String>,
}

/// Space of a file system or of a quota, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Used and free space together.
    pub total: u64,
    /// Space that this user can still fill.
    pub free: u64,
}
