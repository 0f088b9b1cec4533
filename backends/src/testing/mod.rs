//! Stores for tests: one in memory whose faults are chosen, and one that breaks another on cue.
//!
//! Owns [`MemoryBackend`] and [`Faulty`] with its [`Script`]. Not built for size or speed, and never
//! reached from `open`. Invariant: both are deterministic, so that a test can number a store's calls
//! and stop the program at each of them in turn.

mod faulty;
mod faulty_store;
mod faulty_tree;
mod memory;
mod memory_store;
mod script;

pub use faulty::Faulty;
pub use faulty_tree::faulty_tree;
pub use memory::{MemoryBackend, MemoryOptions, Reads};
pub use script::{Call, Script};
