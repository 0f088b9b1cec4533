//! The keys of sealed destinations: what this machine has of them, and the key files at a destination.
//!
//! Owns where a writer key lies on this machine, and how a destination is unlocked: with the identities that the user
//! gave, or else with the writer key. Invariant: a key file at a destination is created and never changed or deleted.

pub mod files;
pub mod ring;
pub mod verbs;
pub mod wish;
