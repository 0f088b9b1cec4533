//! What a user can choose of a sync.

use std::path::PathBuf;

use crate::model::KeepRules;
use crate::plan::{Limits, Price};
use crate::scan::WalkOptions;
use crate::transfer::Dump;

/// What is kept where nothing is said, in seconds: 30 days.
const KEPT: u64 = 30 * 86_400;

/// How to sync. A flag and a key of the config set the same field; the defaults here are those of both.
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

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            walk: WalkOptions::default(),
            inner: PathBuf::new(),
            checksum: false,
            adopt: false,
            start_over: false,
            keep: KeepRules { within: Some(KEPT), ..KeepRules::default() },
            limits: Limits::default(),
            price: Price::default(),
            price_name: "none".to_owned(),
            transfers: None,
            limit_upload: None,
            limit_download: None,
            job: None,
            kind: None,
            dumps: Vec::new(),
            drift: Vec::new(),
        }
    }
}
