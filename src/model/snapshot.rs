//! A snapshot: one committed manifest with the facts of its run.
//!
//! Owns the shape of `.offsite/snapshots/<number>.json` and of references to pages.

use super::problem::Problem;
use serde::{Deserialize, Serialize};

use super::bounds;
use super::change::Counts;
use super::entry::{Hash, Xattr};
use super::path::RelPath;
use super::sample::Sample;
use super::time::Time;
use super::zone::Zone;

/// Where a page is and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRef {
    /// Name of the object in `.offsite/pages/`, without ending. Left out: the object this reference stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Hash>,
    /// Where its zstd frame starts in the object, in bytes.
    pub offset: u64,
    /// Length of the frame in bytes.
    pub length: u64,
    /// Length of the page in bytes, unpacked.
    pub raw: u64,
    /// BLAKE3 of the page, unpacked.
    pub hash: Hash,
    /// 0 for a page of entries; 1 and up for a page of references to pages one below.
    pub level: u8,
    /// First path on it (below it).
    pub first: RelPath,
    /// Entries on it (below it).
    pub entries: u64,
    /// Bytes of content of these entries.
    pub bytes: u64,
}

/// What a tree holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Totals {
    pub entries: u64,
    pub files: u64,
    pub bytes: u64,
}

/// Metadata of the tree's own root directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRoot {
    pub mode: u32,
    pub mtime: Time,
    pub uid: u32,
    pub gid: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounds::xattrs")]
    pub xattrs: Vec<Xattr>,
}

/// What a store does to keys; found out once and written down in `format.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRules {
    /// A directory: every name is its own.
    pub any_name: bool,
    /// Longest key below the prefix, in bytes.
    pub max_key: usize,
    /// Longest part between two slashes, in bytes.
    pub max_segment: usize,
    /// Characters that the store refuses or changes.
    #[serde(deserialize_with = "bounds::characters")]
    pub changed: String,
    /// It refuses or changes parts with spaces or dots at their ends.
    pub trims: bool,
    /// It refuses or changes parts with white space at an end or a dot at the last; a dot at the first is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edges: bool,
    /// What the disk below a directory does to names; none if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskRules>,
}

/// What a disk below a directory does to names. Each at its default: as Linux's own file systems do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskRules {
    /// It takes names for one that differ only in case or in Unicode's normal form.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub folds: bool,
    /// It gives files short names besides their own: `LETTER~1.TXT`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub aliases: bool,
    /// Characters that it refuses.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "bounds::characters")]
    pub refused: String,
    /// It refuses or changes parts with a dot or space at their end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
    /// It refuses the names of devices: `CON`, `NUL`, `COM1`…
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub devices: bool,
    /// It takes only names that are UTF-8.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub text: bool,
    /// It has no symlinks.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_links: bool,
}

/// Which snapshots stay. All that any rule names stay; the newest always does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeepRules {
    pub last: u64,
    pub daily: u64,
    pub weekly: u64,
    pub monthly: u64,
    /// All that were the newest at some time within this many seconds.
    pub within: Option<u64>,
    /// Whose days, weeks and months they are.
    #[serde(default, skip_serializing_if = "Zone::is_local")]
    pub zone: Zone,
}

impl KeepRules {
    /// Whether no rule says what stays.
    pub fn is_empty(&self) -> bool {
        self.last == 0 && self.daily == 0 && self.weekly == 0 && self.monthly == 0 && self.within.is_none()
    }

    /// Whether replaced and removed contents stay.
    pub fn keeps_old(&self) -> bool {
        self.within.is_some_and(|within| within > 0) || self.last > 1 || self.daily + self.weekly + self.monthly > 0
    }
}

/// One committed run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Format number of everything it names.
    pub format: u32,
    pub number: u64,
    /// BLAKE3 of the snapshot object before it; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Hash>,
    /// When it was committed by the writer's clock, RFC 3339. The store's own time decides about deletion.
    #[serde(deserialize_with = "bounds::text")]
    pub time: String,
    #[serde(deserialize_with = "bounds::text")]
    pub host: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "bounds::some_text")]
    pub job: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type", deserialize_with = "bounds::some_text")]
    pub kind: Option<String>,
    pub source: RelPath,
    #[serde(deserialize_with = "bounds::text")]
    pub program: String,
    /// The run that wrote it, random.
    #[serde(deserialize_with = "bounds::text")]
    pub run: String,
    /// The top page; none for an empty tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PageRef>,
    /// The rules by which paths become keys there, as in `format.json`.
    pub keys: KeyRules,
    /// Every page object that this manifest's pages lie in.
    #[serde(deserialize_with = "bounds::objects")]
    pub objects: Vec<Hash>,
    pub tree: TreeRoot,
    pub totals: Totals,
    pub changes: Counts,
    /// Content bytes the run sent.
    pub sent: u64,
    /// The first of the paths that could not be read; their entries are those of the snapshot before.
    #[serde(default, skip_serializing_if = "Sample::names_none")]
    pub unread: Sample<Problem>,
    /// How many there were, where not all are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread_total: Option<u64>,
    /// The first of the files that kept changing while they were read.
    #[serde(default, skip_serializing_if = "Sample::names_none")]
    pub unstable: Sample<RelPath>,
    /// How many there were, where not all are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unstable_total: Option<u64>,
    /// The top page of the whole list of both, where one of them is cut short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub troubles: Option<PageRef>,
}

/// A line of the whole list of what a run could not read or saw changing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Trouble {
    pub path: RelPath,
    /// Why it could not be read; none for a file that kept changing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Snapshot {
    /// How many paths could not be read.
    pub fn unread_count(&self) -> u64 {
        self.unread_total.unwrap_or(0).max(self.unread.total())
    }

    /// How many files kept changing.
    pub fn unstable_count(&self) -> u64 {
        self.unstable_total.unwrap_or(0).max(self.unstable.total())
    }

    /// Takes what could not be read and what kept changing, cut to what a snapshot names.
    pub fn set_troubles(&mut self, unread: Sample<Problem>, unstable: Sample<RelPath>) {
        (self.unread_total, self.unstable_total) = (unread.cut(), unstable.cut());
        (self.unread, self.unstable) = (unread, unstable);
    }

    /// A list is incomplete, so the whole one must be stored elsewhere.
    pub fn names_not_all(&self) -> bool {
        self.unread_total.is_some() || self.unstable_total.is_some()
    }
}
