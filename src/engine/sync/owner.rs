//! The owner of a destination: which machine, and which source directory of it.
//!
//! Owns the comparison of a run with the newest snapshot. Two sources that sync in turn to one destination remove each
//! other's files every time, and no run fails. If host and source both differ, the run is refused until the user allows
//! it once. If only one differs, the run adds a warning, since people rename machines and move directories.
//! Invariant: a name that is only spelled in another way, or that cannot be compared, does not count as different.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::engine::destination::Destination;
use crate::engine::paths::real;
use crate::model::Snapshot;

/// The empty directory below the cache that is the source of a job with dumps only.
pub const NO_SOURCE: &str = "jobs/nothing";

/// The run that wants to write to the destination.
pub struct Claimant<'a> {
    pub host: &'a str,
    pub source: &'a Path,
    pub job: Option<&'a str>,
    pub kind: Option<&'a str>,
}

/// Whether a destination belongs to the run.
#[derive(Debug, Default, PartialEq)]
pub enum Owner {
    /// It belongs to this run, or it has no snapshot, or the user allows the run.
    #[default]
    Same,
    /// It may belong to another machine or source. The text is a warning.
    Perhaps(String),
    /// It belongs to another machine and source. The text is the reason for the refusal.
    Other(String),
}

impl Owner {
    /// Judges by the newest snapshot of the destination. `allowed` says that the user allows another owner.
    pub fn of(destination: &Destination, now: &Claimant<'_>, allowed: bool) -> Self {
        match destination.snapshot() {
            Some((last, _)) if !allowed => judged(last, now),
            _ => Self::Same,
        }
    }
}

fn judged(last: &Snapshot, now: &Claimant<'_>) -> Owner {
    let before = last.source.as_bytes();
    let host = hosts_differ(&last.host, now.host);
    let source = sources_differ(before, now.source);
    // The config of a job names its source, so the path may differ. A volume snapshot can have a new path every night.
    let same_job = now.job.is_some() && last.job.as_deref() == now.job && last.kind.as_deref() == now.kind;
    let what = || format!("the last snapshot is of {} on {}", last.source, last.host);
    let this = || format!("this run is of {} on {}", now.source.display(), now.host);
    match (host, source) {
        (true, true) => Owner::Other(format!(
            "{}, and {}; two sources at one destination remove each other's files; use a separate destination, or --take-over once if this one replaces the other",
            what(),
            this()
        )),
        (true, false) => {
            Owner::Perhaps(format!("{}, and {}; if both machines sync there, give each a destination of its own", what(), this()))
        }
        (false, true) if !same_job => {
            Owner::Perhaps(format!("{}, and {}; if both are synced there, give each a destination of its own", what(), this()))
        }
        _ => Owner::Same,
    }
}

/// Compares names of machines without regard to case, and with or without a domain. An empty name and two random names,
/// as containers have by default, do not differ.
fn hosts_differ(a: &str, b: &str) -> bool {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let within = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'));
    let random = |name: &str| name.len() == 12 && name.bytes().all(|c| c.is_ascii_hexdigit()) && name.bytes().any(|c| c.is_ascii_digit());
    !(a == b || a.is_empty() || b.is_empty() || within(&a, &b) || within(&b, &a) || (random(&a) && random(&b)))
}

/// Compares source paths after resolving symlinks. A relative path, as snapshots of older versions have it, differs
/// only if the new path does not end with it.
fn sources_differ(before: &[u8], now: &Path) -> bool {
    let before = Path::new(OsStr::from_bytes(before));
    let now = std::path::absolute(now).unwrap_or_else(|_| now.to_path_buf());
    if before.ends_with(NO_SOURCE) && now.ends_with(NO_SOURCE) {
        return false;
    }
    if before.is_absolute() {
        return before != now && real(before) != real(&now);
    }
    let named: PathBuf = before.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    // `.` and `..` alone say nothing about the directory, so they do not differ.
    !(named.as_os_str().is_empty() || now.ends_with(&named) || real(&now).ends_with(&named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_by_any_of_their_names() {
        for (a, b, differ) in [
            ("web1", "web2", true),
            ("web1", "WEB1.example.org", false),
            ("web1", "web10", true),
            ("3f2a9c1b7d0e", "0123456789ab", false),
            ("3f2a9c1b7d0e", "web1", true),
            ("", "web1", false),
        ] {
            assert_eq!((hosts_differ(a, b), hosts_differ(b, a)), (differ, differ), "{a} {b}");
        }
    }

    #[test]
    fn sources_however_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("srv/www")).unwrap();
        std::os::unix::fs::symlink(at("srv"), at("link")).unwrap();
        for (before, now, differ) in [
            (at("srv/www"), at("link/www"), false),
            (at("srv/www/"), at("srv/./www"), false),
            (at("srv/x/../www"), at("srv/www"), false),
            (at("srv/www"), at("srv/other"), true),
            ("www".into(), at("srv/www"), false),
            ("./srv/www".into(), at("link/www"), false),
            ("../www/".into(), at("srv/www"), false),
            (".".into(), at("srv/www"), false),
            ("other".into(), at("srv/www"), true),
            (at("cache/jobs/nothing"), at("elsewhere/jobs/nothing"), false),
        ] {
            assert_eq!(sources_differ(before.as_os_str().as_bytes(), &now), differ, "{} {}", before.display(), now.display());
        }
    }
}
