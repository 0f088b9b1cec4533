//! What every store promises, and the words for it: the ground of this crate.
//!
//! Owns no logic, only the list. Nothing in here knows a store or a scheme; every store imports from these modules
//! directly. Invariant: no import leads from here to the rest of the crate.

pub mod archive;
pub mod backend;
pub mod capabilities;
pub mod content;
pub mod data_plane;
pub mod error;
pub mod fence;
pub mod held;
pub mod initialize;
pub mod lacks;
pub mod listing;
pub mod location;
pub mod meter;
pub mod scrub;
pub mod tidy;
pub mod trace;
pub mod tree;
pub mod usage;
