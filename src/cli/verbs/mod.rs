//! The verbs: one small file each, with its arguments and one function.
//!
//! Owns what each verb takes. `dispatch.rs` calls them. A verb calls the engine once, hands what comes back to `render` and says the exit
//! code. Invariant: a verb that has begun to print its document also ends it; any other failure is
//! returned, and printed in one place.

pub mod apply;
pub mod cat;
pub mod check;
pub mod completions;
pub mod config;
pub mod diff;
pub mod history;
pub mod init;
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
