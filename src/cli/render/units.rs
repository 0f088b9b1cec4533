//! Numbers, sizes, times and requests for people.
//!
//! Owns formatting only, and prints nothing. Sizes are binary (a KiB is 1024 bytes). Times for people are in this
//! machine's zone, times in JSON are RFC 3339 in UTC.

use chrono::{DateTime, Local, SecondsFormat, Utc};
use offsite::model::{Calendar, Layout, Time, plural};
use offsite::plan::Estimate;
use offsite_backends::Requests;
use unicode_width::UnicodeWidthStr;

/// Contents, or the packs of a packed destination.
pub fn contents(n: u64, layout: Layout) -> String {
    if layout.is_mirror() { counted(n, "content", "contents") } else { counted(n, "pack", "packs") }
}

/// `4.5 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.96 would be printed as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `10,233`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 file`, `10,233 files`.
pub fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), plural(n, one, many))
}

/// `$1.23`; four places below a dollar, where they matter.
pub fn dollars(sum: f64) -> String {
    if sum < 1.0 { format!("${sum:.4}") } else { format!("${sum:.2}") }
}

/// `3.1 s`, `2 min 5 s`, `1 h 3 min`.
pub fn seconds(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A file's time for people: `2026-11-01 12:15`.
pub fn local(time: Time) -> String {
    moment(time).map_or_else(|| time.to_string(), |t| shown(t.with_timezone(&Local)))
}

/// A file's time in JSON.
pub fn utc(time: Time) -> String {
    moment(time).map_or_else(|| time.to_string(), |t| t.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// A snapshot's time for people.
pub fn local_of(text: &str) -> String {
    DateTime::parse_from_rfc3339(text).map_or_else(|_| crate::cli::clean::clean(text), |t| shown(t.with_timezone(&Local)))
}

/// The same in the time zone of this calendar.
pub fn shown_in(calendar: &Calendar, text: &str) -> String {
    DateTime::parse_from_rfc3339(text).map_or_else(|_| crate::cli::clean::clean(text), |time| calendar.shown(time.timestamp()))
}

fn moment(time: Time) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs, time.nanos)
}

fn shown(time: DateTime<Local>) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}

/// `put 17, list 2`.
pub fn requests(r: &Requests) -> String {
    classes(&[
        ("put", r.put),
        ("multipart", r.multipart),
        ("copy", r.copy),
        ("list", r.list),
        ("get", r.get),
        ("head", r.head),
        ("delete", r.delete),
    ])
}

/// The same for an estimate.
pub fn estimate(e: &Estimate) -> String {
    classes(&[("put", e.put), ("multipart", e.multipart), ("copy", e.copy), ("list", e.list), ("get", e.get), ("delete", e.delete)])
}

fn classes(classes: &[(&str, u64)]) -> String {
    let said: Vec<String> = classes.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {}", count(*n))).collect();
    if said.is_empty() { "none".into() } else { said.join(", ") }
}

/// A table with aligned columns. A heading that starts with `>` aligns its column to the right.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    // A line break in a cell would look like another row.
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| crate::cli::clean::clean(cell)).collect()).collect();
    let width = |column: usize| {
        let heading = headings[column].trim_start_matches('>').width();
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or(0).max(heading)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&widths).zip(headings).map(|((cell, width), heading)| {
            // Width is not the number of characters: a Chinese one takes two columns, a combining accent none.
            let room = " ".repeat(width.saturating_sub(cell.width()));
            if heading.starts_with('>') { format!("{room}{cell}") } else { format!("{cell}{room}") }
        });
        let mut line = cells.collect::<Vec<_>>().join("  ");
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let mut text = line(headings.iter().map(|h| h.trim_start_matches('>')).collect());
    rows.iter().for_each(|row| text.push_str(&line(row.iter().map(String::as_str).collect())));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        assert_eq!(
            [size(0), size(1023), size(1024), size(4_718_592), size(1 << 30), size(u64::MAX)].join("|"),
            "0 B|1023 B|1.0 KiB|4.5 MiB|1.0 GiB|16.0 EiB"
        );
        assert_eq!([dollars(0.0), dollars(0.01234), dollars(12.345)].join("|"), "$0.0000|$0.0123|$12.35");
        assert_eq!(size((1 << 20) - 1), "1.0 MiB");
        assert_eq!([count(0), count(999), count(10_233), count(1_000_000)].join("|"), "0|999|10,233|1,000,000");
        assert_eq!([seconds(3.12), seconds(125.0), seconds(3780.0)].join("|"), "3.1 s|2 min 5 s|1 h 3 min");
    }

    #[test]
    fn columns_stand_under_each_other_whatever_the_names() {
        let rows = [["備份", "1"], ["e\u{301}t", "22"]].map(|row| row.map(str::to_owned).to_vec());
        let text = table(&["name", ">n"], &rows);
        assert_eq!(text, "name   n\n備份   1\ne\u{301}t    22\n");
    }

    #[test]
    fn times() {
        assert_eq!(utc(Time { secs: 0, nanos: 0 }), "1970-01-01T00:00:00Z");
        assert_eq!(utc(Time { secs: 1, nanos: 500_000_000 }), "1970-01-01T00:00:01.500Z");
        assert_eq!(local(Time { secs: i64::MAX, nanos: 0 }), format!("{}.000000000", i64::MAX));
    }

    #[test]
    fn columns_line_up() {
        assert_eq!(table(&[">n", "name"], &[vec!["10".into(), "a".into()], vec!["2".into(), "bc".into()]]), " n  name\n10  a\n 2  bc\n");
    }
}
