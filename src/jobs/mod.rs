//! `offsite run`: jobs in the order of the config, with their hooks.
//!
//! Owns a run: locks, hooks, initialize, the sync of each job, notifications, and the outcome. `engine` has the sync
//! itself, and `config` has resolved the jobs. Nothing here parses arguments, prints or reads the environment.
//! Invariant: a failed job stops no other, and whatever happens is in the outcome.

mod dumps;
mod hooks;
mod kept;
mod lock;
mod metrics;
mod notify;
mod outcome;
mod prepare;
mod runner;
mod source;
mod warning;

pub use hooks::{HookOutcome, run as run_command, run_in as run_command_in};
pub use outcome::{Ended, JobOutcome, RunOutcome};
pub use runner::{Overrides, Runner, RunnerOptions};
pub use warning::JobWarning;
