//! `offsite schedule`: a timer of systemd's or a line of cron's that calls `offsite run`.
//!
//! Owns the texts (`units.rs`, `cron.rs`) and where they go (`install.rs`). What runs is a command line that the
//! caller gives, whole. Invariant: nothing of anybody else's is changed: a unit has offsite's name in front, a line in
//! a crontab offsite's mark behind it.

mod cron;
mod install;
mod times;
mod units;

pub use install::{Installed, Way, install, remove, show};
pub use times::{Rhythm, time_of_day};
pub use units::Sandbox;

/// What is to be run, and when.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Tells several schedules of one machine apart; letters, digits and `-`.
    pub name: String,
    /// The program and its arguments; the program by its whole path.
    pub command: Vec<String>,
    /// Where it runs: what stands in the config without a `/` in front is looked for from there.
    pub directory: String,
    pub rhythm: Rhythm,
    /// Runs begin so much later, at random, in seconds.
    pub jitter: u64,
    pub sandbox: Sandbox,
    pub host: String,
}
