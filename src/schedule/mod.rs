//! `offsite schedule`: a timer of systemd's or a line of cron's that calls `offsite run`.
//!
//! Owns the texts (`units.rs`, `cron.rs`) and where they go (`install.rs`). What runs is a command line that the
//! caller gives, whole. Invariant: nothing of anybody else's is changed: a unit has offsite's name in front, a line in
//! a crontab offsite's mark behind it.

mod cron;
mod install;
mod times;
mod timetable;
mod units;

pub use install::{Installed, Scheduler, install, remove, show};
pub use times::{Rhythm, time_of_day};
pub use timetable::{Sandbox, Schedule};
