//! `offsite run`: jobs in the order of the config, with their hooks.
//!
//! Owns a run: locks, hooks, initialize, the sync of each job, notifications, and the outcome. `engine` does the sync
//! itself, and `config` resolves the jobs. This module does not parse arguments, print or read the environment.
//! Invariant: a failed job does not stop the others, and the outcome has the result of every job.

mod dumps;
mod hook_scope;
mod hooks;
mod job_run;
mod kept;
mod lock;
mod metrics;
mod notify;
mod options;
mod outcome;
mod prepare;
mod runner;
mod source;
mod warning;

pub use hooks::{HookOutcome, end_all as end_commands, run as run_command, run_in as run_command_in};
pub use options::{Overrides, RunnerOptions};
pub use outcome::{Ended, JobOutcome, RunOutcome};
pub use runner::Runner;
pub use warning::JobWarning;
