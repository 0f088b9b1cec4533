//! What every store promises, and the types for it: the base of this crate.
//!
//! Owns no logic, only the list of modules. Nothing in here knows a store or a scheme; every store imports from these
//! modules directly. Invariant: no module in here imports from the rest of the crate.

pub mod archive;
pub mod backend;
pub mod capabilities;
pub mod content;
pub mod data_plane;
pub mod error;
pub mod fence;
pub mod held;
pub mod initialize;
pub mod listing;
pub mod location;
pub mod meter;
pub mod missing_features;
pub mod redact;
pub mod tidy;
pub mod trace;
pub mod tree;
pub mod usage;
