//! Which snapshot the user means: the newest, or one by number, day, time or age.
//!
//! Owns the parsing of `--at`. The time of a snapshot is its commit time by the store's clock, and an age counts back
//! from the store's clock. Only the bounds of a day come from this machine. If no snapshot fits, the error says which
//! ones exist.

use chrono::{DateTime, SecondsFormat, TimeDelta, Timelike, Utc};

use crate::engine::clock::shown;
use crate::error::{Error, Result};
use crate::manifest::{Records, SnapshotRef};
use crate::model::{Hash, Snapshot, Zone};

/// A parsed `--at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PointInTime {
    Number(u64),
    /// Committed before this instant.
    Before(DateTime<Utc>),
    /// At least this old.
    Ago(TimeDelta),
}

/// The snapshot that `at` names (without it, the newest), the hash of its object, and all snapshots, oldest first.
/// The newest one takes three requests: some servers truncate a listing without a sign, and an older snapshot would
/// pass for the newest, so the next number is requested by name.
///
/// # Errors
/// [`Error::Usage`] if no snapshot fits; [`Error::Busy`] if the listing misses a newer snapshot; damage.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, Destination};
/// # use offsite::engine::{Machine, RunControl, SyncOptions};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # let urls = [backup.clone()];
/// # engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// # std::fs::write(site.join("index.html"), "<h1>hello, world</h1>")?;
/// # std::fs::write(site.join("about.html"), "<h1>about</h1>")?;
/// # engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// let destination = Destination::open(&backup, &machine).await?;
/// let (snapshot, _, list) = engine::resolve_at(&destination.records, Some("1")).await?;
/// assert_eq!((snapshot.number, snapshot.totals.bytes, list.len()), (1, 14, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn resolve_at(records: &Records, at: Option<&str>) -> Result<(Snapshot, Hash, Vec<SnapshotRef>)> {
    let at = parse_all([at])?;
    let list = list_checked(records).await?;
    let number = choose(records, &list, at[0]).await?;
    if at[0].is_some() {
        let (snapshot, hash) = records.snapshot(number).await?;
        return Ok((snapshot, hash, list));
    }
    let (snapshot, hash) = newest(records, number).await?;
    Ok((snapshot, hash, list))
}

/// Reads the last snapshot of a listing, and checks that it is the newest: two requests.
pub async fn newest(records: &Records, number: u64) -> Result<(Snapshot, Hash)> {
    let (newest, more) = futures::join!(records.snapshot(number), records.has_snapshot(number + 1));
    if more? {
        return Err(Error::Busy(format!(
            "{}: snapshot {} exists, but the listing ends before it; if a run has just committed it, run again",
            records.url(""),
            number + 1
        )));
    }
    let newest = newest?;
    check(records, &newest)?;
    Ok(newest)
}

/// Checks that the newest snapshot follows the one that this machine has seen.
///
/// # Errors
/// [`Error::Refused`] if it does not.
pub fn check(records: &Records, (newest, hash): &(Snapshot, Hash)) -> Result<()> {
    records.remembered().map_or(Ok(()), |seen| seen.check(&records.url(""), newest, hash))
}

/// Checks, at a destination of which this machine remembers something, that its newest snapshot follows: one request, and
/// another one if there is a newer snapshot or the store has no tags.
///
/// # Errors
/// [`Error::Refused`] if it does not follow.
pub async fn follows(records: &Records) -> Result<()> {
    let Some(seen) = records.remembered() else { return Ok(()) };
    let listed = records.snapshots(Some(seen.number.saturating_sub(1))).await?;
    let Some(last) = listed.last() else {
        return seen.check_number(&records.url(""), records.snapshots(None).await?.last().map_or(0, |last| last.number));
    };
    match last.number == seen.number && last.etag.is_some() && last.etag == seen.etag {
        true => Ok(()),
        false => check(records, &records.snapshot(last.number).await?),
    }
}

/// Reads two snapshots, with one listing.
pub async fn resolve_two(records: &Records, from: &str, to: Option<&str>) -> Result<(Snapshot, Snapshot)> {
    let at = parse_all([Some(from), to])?;
    let list = list_checked(records).await?;
    let from = choose(records, &list, at[0]).await?;
    let number = choose(records, &list, at[1]).await?;
    let (from, to) = futures::try_join!(records.snapshot(from), records.snapshot(number))?;
    if list.last().is_some_and(|last| last.number == number) {
        check(records, &to)?;
    }
    Ok((from.0, to.0))
}

/// All snapshots, oldest first. An empty list is an error.
pub async fn list(records: &Records) -> Result<Vec<SnapshotRef>> {
    let list = records.snapshots(None).await?;
    if list.is_empty() {
        return Err(Error::Usage(format!("no snapshot at {}; is the URL right, and was it ever synced?", records.url(""))));
    }
    Ok(list)
}

