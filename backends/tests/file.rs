//! The directory backend against a real file system: who wins, what survives, what is refused.
//!
//! Owns the list of its parts: `store.rs` the data plane, `names.rs` names and what is refused,
//! `tree.rs` metadata, links and holes, `measure.rs` a measurement that is run by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

#[path = "file/measure.rs"]
mod measure;
#[path = "file/names.rs"]
mod names;
#[path = "file/place.rs"]
mod place;
#[path = "file/store.rs"]
mod store;
#[path = "file/testing.rs"]
mod testing;
#[path = "file/tree.rs"]
mod tree;
