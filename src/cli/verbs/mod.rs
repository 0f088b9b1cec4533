//! The verbs: one small file each, with its arguments and one function.
//!
//! Owns the arguments of each verb; `dispatch.rs` calls the verbs. A verb calls the engine once, passes the result to
//! `render` and returns the exit code. Invariant: a verb that has begun to print its document also ends it. Any other
//! failure is returned, and printed in one place.

pub mod apply;
pub mod cat;
pub mod check;
pub mod completions;
pub mod config;
pub mod copy;
pub mod diff;
pub mod history;
pub mod init;
pub mod key;
pub mod ls;
pub mod plan;
pub mod prune;
pub mod pull;
pub mod repair;
pub mod report;
pub mod run;
pub mod schedule;
pub mod schema;
pub mod snapshots;
pub mod status;
pub mod sync;
