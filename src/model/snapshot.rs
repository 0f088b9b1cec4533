//! A snapshot: one committed manifest with the facts of its run.
//!
//! Owns the shape of `.offsite/snapshots/<number>.json` and of references to pages.

use std::fmt;

use super::problem::Problem;
use serde::{Deserialize, Serialize};

use super::bounds;
use super::change::Counts;
use super::entry::Xattr;
use super::hash::Hash;
use super::layout::Layout;
use super::path::RelPath;
use super::sample::Sample;
use super::time::Time;
use super::zone::Zone;

/// The location of a page, and what it must contain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRef {
    /// Name of the object in `.offsite/pages/`, without its extension. If it is omitted, the page is in the object that
    /// holds this reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Hash>,
    /// Offset of its zstd frame in the object, in bytes.
    pub offset: u64,
    /// Length of the frame in bytes.
    pub length: u64,
    /// Length of the unpacked page in bytes.
    pub raw: u64,
    /// BLAKE3 of the unpacked page.
    pub hash: Hash,
    /// 0 for a page of entries. A page of level 1 or above holds references to pages one level below.
    pub level: u8,
    /// The first path on the page, or on the pages below it.
    pub first: RelPath,
    /// Number of entries on the page, or on the pages below it.
    pub entries: u64,
    /// Bytes of content of these entries.
    pub bytes: u64,
}

/// Size of a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Totals {
    /// Number of entries: files, directories and symlinks.
    pub entries: u64,
    /// Number of files.
    pub files: u64,
    /// Bytes of content of these files.
    pub bytes: u64,
}

/// Metadata of the root directory of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRoot {
    /// Permission bits (at most `0o7777`). In JSON they are a number here.
    pub mode: u32,
    /// Time of the last modification.
    pub mtime: Time,
    /// Numeric id of the owner.
    pub uid: u32,
    /// Numeric id of the group.
    pub gid: u32,
    /// Extended attributes, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounds::xattrs")]
    pub xattrs: Vec<Xattr>,
}

/// What a store does to keys. The first run at a destination determines it and writes it to `format.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRules {
    /// The store is a file tree, in which every name is a key unless `disk` says otherwise.
    pub any_name: bool,
    /// Longest key below the prefix, in bytes.
    pub max_key: usize,
    /// Longest part of a key between two slashes, in bytes.
    pub max_segment: usize,
    /// Characters that the store refuses or changes.
    #[serde(deserialize_with = "bounds::characters")]
    pub changed: String,
    /// The store refuses or changes parts that begin or end with a space or dot.
    pub trims: bool,
    /// The store refuses or changes parts that begin or end with white space or end with a dot. It keeps a dot at the
    /// start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edges: bool,
    /// What the disk of a directory does to names. `None` if no run has determined it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskRules>,
}

/// What the disk of a directory does to names. The default is what Linux's own file systems do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskRules {
    /// It takes names for one if they differ only in case or in Unicode's normal form.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub folds: bool,
    /// It gives a file a short name besides its own: `LETTER~1.TXT`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub aliases: bool,
    /// Characters that it refuses.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "bounds::characters")]
    pub refused: String,
    /// It refuses or changes parts that end with a dot or space.
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

/// The rules of retention. A snapshot that any rule names stays. The newest snapshot always stays.
///
/// # Examples
///
/// ```
/// use std::collections::BTreeSet;
///
/// use offsite::model::{KeepRules, Zone};
/// use offsite::plan::{Point, keep};
///
/// const DAY: i64 = 86_400;
/// let rules = KeepRules { daily: 2, zone: Zone::named("UTC")?, ..KeepRules::default() };
/// let commits = [(1, 0), (2, DAY), (3, DAY + 3_600), (4, 2 * DAY)];
/// let points = commits.map(|(number, time)| Point { number, time });
/// assert_eq!(keep(&points, &rules, 2 * DAY), BTreeSet::from([3, 4]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeepRules {
    /// Number of newest snapshots to keep.
    pub last: u64,
    /// Number of days of which the last snapshot is kept.
    pub daily: u64,
    /// Number of weeks of which the last snapshot is kept.
    pub weekly: u64,
    /// Number of months of which the last snapshot is kept.
    pub monthly: u64,
    /// Keeps every snapshot that was the newest at some time within this many seconds before now.
    pub within: Option<u64>,
    /// The time zone whose days, weeks and months count.
    #[serde(default, skip_serializing_if = "Zone::is_local")]
    pub zone: Zone,
}

impl KeepRules {
    /// Whether no rule is set.
    pub fn is_empty(&self) -> bool {
        self.last == 0 && self.daily == 0 && self.weekly == 0 && self.monthly == 0 && self.within.is_none()
    }

    /// Whether replaced and removed contents stay. If not, a run needs no kept contents.
    pub fn keeps_old(&self) -> bool {
        self.within.is_some_and(|within| within > 0) || self.last > 1 || self.daily + self.weekly + self.monthly > 0
    }
}

