//! What all stores on HTTP share.
//!
//! Owns no logic, only the list: the client (`client.rs`), the connection of `object_store` with its meter
//! (`metered.rs`), the bounds of bodies (`watch.rs`), ranges, endless listings (`turns.rs`), and refusals in XML.

pub(crate) mod client;
pub(crate) mod metered;
pub(crate) mod probe;
pub(crate) mod ranges;
pub(crate) mod refusal;
pub(crate) mod repeats;
pub(crate) mod watch;
