//! What the machine and, in time, the config file say: resolved into plain data.
//!
//! Owns the way from the environment to [`crate::engine::Machine`]. The file `offsite.json` and the jobs in
//! it will be read here as well: shape → resolve → `Job`. Only `resolve` looks at the environment, and
//! nothing here knows of the command line. Invariant: what leaves this module needs no further lookup.

mod resolve;

pub use resolve::{default_price, is_utf8, machine};
