//! The shapes of `--json` documents that are not an outcome of the engine as it is.
//!
//! Owns shapes only. Documents that are written line by line (ls, diff, cat) are here for their schemas; `stream`
//! writes them. Times are RFC 3339 in UTC.

use std::collections::BTreeMap;

use offsite::config::ConfigFile;
use offsite::engine::{DiffLine, HistoryLine, LsLine, LsTotals, PlanReport, SnapshotRow};
use offsite::error::{Error, Failure};
use offsite::import::{ImportNote, Node};
use offsite::model::{Hash, Kind, RelPath};
use schemars::JsonSchema;
use serde::Serialize;

use super::units::utc;

/// Any verb that failed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorDocument {
    pub error: String,
    /// The program's exit code.
    pub exit: u8,
    /// What it is, where it happened and what can be done; not for a command line that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl ErrorDocument {
    pub fn of(error: &Error) -> Self {
        Self { error: error.to_string(), exit: error.exit_code(), failure: Some(error.into()) }
    }
}

/// `plan`, and `sync --dry-run`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanDocument<'a> {
    pub destinations: &'a [PlanReport],
    /// The worst of the destinations' exit codes.
    pub exit: u8,
}

/// `snapshots`: oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SnapshotsDocument<'a> {
    pub url: &'a str,
    pub snapshots: &'a [SnapshotRow],
    /// Why they are not what this machine has seen at that destination before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<&'a str>,
}

/// `config check`
#[derive(Debug, Serialize, JsonSchema)]
pub struct ConfigCheckDocument {
    /// The config file.
    pub file: String,
    pub jobs: Vec<CheckedJob>,
}

/// A job of one type, as it would run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckedJob {
    pub job: String,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The directory that is read; `dumps only` for a job without one.
    pub source: String,
    /// Excluded from every verb.
    pub ignored: bool,
    pub destinations: Vec<CheckedDestination>,
    /// The container volume that was found by its label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Why its container volume cannot be read now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lack: Option<String>,
}

/// A destination of a job.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckedDestination {
    /// Its name in the config; null for a URL in the job.
    pub name: Option<String>,
    pub url: String,
}

/// `config import`
#[derive(Serialize, JsonSchema)]
pub struct ImportDocument<'a> {
    /// A config as `config schema` describes it.
    #[schemars(with = "ConfigFile")]
    pub config: &'a Node,
    pub notes: &'a [ImportNote],
}

/// `schedule install`, `show` and `remove`
#[derive(Debug, Serialize, JsonSchema)]
pub struct ScheduleDocument<'a> {
    pub name: &'a str,
    /// `installed`, `there` or `removed`.
    pub did: &'a str,
    /// Files and their texts; for cron the line, under the name `crontab`. Empty if there is no such schedule.
    pub parts: BTreeMap<&'a str, &'a str>,
    pub notes: &'a [String],
}

/// One line of a listing.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LsEntry<'a> {
    /// From the top of the tree.
    pub path: &'a RelPath,
    pub kind: Kind,
    /// Content bytes; for a directory those of all files below it (0 where everything below is listed too).
    pub size: u64,
    /// Entries below a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtime: Option<String>,
    /// Permission bits in octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'a str>,
    /// Target of a symlink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<&'a RelPath>,
}

impl<'a> From<&'a LsLine> for LsEntry<'a> {
    fn from(line: &'a LsLine) -> Self {
        Self {
            path: &line.path,
            kind: line.kind,
            size: line.size,
            entries: line.entries,
            mtime: line.mtime.map(utc),
            mode: line.mode.as_deref(),
            link: line.link.as_ref(),
        }
    }
}

/// `ls`. If it fails on the way, `error` and `exit` stand in place of the sums.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is written line by line; only its schema is used")]
pub struct LsDocument<'a> {
    pub entries: Vec<LsEntry<'a>>,
    #[schemars(flatten)]
    pub end: LsEnd<'a>,
}

/// `ls --unread`. If it fails on the way, `error` and `exit` stand in place of the sums.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is written line by line; only its schema is used")]
pub struct LsUnreadDocument {
    pub troubles: Vec<offsite::model::Trouble>,
    #[schemars(flatten)]
    pub end: offsite::engine::UnreadTotals,
}

/// What stands after the entries.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LsEnd<'a> {
    pub url: &'a str,
    pub snapshot: u64,
    /// Everything below the path.
    pub totals: LsSums,
}

/// Sums of a listing.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LsSums {
    pub entries: u64,
    /// Content bytes.
    pub bytes: u64,
}

impl<'a> From<&'a LsTotals> for LsEnd<'a> {
    fn from(t: &'a LsTotals) -> Self {
        Self { url: &t.url, snapshot: t.snapshot, totals: LsSums { entries: t.entries, bytes: t.bytes } }
    }
}

/// `diff`. If it fails on the way, `error` and `exit` stand in place of the sums.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is written line by line; only its schema is used")]
pub struct DiffDocument {
    pub changes: Vec<DiffLine>,
    #[schemars(flatten)]
    pub totals: offsite::engine::DiffTotals,
}

/// One snapshot at which a path is not what it was before.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HistoryEntry<'a> {
    pub snapshot: u64,
    /// When it was committed by the store's clock.
    pub time: &'a str,
    /// `added`, `changed`, `metadata`, `removed` or `damaged`.
    pub change: &'static str,
    /// Content bytes, if it is a file there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtime: Option<String>,
    /// BLAKE3 of the content, if it is a file there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hash>,
    /// What is damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<&'a str>,
}

impl<'a> From<&'a HistoryLine> for HistoryEntry<'a> {
    fn from(line: &'a HistoryLine) -> Self {
        Self {
            snapshot: line.snapshot,
            time: &line.time,
            change: line.change,
            size: line.size,
            mtime: line.mtime.map(utc),
            hash: line.hash,
            problem: line.problem.as_deref(),
        }
    }
}

/// `history`: newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HistoryDocument<'a> {
    pub url: &'a str,
    pub path: &'a str,
    pub history: Vec<HistoryEntry<'a>>,
}

/// `cat`. If it fails on the way, `error` and `exit` stand in place of what follows the content.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CatDocument<'a> {
    /// The content, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_b64: Option<String>,
    pub url: &'a str,
    pub path: &'a str,
}
