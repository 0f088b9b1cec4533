//! The result of a report as plain data: what is printed, and the `--json` document.

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

/// Where the figures come from.
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
    /// URL of the destination, bucket or directory.
    pub url: String,
    /// Null if there are no figures.
    pub counted: Option<Counted>,
    /// As of when, by the store's clock, RFC 3339, UTC: when the snapshot was committed, or when the listing began.
    pub as_of: Option<String>,
    /// One for each destination found, and one for objects outside of all destinations.
    pub rows: Vec<ReportRow>,
    /// Room of the whole file system or quota, if the store knows it.
    pub space: Option<Room>,
    /// Requests to the store, by class.
    #[schemars(with = "BTreeMap<String, u64>")]
    pub requests: Requests,
    /// What limits the figures.
    #[schemars(with = "Vec<String>")]
    pub notes: Vec<Note>,
    /// Why there is no report.
    pub error: Option<String>,
    /// The same as data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Exit code for this URL: 0 if there are figures, else that of the error.
    pub exit: u8,
}

/// Objects and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Total {
    /// Number of objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl From<Sum> for Total {
    fn from(sum: Sum) -> Self {
        Self { objects: sum.objects, bytes: sum.bytes }
    }
}

/// Bytes of a file system or quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Room {
    /// Its size.
    pub total: u64,
    /// Free bytes that this user may fill.
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
    /// Current contents, offsite's own objects left out. In a listing of a packed destination, its packs.
    pub content: Total,
    /// In a packed destination: the packs that the newest snapshot names, if this machine's cache knows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packs: Option<PacksInUse>,
    /// Replaced and removed contents that are kept as objects of their own.
    pub kept: Option<Total>,
    /// Manifest, snapshots and what else offsite writes for itself.
    pub manifest: Option<Total>,
    /// Versions that were replaced or removed and that the store keeps.
    pub old_versions: Option<Total>,
    /// Markers that hide a removed object on a store with versions.
    pub delete_markers: Option<u64>,
    /// Uploads in parts that have not ended.
    pub unfinished_uploads: Option<Uploads>,
    /// Current objects and old versions by storage class, where the listing says it.
    pub classes: BTreeMap<String, Total>,
    /// By first directory, the largest 1,000, if asked for.
    pub directories: Option<Vec<DirectorySum>>,
    /// All other directories together.
    pub other_directories: Option<Total>,
    /// The totals of earlier snapshots, oldest first, at most 60; only from the manifest.
    pub trend: Vec<TrendPoint>,
    /// Growth of the content; null if too few snapshots are known.
    pub growth: Option<Growth>,
    /// Cost of storage; null if no price applies.
    pub cost: Option<Costs>,
}

/// Packs that the newest snapshot names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct PacksInUse {
    /// Number of packs.
    pub packs: u64,
    /// Their bytes at the destination.
    pub bytes: u64,
    /// How many of these bytes the snapshot uses. The rest is of older snapshots, or of none.
    pub used: u64,
}

/// Uploads in parts that have not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Uploads {
    /// Number of unfinished uploads.
    pub objects: u64,
    /// Null if the store does not list sizes.
    pub bytes: Option<u64>,
}

impl From<Sum> for Uploads {
    fn from(sum: Sum) -> Self {
        // No part of an upload is empty, so uploads with 0 bytes mean that the store did not report sizes.
        Self { objects: sum.objects, bytes: Some(sum.bytes).filter(|bytes| *bytes > 0 || sum.objects == 0) }
    }
}

/// The sums below one directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct DirectorySum {
    /// Empty for files at the top itself.
    pub path: RelPath,
    /// Objects, when listed; entries of the manifest (directories and links too) otherwise.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The totals of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct TrendPoint {
    /// Number of the snapshot.
    pub snapshot: u64,
    /// When it was committed by the store's clock, RFC 3339, UTC.
    pub time: String,
    /// Files of the tree.
    pub files: u64,
    /// Content bytes of the tree.
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
    /// Date on which that price was read.
    pub price_as_of: String,
    /// Where it was read.
    pub price_source: String,
    /// How reliable the price is: `high`, `medium` or `low`.
    pub confidence: String,
    /// The bytes that were priced.
    pub bytes: u64,
    /// Cost of one month, now.
    pub month: f64,
    /// Cost of one month, 12 months from now, if the content continues to grow as before; null if no growth is known.
    pub month_in_a_year: Option<f64>,
}
