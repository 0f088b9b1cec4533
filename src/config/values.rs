//! Sizes, rates, durations, shares and sums of money as people write them.
//!
//! Owns the value parsers of the command line and of the config. Units of bytes are powers of 1024 (K, M, G, T, P, with
//! or without `B` or `iB`). An error says what is wrong, with an example. Invariant: an ambiguous value is refused,
//! never guessed.

use std::path::Path;

use crate::error::Error;
use crate::plan::Prices;
use offsite_backends::initialize::{Encryption, Lock, LockMode};

/// The price table in `file`, or the shipped one.
///
/// # Errors
/// [`Error::Usage`] if the file is not a price table.
pub fn prices(file: Option<&Path>) -> Result<Prices, Error> {
    let prices = match file {
        None => Prices::shipped(),
        Some(file) => std::fs::read_to_string(file)
            .map_err(|e| e.to_string())
            .and_then(|text| Prices::parse(&text))
            .map_err(|e| format!("--prices {}: {e}", file.display())),
    };
    prices.map_err(Error::Usage)
}

/// The name of a row in the shipped price table.
///
/// # Errors
/// For an unknown name, a text that lists the known ones.
pub fn price(text: &str) -> Result<String, String> {
    Prices::shipped()?.get(text).map(|_| text.to_owned())
}

/// Refuses a path that looks like a URL or the address of a server. offsite would take it for a directory here.
///
/// # Errors
/// [`Error::Usage`], which says what the path names instead.
pub fn directory(path: &Path) -> Result<(), Error> {
    path.to_str().map_or(Ok(()), |text| offsite_backends::location::directory(text).map_err(|e| Error::Usage(e.to_string())))
}

/// Bytes: `10M`, `1.5G`, `4KiB`, `512`.
///
/// # Errors
/// The text does not begin with a number, has an unknown unit, or is more bytes than a `u64` can hold.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size; write 512, 4K, 10M or 1.5G");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let unit = unit.to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|u| *u == unit).ok_or_else(wrong)?;
    scaled(number, 1 << (10 * power)).ok_or_else(wrong)
}

/// Bytes a second, written like a size, with or without `/s`.
///
/// # Errors
/// The text is not a rate. Also for 0, because the run would never end.
pub fn rate(text: &str) -> Result<u64, String> {
    match size(text.strip_suffix("/s").unwrap_or(text)) {
        Ok(0) => Err("with a rate of 0 the run would never end; omit the flag for no limit".into()),
        Ok(rate) => Ok(rate),
        Err(_) => Err(format!("`{text}` is not a rate; write 500K, 10M or 1.5G (bytes a second)")),
    }
}

