//! How `offsite run` does its jobs.

use crate::plan::Prices;

/// Options of a run.
#[derive(Debug, Clone)]
pub struct RunnerOptions {
    /// Only plan. Run no hook and write nothing.
    pub dry_run: bool,
    /// The table for the cost of a plan.
    pub prices: Prices,
    /// Exceptions for this run.
    pub once: Overrides,
}

/// Exceptions from the config for one run. Each means the same as the flag of `offsite sync` with its name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// Treat a destination as new if all its snapshots have disappeared.
    pub start_over: bool,
    /// Use files that another tool put at the destination.
    pub adopt: bool,
    /// Accept an empty source.
    pub allow_empty: bool,
    /// Take a destination over from another machine and source.
    pub take_over: bool,
    /// The most files to remove, as a share of all: 0.5 is 50 %.
    pub max_removals: Option<f64>,
    /// The most files to replace, as a share of all.
    pub max_rewrites: Option<f64>,
    /// The most bytes to send.
    pub max_bytes: Option<u64>,
    /// The most that a run may cost, in the currency of the price table.
    pub max_cost: Option<f64>,
}