/// One committed run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Format number of everything that the snapshot names.
    pub format: u32,
    /// The number of the snapshot, from 1 on. It ascends, and some numbers may be missing.
    pub number: u64,
    /// BLAKE3 of the object of the previous snapshot. `None` for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Hash>,
    /// Time of the commit by the writer's clock, RFC 3339 in UTC. Retention uses the store's own time instead.
    #[serde(deserialize_with = "bounds::text")]
    pub time: String,
    /// Name of the machine that wrote it.
    #[serde(deserialize_with = "bounds::text")]
    pub host: String,
    /// Name of the job that wrote it. Only `offsite run` sets it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "bounds::some_text")]
    pub job: Option<String>,
    /// Type of that job, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type", deserialize_with = "bounds::some_text")]
    pub kind: Option<String>,
    /// The source directory as the user named it, made absolute. It is not a path inside the tree.
    pub source: RelPath,
    /// Program and version that wrote it.
    #[serde(deserialize_with = "bounds::text")]
    pub program: String,
    /// Random name of the run that wrote it.
    #[serde(deserialize_with = "bounds::text")]
    pub run: String,
    /// The top page. `None` for an empty tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PageRef>,
    /// The rules by which paths become keys at this destination, as in `format.json`.
    pub keys: KeyRules,
    /// Every page object that holds pages of this manifest or of `troubles`.
    #[serde(deserialize_with = "bounds::objects")]
    pub objects: Vec<Hash>,
    /// Metadata of the root directory.
    pub tree: TreeRoot,
    /// Size of the whole tree.
    pub totals: Totals,
    /// What the run changed compared with the previous snapshot.
    pub changes: Counts,
    /// Bytes of content that the run sent.
    pub sent: u64,
    /// The first of the paths that could not be read or that the destination refused. Their entries are those of the
    /// previous snapshot.
    #[serde(default, skip_serializing_if = "Sample::names_none")]
    pub unread: Sample<Problem>,
    /// Number of such paths, if `unread` does not name all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread_total: Option<u64>,
    /// The first of the files that kept changing while they were read.
    #[serde(default, skip_serializing_if = "Sample::names_none")]
    pub unstable: Sample<RelPath>,
    /// Number of such files, if `unstable` does not name all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unstable_total: Option<u64>,
    /// The top page of the whole list of both, if one of them is cut short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub troubles: Option<PageRef>,
    /// In a packed destination: the `id` in its `format.json`, so that a snapshot of another destination is known as one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "bounds::some_text")]
    pub destination: Option<String>,
    /// In a packed destination: numbers and hashes of the snapshots before this one, the oldest first, at most 16. A
    /// machine that remembers one of them can tell whether this snapshot follows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounds::trail")]
    pub trail: Vec<(u64, Hash)>,
    /// In a sealed destination: keys of its page objects, so that a reader needs no header of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens: Option<PageKeys>,
    /// Runs in append-only mode have written since the last cleanup of what they may not delete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
    /// The snapshot that this one was copied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied: Option<CopiedFrom>,
}

/// The snapshot of another destination that a copy made a snapshot of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedFrom {
    /// The `id` in the `format.json` of that destination.
    #[serde(deserialize_with = "bounds::text")]
    pub destination: String,
    /// Its number there.
    pub number: u64,
    /// When it was committed there, by the clock of that store, in seconds since 1970.
    pub time: i64,
}

/// Keys of page objects of a sealed destination. They open nothing that the key of the snapshot does not open anyway.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageKeys {
    /// Stands for the key that all of these objects are sealed to.
    pub names: Hash,
    /// Page objects, and the key of the chunks of each.
    #[serde(deserialize_with = "bounds::page_keys")]
    pub keys: Vec<(Hash, Hash)>,
}

impl fmt::Debug for PageKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageKeys({})", self.keys.len())
    }
}

/// A line of the whole list of paths that a run could not read, or that kept changing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Trouble {
    /// The path.
    pub path: RelPath,
    /// Why it could not be read. Omitted for a file that kept changing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Snapshot {
    /// The layout of its destination.
    pub fn layout(&self) -> Layout {
        if self.format < 2 { Layout::Mirror } else { Layout::Packed }
    }

    /// Number of paths that could not be read.
    pub fn unread_count(&self) -> u64 {
        self.unread_total.unwrap_or(0).max(self.unread.total())
    }

    /// Number of files that kept changing.
    pub fn unstable_count(&self) -> u64 {
        self.unstable_total.unwrap_or(0).max(self.unstable.total())
    }

    /// Sets both lists, cut to what a snapshot names, and their totals.
    pub fn set_troubles(&mut self, unread: Sample<Problem>, unstable: Sample<RelPath>) {
        (self.unread_total, self.unstable_total) = (unread.cut(), unstable.cut());
        (self.unread, self.unstable) = (unread, unstable);
    }

    /// Whether a list is incomplete, so that the whole list must be stored in pages.
    pub fn names_not_all(&self) -> bool {
        self.unread_total.is_some() || self.unstable_total.is_some()
    }
}
