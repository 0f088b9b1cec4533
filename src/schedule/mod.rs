//! `offsite schedule`: a systemd timer or a crontab line that calls `offsite run`.
//!
//! Owns the texts (`units.rs`, `cron.rs`) and their installation (`install.rs`). The caller supplies the whole command
//! line. Invariant: nothing else changes. The name of a unit begins with offsite's prefix, and a crontab line ends with
//! offsite's mark.

mod cron;
mod install;
mod times;
mod timetable;
mod units;

pub use install::{Installed, Scheduler, install, remove, show};
pub use times::{Rhythm, time_of_day};
pub use timetable::{Sandbox, Schedule};
