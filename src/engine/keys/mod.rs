//! The keys of sealed destinations: what this machine has of them, and the key files at a destination.
//!
//! Owns where a writer key lies on this machine, and how a destination is unlocked: with the identities that the user
//! gave, or else with the writer key. Invariant: a key file at a destination is created and never changed or deleted.

mod files;
mod ring;
mod verbs;
mod wish;

pub use files::{KeyFileRow, open_key_files};
pub use ring::KeyRing;
pub use verbs::{KeyOutcome, add_key, paper_key, rotate_keys, show_keys, writer_key};
pub use wish::{SealWish, make_keys};
