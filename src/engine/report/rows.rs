//! What a report says, as plain data: printed, and the `--json` document.

use std::collections::BTreeMap;

use offsite_backends::usage::Sum;
use offsite_backends::{Requests, Space};
use serde::Serialize;

use crate::engine::note::Note;
use crate::error::Failure;
use crate::model::RelPath;

/// The report of all URLs.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct ReportOutcome {
    /// One for each URL, in the order given.
    pub destinations: Vec<DestinationReport>,
    /// The worst of the destinations' exit codes.
    pub exit: u8,
}

/// Where figures are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Counted {
    /// The newest snapshot: what the last run left there.
    Manifest,
    /// The store's own listing: everything that takes up room now.
    Listing,
}

/// What one URL holds.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct DestinationReport {
    pub url: String,
    /// Null if there are no figures.
    pub counted: Option<Counted>,
    /// As of when, by the store's clock, RFC 3339, UTC: when the snapshot was committed, or when the listing began.
    pub as_of: Option<String>,
    /// One for each destination found, and one for objects outside of all destinations.
    pub rows: Vec<ReportRow>,
    /// Room of the whole file system or quota, if the store knows it.
    pub space: Option<Room>,
    #[schemars(with = "BTreeMap<String, u64>")]
    pub requests: Requests,
    /// What limits the figures.
    #[schemars(with = "Vec<String>")]
    pub notes: Vec<Note>,
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    pub exit: u8,
}

/// Objects and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Total {
    pub objects: u64,
    pub bytes: u64,
}

impl From<Sum> for Total {
    fn from(sum: Sum) -> Self {
        Self { objects: sum.objects, bytes: sum.bytes }
    }
}

/// Bytes of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Room {
    pub total: u64,
    /// What this user may still fill.
    pub free: u64,
}

impl From<Space> for Room {
    fn from(space: Space) -> Self {
        Self { total: space.total, free: space.free }
    }
}

/// One destination, or the objects outside of all destinations. A null was not counted.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct ReportRow {
    /// The destination; for objects outside of all destinations, the URL of the report.
    pub url: String,
    /// The objects outside of all destinations.
    pub nobodys: bool,
    /// Number of the newest snapshot.
    pub snapshot: Option<u64>,
    /// When it was committed by the store's clock, RFC 3339, UTC.
    pub snapshot_time: Option<String>,
    /// Current contents, offsite's own objects left out.
    pub content: Total,
    /// Replaced and removed contents that are kept as objects of their own.
    pub kept: Option<Total>,
    /// Manifest, snapshots and what else offsite writes for itself.
    pub manifest: Option<Total>,
    /// Versions that were replaced or removed and that the store keeps.
    pub old_versions: Option<Total>,
    pub delete_markers: Option<u64>,
    /// Uploads in parts that have not ended.
    pub unfinished_uploads: Option<Uploads>,
    /// Current objects and old versions by storage class, where the listing says it.
    pub classes: BTreeMap<String, Total>,
    /// By first directory, the largest 1,000, if asked for.
    pub directories: Option<Vec<DirectorySum>>,
    /// All other directories.
    pub other_directories: Option<Total>,
    /// The totals of earlier snapshots, oldest first, at most 60; only from the manifest.
    pub trend: Vec<TrendPoint>,
    pub growth: Option<Growth>,
    pub cost: Option<Costs>,
}

/// Uploads in parts that have not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Uploads {
    pub objects: u64,
    /// Null if the store does not list sizes.
    pub bytes: Option<u64>,
}

impl From<Sum> for Uploads {
    fn from(sum: Sum) -> Self {
        // No part of an upload is empty: with uploads and without bytes, nobody counted.
        Self { objects: sum.objects, bytes: Some(sum.bytes).filter(|bytes| *bytes > 0 || sum.objects == 0) }
    }
}

/// What is below one directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct DirectorySum {
    /// Empty for files at the top itself.
    pub path: RelPath,
    /// Objects, when listed; entries of the manifest (directories and links too) otherwise.
    pub objects: u64,
    pub bytes: u64,
}

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct TrendPoint {
    pub snapshot: u64,
    /// When it was committed by the store's clock, RFC 3339, UTC.
    pub time: String,
    pub files: u64,
    pub bytes: u64,
}

/// How fast the content grows: the slope of least squares through the trend.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Growth {
    /// Negative where it shrinks.
    pub bytes_per_day: f64,
    /// Over how many days it was seen.
    pub days: f64,
}

/// What storing it costs, in US dollars.
#[derive(Debug, Clone, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Costs {
    /// Row of the price table.
    pub price: String,
    /// When that price was read, and where.
    pub price_as_of: String,
    pub price_source: String,
    pub confidence: String,
    /// The bytes that were priced.
    pub bytes: u64,
    /// A month, now.
    pub month: f64,
    /// A month, in 12 months, if the content goes on growing as it did; none where no growth is known.
    pub month_in_a_year: Option<f64>,
}