/// The same, if the newest of them is no older than the one that this machine has seen.
pub async fn list_checked(records: &Records) -> Result<Vec<SnapshotRef>> {
    let list = list(records).await?;
    if let (Some(seen), Some(last)) = (records.remembered(), list.last()) {
        seen.check_number(&records.url(""), last.number)?;
    }
    Ok(list)
}

type SnapshotQuery<'a> = Option<(&'a str, PointInTime)>;

/// Parses all texts before the first request to the store.
fn parse_all<const N: usize>(texts: [Option<&str>; N]) -> Result<[SnapshotQuery<'_>; N]> {
    let mut out = [None; N];
    for (out, text) in out.iter_mut().zip(texts) {
        *out = text.map(|text| parse(text).map(|at| (text, at))).transpose()?;
    }
    Ok(out)
}

async fn choose(records: &Records, list: &[SnapshotRef], at: SnapshotQuery<'_>) -> Result<u64> {
    let now = match at {
        Some((_, PointInTime::Ago(_))) => records.backend().now().await?,
        _ => DateTime::UNIX_EPOCH,
    };
    pick(list, at, now).map_err(|what| Error::Usage(format!("{}: {what}", records.url(""))))
}

/// The number of the snapshot, or why no snapshot fits.
fn pick(list: &[SnapshotRef], at: SnapshotQuery<'_>, now: DateTime<Utc>) -> Result<u64, String> {
    let (Some(first), Some(last)) = (list.first(), list.last()) else { return Err("there is no snapshot".into()) };
    let Some((text, at)) = at else { return Ok(last.number) };
    let old_enough = match at {
        PointInTime::Number(number) => {
            let there = list.iter().any(|s| s.number == number);
            return if there { Ok(number) } else { Err(no_such(list, number)) };
        }
        PointInTime::Before(limit) => list.iter().rfind(|s| s.modified < limit),
        PointInTime::Ago(age) => {
            let limit = now.checked_sub_signed(age).unwrap_or(DateTime::<Utc>::MIN_UTC);
            list.iter().rfind(|s| s.modified <= limit)
        }
    };
    // Old objects may have been copied later, so the oldest snapshot need not have the lowest number.
    let oldest = list.iter().min_by_key(|s| s.modified).unwrap_or(first);
    old_enough
        .map(|s| s.number)
        .ok_or_else(|| format!("no snapshot as old as {text}; the oldest is {} of {}", oldest.number, shown(oldest.modified)))
}

fn no_such(list: &[SnapshotRef], number: u64) -> String {
    let range = match list {
        [only] => format!("the only one is {}", only.number),
        [first, .., last] => {
            let nearest = list.iter().min_by_key(|s| s.number.abs_diff(number)).map_or(last.number, |s| s.number);
            format!("the nearest is {nearest}, and the snapshots are {} to {}", first.number, last.number)
        }
        [] => "there is none".into(),
    };
    format!("no snapshot {number}; {range}")
}

fn parse(text: &str) -> Result<PointInTime> {
    let parsed = match text.as_bytes() {
        [] => None,
        digits if digits.iter().all(u8::is_ascii_digit) => text.parse().ok().map(PointInTime::Number),
        [count @ .., unit] if !count.is_empty() && count.iter().all(u8::is_ascii_digit) => ago(text, *unit),
        _ => instant(text),
    };
    parsed.ok_or_else(|| {
        Error::Usage(format!(
            "`{text}` is not a snapshot: use a number, a day (2025-03-31), a time (2025-03-31T18:00:00Z) or an age (90m, 12h, 3d, 2w)"
        ))
    })
}

fn ago(text: &str, unit: u8) -> Option<PointInTime> {
    let count: i64 = text[..text.len() - 1].parse().ok()?;
    match unit {
        b'm' => TimeDelta::try_minutes(count),
        b'h' => TimeDelta::try_hours(count),
        b'd' => TimeDelta::try_days(count),
        b'w' => TimeDelta::try_weeks(count),
        _ => None,
    }
    .map(PointInTime::Ago)
}

fn instant(text: &str) -> Option<PointInTime> {
    let calendar = Zone::default().calendar();
    if let Some(ends) = calendar.day_ends(text) {
        return DateTime::from_timestamp(ends, 0).map(PointInTime::Before);
    }
    let given = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.to_utc(),
        Err(_) => calendar.moment(text).and_then(|secs| DateTime::from_timestamp(secs, 0))?,
    };
    // Output shows whole seconds, and a time that a user copies from it must find its snapshot.
    let step = if given.nanosecond() == 0 { TimeDelta::seconds(1) } else { TimeDelta::nanoseconds(1) };
    given.checked_add_signed(step).map(PointInTime::Before)
}

