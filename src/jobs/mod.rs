//! `offsite run`: jobs in file order, with what stands around them.
//!
//! Owns a run: locks, hooks, initialize, the sync of each job, who is told, and the outcome. The sync itself is
//! `engine`'s; what a job is was settled by `config`. Nothing here parses arguments, prints or reads the environment.
//! Invariant: a job that fails stops no other, and whatever happens is in the outcome.

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
