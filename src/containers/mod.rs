//! Volumes of a container engine: which there are, and where their files lie.
//!
//! Owns the questions and the engine's answers as plain data; `socket.rs` carries them. Docker and podman speak the
//! same API here. Which socket, and what becomes of an answer, is `config`'s.
//! Invariant: an engine is only ever asked (GET); nothing is made, started or changed there.

mod socket;
mod volume;

pub use socket::Engine;
pub use volume::{NoVolumes, Volume, Volumes};
