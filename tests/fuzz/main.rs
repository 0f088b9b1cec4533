//! Everything that others can put in front of the program, mutated: destinations, configs, listings, and bombs of many
//! kinds.
//!
//! Seconds in `cargo test`; as long as it is told by `integration/fuzz`, which sets `OFFSITE_FUZZ_SECONDS` for each
//! part. A failure prints its seed; `OFFSITE_FUZZ_SEED` runs that one case again. The readers of SFTP packets and of
//! XML are private to the backends and have the same in `backends/src/fuzz.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod bombs;
mod child;
mod config;
mod destination;
mod listing;
mod made;
mod random;
