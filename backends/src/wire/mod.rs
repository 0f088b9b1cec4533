//! What all stores that are reached by HTTP share.
//!
//! Owns no logic, only the list: the one client (`client.rs`), the connection of `object_store` with its meter
//! (`metered.rs`), the bounds of bodies (`watch.rs`), ranges, listings that go round, and refusals in XML.

pub(crate) mod client;
pub(crate) mod metered;
pub(crate) mod probe;
pub(crate) mod ranges;
pub(crate) mod refusal;
pub(crate) mod turns;
pub(crate) mod watch;