/// Translates an `--at` of another time zone for this machine: a day or a time becomes the instant that it means
/// there. Any other text stays as it is.
///
/// # Examples
///
/// ```
/// use offsite::engine;
/// use offsite::model::Zone;
///
/// let auckland = Zone::named("Pacific/Auckland")?;
/// assert_eq!(engine::at_in(&auckland, "2025-03-02"), "2025-03-02T10:59:59Z");
/// assert_eq!(engine::at_in(&auckland, "3d"), "3d");
/// # Ok::<(), String>(())
/// ```
pub fn at_in(zone: &Zone, text: &str) -> String {
    let calendar = zone.calendar();
    // The last second of the day, because a snapshot within it counts.
    let meant = calendar.day_ends(text).map(|ends| ends - 1).or_else(|| calendar.moment(text));
    let meant = meant.filter(|_| !zone.is_local()).and_then(|secs| DateTime::from_timestamp(secs, 0));
    meant.map_or_else(|| text.to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn refs() -> Vec<SnapshotRef> {
        [(3, "2025-03-01T10:00:00.5Z"), (4, "2025-03-02T10:00:00Z"), (8, "2025-03-09T10:00:00Z")]
            .map(|(number, time)| SnapshotRef { number, modified: at(time), written: at(time), etag: None })
            .into()
    }

    fn pick_text(text: &str) -> Result<u64, String> {
        let now = at("2025-03-10T10:00:00Z");
        match parse(text) {
            Ok(parsed) => pick(&refs(), Some((text, parsed)), now),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(pick(&refs(), None, DateTime::UNIX_EPOCH), Ok(8));
        assert_eq!(pick_text("4"), Ok(4));
        assert_eq!(pick_text("7").unwrap_err(), "no snapshot 7; the nearest is 8, and the snapshots are 3 to 8");
        assert_eq!(
            pick(&refs()[..1], Some(("9", PointInTime::Number(9))), at("2025-03-10T10:00:00Z")).unwrap_err(),
            "no snapshot 9; the only one is 3"
        );
    }

    #[test]
    fn ages_count_back_from_now() {
        assert_eq!(pick_text("1h"), Ok(8));
        assert_eq!(pick_text("24h"), Ok(8));
        assert_eq!(pick_text("25h"), Ok(4));
        assert_eq!(pick_text("1w"), Ok(4));
        assert_eq!(pick_text("2000m"), Ok(4));
        let error = pick_text("2w").unwrap_err();
        assert_eq!(error, "no snapshot as old as 2w; the oldest is 3 of 2025-03-01T10:00:00Z");
        assert!(pick_text("9999999999999w").is_err());
    }

    #[test]
    fn a_time_as_it_is_shown_finds_its_snapshot() {
        assert_eq!(pick_text("2025-03-01T10:00:00Z"), Ok(3));
        assert_eq!(pick_text("2025-03-01T11:00:00+01:00"), Ok(3));
        assert!(pick_text("2025-03-01T10:00:00.4Z").is_err());
        assert_eq!(pick_text("2025-03-01T10:00:00.5Z"), Ok(3));
        assert!(pick_text("2025-03-01T09:59:59Z").is_err());
    }

    #[test]
    fn a_day_includes_all_of_it() {
        // In no time zone is this another day than the second or third.
        assert_eq!(pick_text("2025-03-04"), Ok(4));
        assert_eq!(pick_text("2025-04-01"), Ok(8));
        let last = DateTime::from_timestamp(Zone::default().calendar().day_ends("2025-03-01").unwrap() - 1, 0).unwrap();
        let list = [SnapshotRef { number: 1, modified: last, written: last, etag: None }];
        let asked = |text| Some((text, parse(text).unwrap()));
        assert_eq!(pick(&list, asked("2025-03-01"), last), Ok(1));
        assert!(pick(&list, asked("2025-02-28"), last).is_err());
    }

    #[test]
    fn a_day_of_another_zone_is_its_last_second() {
        let auckland = Zone::named("Pacific/Auckland").unwrap();
        assert_eq!(at_in(&auckland, "2025-03-02"), "2025-03-02T10:59:59Z");
        assert_eq!(at_in(&auckland, "2025-03-02T23:00"), "2025-03-02T10:00:00Z");
        assert_eq!(pick_text(&at_in(&auckland, "2025-03-02")), Ok(4));
        assert_eq!([at_in(&auckland, "3d"), at_in(&auckland, "7"), at_in(&Zone::default(), "2025-03-02")].join(" "), "3d 7 2025-03-02");
    }

    #[test]
    fn what_cannot_be_read_says_what_can() {
        for text in ["", "yesterday", "3y", "d", "-3", "2025-13-01", "2025-03-01T", "99999999999999999999", "3ä"] {
            let error = parse(text).unwrap_err();
            assert!(matches!(&error, Error::Usage(t) if t.contains("use a number")), "{text}: {error}");
        }
    }
}
