//! What a user can choose of a sync.

use std::path::PathBuf;

use crate::model::KeepRules;
use crate::plan::{Limits, Price};
use crate::scan::WalkOptions;
use crate::transfer::Dump;

/// How to sync.
#[derive(Debug, Clone)]
pub struct SyncOptions {
    pub walk: WalkOptions,
    /// The end of the source's path that is not the user's own (a subdirectory of a volume): no symlink in it is followed.
    pub inner: PathBuf,
    pub checksum: bool,
    pub adopt: bool,
    pub start_over: bool,
    pub keep: KeepRules,
    pub limits: Limits,
    pub price: Price,
    pub price_name: String,
    pub transfers: Option<usize>,
    /// Bytes a second, all destinations together.
    pub limit_upload: Option<u64>,
    /// Bytes a second of what is read back to be adopted, all destinations together.
    pub limit_download: Option<u64>,
    /// The job and type that a snapshot names, where a config has them.
    pub job: Option<String>,
    pub kind: Option<String>,
    /// Files that are made while they are sent.
    pub dumps: Vec<Dump>,
    /// Destinations that are not as the config declares them, by the URL given, and what differs.
    pub drift: Vec<(String, String)>,
}
