//! The calendar by which snapshots are kept, listed and selected.
//!
//! Owns the meaning of a day, a week and a month: those of the clocks of one time zone, including daylight saving time.
//! The zone is that of this machine unless another is named, and its rules come from the system.
//! Invariant: a snapshot belongs to exactly one day, and [`Zone::day_ends`] of that day is the first moment after it.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// A time zone: that of this machine, or a named one (`Europe/London`) with its rules. It holds them, so that a zone
/// that was accepted cannot turn into another one later.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Option<String>", into = "Option<String>")]
pub struct Zone(Option<NamedZone>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct NamedZone {
    name: String,
    rules: TimeZone,
}

impl Zone {
    /// A zone of the IANA database, or `local`.
    ///
    /// # Errors
    /// Says that this machine does not know the zone.
    ///
    /// # Examples
    ///
    /// ```
    /// use offsite::model::Zone;
    ///
    /// let (london, utc) = (Zone::named("Europe/London")?.calendar(), Zone::named("UTC")?.calendar());
    /// let noon = london.moment("2026-07-01T12:00").ok_or("this is not a time")?;
    /// assert_eq!((london.shown(noon), utc.shown(noon)), ("2026-07-01 12:00".into(), "2026-07-01 11:00".into()));
    /// assert!(Zone::named("Europe/Londn").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn named(name: &str) -> Result<Self, String> {
        if name == "local" {
            return Ok(Self(None));
        }
        let rules = TimeZone::get(name).map_err(|_| {
            format!("this machine does not know the time zone `{name}`; write `local`, `UTC` or one such as `Europe/London`")
        })?;
        Ok(Self(Some(NamedZone { name: name.to_owned(), rules })))
    }

    /// Whether it is the zone of this machine.
    pub fn is_local(&self) -> bool {
        self.0.is_none()
    }

    /// The calendar of this zone. Ask for it once for many questions.
    pub fn calendar(&self) -> Calendar {
        Calendar(self.0.as_ref().map_or_else(TimeZone::system, |zone| zone.rules.clone()))
    }
}

impl TryFrom<Option<String>> for Zone {
    type Error = String;

    fn try_from(name: Option<String>) -> Result<Self, String> {
        name.map_or(Ok(Self(None)), |name| Self::named(&name))
    }
}

impl From<Zone> for Option<String> {
    fn from(zone: Zone) -> Self {
        zone.0.map(|zone| zone.name)
    }
}

/// Days, weeks and months of one zone. Instants are seconds since 1970 UTC. An instant beyond the years that a calendar
/// can name counts as its first or last.
#[derive(Debug, Clone)]
pub struct Calendar(TimeZone);

impl Calendar {
    /// Number of the day since 1970-01-01, by the clocks of the zone.
    pub fn day(&self, instant: i64) -> i64 {
        let time = clamped(instant);
        (time.as_second() + i64::from(self.0.to_offset(time).seconds())).div_euclid(86_400)
    }

    /// Number of the week. Weeks begin on Monday. 1970-01-01 was a Thursday.
    pub fn week(&self, instant: i64) -> i64 {
        (self.day(instant) + 3).div_euclid(7)
    }

    /// Number of the month since the year 0.
    pub fn month(&self, instant: i64) -> i64 {
        let date = self.civil(instant).date();
        i64::from(date.year()) * 12 + i64::from(date.month()) - 1
    }

    /// The first moment after a day (`2025-03-31`). `None` if the text is not a day.
    pub fn day_ends(&self, day: &str) -> Option<i64> {
        let (year, rest) = day.split_once('-')?;
        let (month, of_month) = rest.split_once('-')?;
        if [year.len(), month.len(), of_month.len()] != [4, 2, 2] {
            return None;
        }
        let day = Date::new(year.parse().ok()?, month.parse().ok()?, of_month.parse().ok()?).ok()?;
        self.instant(day.tomorrow().ok()?.to_datetime(jiff::civil::Time::midnight()))
    }

    /// A time on the clocks of the zone (`2025-03-31T18:00`, with or without seconds). If the clocks skip it, the
    /// result is as much later as they skip. If they show it twice, it is the later one. `None` if the text is not a
    /// time.
    pub fn moment(&self, text: &str) -> Option<i64> {
        let formats = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"];
        self.instant(formats.iter().find_map(|format| DateTime::strptime(format, text).ok())?)
    }

    /// The time as people read it: `2025-03-31 18:00`.
    pub fn shown(&self, instant: i64) -> String {
        self.civil(instant).strftime("%Y-%m-%d %H:%M").to_string()
    }

    fn instant(&self, time: DateTime) -> Option<i64> {
        self.0.to_ambiguous_timestamp(time).later().ok().map(Timestamp::as_second)
    }

    fn civil(&self, instant: i64) -> DateTime {
        self.0.to_datetime(clamped(instant))
    }
}

fn clamped(instant: i64) -> Timestamp {
    let last = if instant < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(instant).unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_with_a_change_of_clocks_is_one_day() {
        // Lord Howe changes by half an hour, Kathmandu is 5:45 ahead, Auckland changes in the other half of the year.
        for (zone, day, hours) in [
            ("Europe/London", "2026-03-29", 23.0),
            ("Europe/London", "2026-10-25", 25.0),
            ("America/Los_Angeles", "2026-11-01", 25.0),
            ("Pacific/Auckland", "2026-04-05", 25.0),
            ("Australia/Lord_Howe", "2026-04-05", 24.5),
            ("Asia/Kathmandu", "2026-04-05", 24.0),
            ("UTC", "2026-03-29", 24.0),
        ] {
            let calendar = Zone::named(zone).unwrap().calendar();
            let end = calendar.day_ends(day).unwrap();
            let begin = end - (hours * 3600.0) as i64;
            let number = calendar.day(begin);
            assert!((begin..end).step_by(60).all(|t| calendar.day(t) == number), "{zone} {day}");
            assert_eq!((calendar.day(begin - 1), calendar.day(end)), (number - 1, number + 1), "{zone} {day}");
        }
    }

    #[test]
    fn what_is_no_zone_or_day_is_refused() {
        assert!(Zone::named("Europe/Londn").unwrap_err().contains("Europe/London"));
        assert!(Zone::named("local").unwrap().is_local());
        let utc = Zone::named("UTC").unwrap().calendar();
        assert!(["2025-13-01", "2025-3-1", "x", "2025-03-01T10:00"].iter().all(|day| utc.day_ends(day).is_none()));
        assert_eq!((utc.month(i64::MAX) > 0, utc.day(i64::MIN) < 0), (true, true));
        assert_eq!(utc.shown(0), "1970-01-01 00:00");
    }
}
