//! Stores for tests: one in memory with chosen faults, one that breaks another on cue, and a disk that folds names.
//!
//! Owns [`MemoryBackend`], [`Faulty`] with its [`Script`], and [`Folding`]. Not built for size or speed, and `open`
//! never opens one. Invariant: all are deterministic, so that a test can number a store's calls and stop the program at
//! each of them in turn.

mod bucket;
mod faulty;
mod faulty_store;
mod faulty_tree;
mod folding;
mod memory;
mod memory_store;
mod script;

pub use bucket::{MemoryOptions, Reads};
pub use faulty::Faulty;
pub use faulty_tree::faulty_tree;
pub use folding::{Folding, folding_tree};
pub use memory::MemoryBackend;
pub use script::{Call, Script};
