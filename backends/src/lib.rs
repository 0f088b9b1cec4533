//! The stores offsite can write to, behind one small interface.
//!
//! Owns nothing: it is the face of this crate. `contract/` has what every store promises ([`Backend`], [`Tree`],
//! [`Location`], [`Error`], [`Meter`]), each folder beside it is one store, `kinds.rs` has the table of them, and
//! `open.rs` opens one. Knows nothing of manifests, plans or snapshots: the engine is built on this crate, never the
//! other way round. Invariant: [`Capabilities`] and the table say what differs between stores, and no caller tests the
//! scheme.

#![warn(missing_docs)]

pub mod b2;
pub mod conformance;
mod contract;
mod fenced;
pub mod file;
mod file_lock;
#[cfg(test)]
mod fuzz;
pub mod gcs;
pub mod kinds;
mod names;
mod open;
pub mod opendal;
mod parse;
pub mod s3;
pub mod sftp;
mod staging_area;
pub mod testing;
mod wire;

pub use contract::archive::{Restore, Restoring, Tier};
pub use contract::backend::{Backend, Stretch};
pub use contract::capabilities::Capabilities;
pub use contract::content::content_put;
pub use contract::error::{Error, ErrorKind, Reach, Result};
pub use contract::fence::{Act, Fence};
pub use contract::held::{Held, Refused};
pub use contract::initialize::Initialize;
pub use contract::listing::{Depth, Listed, Scope, Space, State};
pub use contract::location::{Location, Settings};
pub use contract::meter::{Meter, Requests};
pub use contract::missing_features::MissingFeature;
pub use contract::tree::{FileKind, FileMeta, FileStat, Publish, StageBlocks, Staged, Stamp, Tree, Unset};
pub use contract::usage::{Gaps, Usage};
pub use contract::{error, initialize, meter, missing_features, redact, tidy, trace, usage};
pub use fenced::Fenced;
pub use file_lock::FileLock;
pub use open::{open, open_with, spoken};

/// Where a destination is.
pub mod location {
    pub use crate::contract::location::{Location, Settings};
    pub use crate::parse::{directory, shown};
}
