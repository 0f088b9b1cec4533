//! Volumes of a container engine: which exist, and where their files are.
//!
//! Owns the requests and the engine's answers as plain data; `socket.rs` transports them. Docker and podman have the
//! same API here. `config` decides which socket to use and what an answer means.
//! Invariant: offsite only sends GET requests to an engine, and creates, starts or changes nothing.

mod socket;
mod volume;

pub use socket::Engine;
pub use volume::{NoVolumes, Volume, Volumes};