/// Seconds: `30d`, `12h`, `1h30m`, `2w`, `0`.
///
/// # Errors
/// The text is empty, a number has no unit or an unknown one, or the seconds do not fit in a `u64`.
pub fn duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a duration; write 30d, 12h, 90m, 45s, 2w or 0");
    if text == "0" {
        return Ok(0);
    }
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let unit = match rest.as_bytes()[end] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 7 * 86_400,
            _ => return Err(wrong()),
        };
        let part = scaled(&rest[..end], unit).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = &rest[end + 1..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// Whole days, the unit of the stores: `7d`, `2w`. From 1 to 36,500.
///
/// # Errors
/// The text is not a duration, or not a number of whole days in that range.
pub fn days(text: &str) -> Result<u32, String> {
    const DAY: u64 = 86_400;
    let secs = duration(text)?;
    let days = u32::try_from(secs / DAY).ok().filter(|days| (1..=36_500).contains(days) && secs.is_multiple_of(DAY));
    days.ok_or_else(|| format!("`{text}` is not a number of whole days; write 7d or 12w"))
}

/// The level of a compression: `zstd` (3), or with a level from 1 to 22, `zstd:19`.
///
/// # Errors
/// The text names another compression, or a level that is not from 1 to 22.
pub fn zstd(text: &str) -> Result<i32, String> {
    let level = match text.split_once(':') {
        None if text == "zstd" => Some(3),
        Some(("zstd", level)) => level.parse::<i32>().ok().filter(|level| (1..=22).contains(level)),
        _ => None,
    };
    level.ok_or_else(|| format!("`{text}` is not a compression; write zstd, or zstd:19 with a level from 1 to 22"))
}

/// `on` or `off`.
///
/// # Errors
/// For any other text.
pub fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{text}` is neither `on` nor `off`")),
    }
}

/// Mode and days of an object lock: `governance:30d`, `compliance:1w`.
///
/// # Errors
/// The mode is neither `governance` nor `compliance`, or [`days`] refuses the time.
pub fn lock(text: &str) -> Result<Lock, String> {
    let (mode, time) = text.split_once(':').ok_or_else(|| format!("`{text}` is not a lock; write governance:30d or compliance:30d"))?;
    let mode = match mode {
        "governance" => LockMode::Governance,
        "compliance" => LockMode::Compliance,
        _ => return Err(format!("`{mode}` is not a lock mode; the modes are governance and compliance")),
    };
    Ok(Lock { mode, days: days(time)? })
}

/// Encryption by the store: `store`, `kms:KEY`.
///
/// # Errors
/// For any other text, and for a key that is empty or contains blanks or control characters.
pub fn encryption(text: &str) -> Result<Encryption, String> {
    match text.split_once(':') {
        None if text == "store" => Ok(Encryption::Store),
        Some(("kms", key)) if !key.is_empty() && !key.chars().any(|c| c.is_control() || c.is_whitespace()) => {
            Ok(Encryption::Key(key.to_owned()))
        }
        _ => Err(format!("`{text}` is not an encryption; write store, or kms: and the name of a key")),
    }
}

/// A share from 0 to 1: `25%` or `0.25`.
///
/// # Errors
/// The text is not a number, or the share is not from 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is not a share; write 25% or 0.25, at most 100%");
    let parsed = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|p| p / 100.0),
        None => text.parse::<f64>(),
    };
    parsed.ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(wrong)
}

/// A share that is not 0: `5%` or `0.05`.
///
/// # Errors
/// The text is not a share. Also for 0, because that would read nothing.
pub fn sample(text: &str) -> Result<f64, String> {
    match share(text)? {
        none if none <= 0.0 => Err("this would read nothing; omit the flag, or write 5%".into()),
        share => Ok(share),
    }
}

/// US dollars: `5`, `0.50` or `$5`.
///
/// # Errors
/// The text is not a number, or the sum is negative or infinite.
pub fn dollars(text: &str) -> Result<f64, String> {
    let sum = text.strip_prefix('$').unwrap_or(text).parse::<f64>().ok().filter(|sum| sum.is_finite() && *sum >= 0.0);
    sum.ok_or_else(|| format!("`{text}` is not an amount; write 5 or 0.50 (US dollars)"))
}

/// A number of parallel transfers, from 1 to 1024.
///
/// # Errors
/// The text is not a whole number in that range.
pub fn count(text: &str) -> Result<usize, String> {
    text.parse::<usize>()
        .ok()
        .filter(|n| (1..=1024).contains(n))
        .ok_or_else(|| format!("`{text}` is not a count; write a number from 1 to 1024"))
}

/// The number and the text after it.
fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], text[end..].trim_start()))
}

/// A number times a unit. The result for a whole number is exact.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit);
    }
    if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let scaled = number.parse::<f64>().ok()? * unit as f64;
    (scaled.is_finite() && scaled < u64::MAX as f64).then_some(scaled as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("512", 512), ("10M", 10 << 20), ("1.5G", 3 << 29), ("4KiB", 4096), ("4 kb", 4096), ("7B", 7)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "-1", "1X", "1..5M", "1e9", "99999999P", "inf"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(rate("2M/s"), Ok(2 << 20));
        assert!(rate("0").is_err());
    }

    #[test]
    fn durations() {
        for (text, secs) in [
            ("0", 0),
            ("45s", 45),
            ("90m", 5400),
            ("12h", 43_200),
            ("30d", 2_592_000),
            ("2w", 1_209_600),
            ("1h30m", 5400),
            ("1.5d", 129_600),
        ] {
            assert_eq!(duration(text), Ok(secs), "{text}");
        }
        for text in ["", "30", "d", "1y", "-1d", "1d2", "ä", "1é"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn days_and_locks() {
        assert_eq!([days("7d"), days("2w"), days("24h")], [Ok(7), Ok(14), Ok(1)]);
        assert_eq!(lock("compliance:1w"), Ok(Lock { mode: LockMode::Compliance, days: 7 }));
        for text in ["0", "12h", "7", "36h", "200000d", ""] {
            assert!(days(text).is_err(), "{text}");
        }
        for text in ["30d", "governance", "governance:", "legal:30d", "Governance:30d"] {
            assert!(lock(text).is_err(), "{text}");
        }
        assert!(on_off("yes").is_err());
    }

    #[test]
    fn shares_and_sums() {
        assert_eq!(share("25%"), Ok(0.25));
        assert_eq!(share("0.25"), Ok(0.25));
        assert_eq!(share("100%"), Ok(1.0));
        for text in ["25", "-1%", "101%", "x", "NaN"] {
            assert!(share(text).is_err(), "{text}");
        }
        assert_eq!(dollars("$0.50"), Ok(0.5));
        assert!(dollars("inf").is_err());
        assert!(count("0").is_err());
        assert_eq!(sample("5%"), Ok(0.05));
        assert!(sample("0%").is_err());
    }
}
