//! The clocks of this machine, and how times are written.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::model::Time;

/// The time by the clock that the kernel stamps files with.
pub fn coarse_now() -> Time {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    Time { secs: now.tv_sec, nanos: u32::try_from(now.tv_nsec).unwrap_or(0) }
}

/// A time as offsite shows and writes it: RFC 3339, UTC, whole seconds.
pub fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The time now by the clock of this machine: RFC 3339, UTC, whole seconds.
pub fn rfc3339() -> String {
    shown(Utc::now())
}
