//! What is noted of every request: the meter, the store's clock, and endless listings.
//!
//! Owns [`Probe`], which all clients of one destination share.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use chrono::{DateTime, Utc};

use crate::contract::meter::Meter;
use crate::wire::repeats::RepeatedRequests;

/// The meter, and what makes it cheap to read the `Date` header.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    pub meter: Meter,
    circles: RepeatedRequests,
    /// When the store's clock was last read, in seconds since 1970 by this machine's clock.
    looked: AtomicI64,
}

impl Probe {
    /// Notes a GET that may request one page of a listing which a library reads. Fails if the listing would not end.
    pub(crate) fn note_page(&self, method: &http::Method, uri: &http::Uri) -> Result<(), &'static str> {
        if *method == http::Method::GET { self.circles.ask(uri.path(), uri.query()) } else { Ok(()) }
    }

    /// Notes the store's clock from a `Date` header, at most once a second.
    pub(crate) fn note_date(&self, date: Option<&str>) {
        let now = Utc::now().timestamp();
        if self.looked.load(Relaxed) == now {
            return;
        }
        if let Some(date) = date.and_then(|text| DateTime::parse_from_rfc2822(text).ok()) {
            self.meter.note_clock(date.with_timezone(&Utc));
            self.looked.store(now, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_header_sets_the_clock() {
        let probe = Probe::default();
        probe.note_date(Some("nonsense"));
        assert_eq!(probe.meter.clock(), None);
        probe.note_date(Some("Sat, 21 Nov 2026 11:27:04 GMT"));
        let clock = probe.meter.clock().unwrap();
        assert!((clock.timestamp() - 1_795_260_424).abs() < 2, "{clock}");
    }
}
