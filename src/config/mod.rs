//! The config file and the environment, resolved into plain data.
//!
//! Owns the way from `offsite.json` and the environment to [`ResolvedJobs`] and [`crate::engine::Machine`]:
//! `reading.rs` finds the file, `parse.rs` parses it into the types of `shape.rs`, `resolve.rs` makes a [`Job`] of each
//! pair of job and type (`scope.rs`, `sections.rs`, `options.rs`). Only `env.rs` reads the environment, and nothing
//! here depends on the command line.
//! Invariant: what leaves this module needs no further lookup.

mod asked;
mod env;
mod expand;
mod job;
mod lines;
mod options;
mod parse;
mod passphrase;
mod places;
mod reading;
mod resolve;
mod scope;
mod secrets;
mod sections;
mod shape;
pub mod values;
mod volumes;
mod words;

pub use env::{Makeshift, default_price, host, is_utf8, machine, machine_to_read, unit_dir};
pub use expand::{expand, is_name};
pub use job::{
    Hooks, InitializeMethod, Job, JobDestination, JobDump, Notify, Profile, ReportMethod, ResolvedJobs, VolumeUnavailable, shown,
};
pub use parse::Parsed;
pub use reading::{Borrowed, Chosen, borrowed, load, plan, plans};
pub use secrets::{Redactions, is_secret};
pub use shape::{Absent, ConfigFile};
pub use words::Command;
