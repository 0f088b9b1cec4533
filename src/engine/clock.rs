//! The clocks of this machine, and how times are written.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::model::Time;

/// The clock that the kernel stamps files with.
pub fn coarse_now() -> Time {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    Time { secs: now.tv_sec, nanos: u32::try_from(now.tv_nsec).unwrap_or(0) }
}

/// How times are shown and written: UTC, whole seconds.
pub fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Now, by the clock of this machine.
pub fn rfc3339() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
