//! offsite backs up directories as plain mirrors with history, using a manifest to find differences.
//!
//! The library is the engine; `main.rs` adds the command line. Data flows
//! scan → diff → plan → guard → transfer → commit → cleanup (`engine/`), over the plain data of `model/`.

pub mod config;
pub mod containers;
pub mod engine;
pub mod error;
pub mod import;
pub mod jobs;
pub mod manifest;
pub mod model;
pub mod open_files;
pub mod plan;
pub mod scan;
pub mod schedule;
pub mod spool;
pub mod transfer;

/// A number nobody else has.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    // The kernel's generator cannot fail once the machine has started; the clock is good enough if it does.
    if rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()) != Ok(8) {
        return std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    }
    u64::from_le_bytes(bytes)
}
