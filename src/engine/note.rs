//! Notes: facts that an outcome reports besides its figures.
//!
//! Owns the notes of all verbs and their sentences; `warning.rs` has what a run could not do. Invariant: a verb
//! returns values, and only this module turns them into sentences.

use std::fmt;
use std::path::Path;

use serde::{Serialize, Serializer};

use crate::model::plural;
use crate::scan::{ExcludeReason, Filter, Idle};

/// A fact that the user should know and that is no error. In JSON it is its sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A filter rule that excluded or included nothing.
    Idle(Idle),
    /// The number of further such rules, which are not named.
    MoreIdle(usize),
    /// The name of a dump that is a shell line in which a failure before a pipe stays unnoticed.
    PipeHidesFailure(String),
    /// The number of sparse files whose snapshot does not say how much space they take.
    SparseUncounted(u64),
    /// Archived files, which the restore left out.
    Archived {
        /// How many they are.
        files: u64,
        /// Bytes of their contents.
        bytes: u64,
        /// Whether the store was asked for them.
        request: ArchiveRequest,
    },
    /// The number of a snapshot that a prune deleted while it was restored.
    SnapshotPruned(u64),
    /// The store does not list in the order of its keys.
    ListingSorted,
    /// The number of contents that are stored under another spelling of their names.
    OtherSpelling(u64),
    /// The number of objects that exist although the listing does not have them.
    Unlisted(u64),
    /// Another run is in progress, or was interrupted.
    Unfinished,
    /// Foreign objects were not counted, because not all snapshots could be read.
    ForeignUncounted,
    /// The number of key files that may not be read with these credentials.
    KeysUnread(u64),
    /// Why the record of a check could not be written.
    CheckUnrecorded(String),
    /// Why the lease could not be released.
    LeaseNotReleased(String),
    /// The report lists the destination, because it has no snapshot.
    ListedInstead,
    /// The destination is empty.
    Empty,
    /// The report is from the manifest alone.
    ContentsOnly,
    /// The report has the sizes of files of a packed destination.
    FilesOnly,
    /// What a listing could not count.
    Uncounted {
        /// Such as "unfinished uploads".
        what: &'static str,
        /// Why it could not.
        why: String,
    },
    /// The numbers of snapshots that cannot be read, and so are not in the trend.
    Unreadable(Vec<u64>),
    /// A price is old.
    PriceStale {
        /// Its name in the price table.
        name: String,
        /// Its age.
        days: i64,
    },
    /// The price table has a note for a price.
    Price {
        /// Its name in the price table.
        name: String,
        /// The note.
        note: String,
    },
    /// The store does not report the size of unfinished uploads.
    UploadsUnpriced,
    /// Some objects have a storage class with a price of its own.
    OtherClass {
        /// The price that the cost was computed with.
        name: String,
        /// The storage class.
        class: String,
        /// The name of its own price.
        other: String,
    },
    /// A line that a report hook wrote.
    Hook(String),
}

/// Whether the store was asked for archived contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveRequest {
    /// No: the user did not ask for it.
    NotMade,
    /// Some are requested, others could not be.
    Partly {
        /// The number of files that are requested.
        made: u64,
        /// Why the first of the others could not be.
        why: String,
    },
    /// All were requested by an earlier run.
    MadeBefore,
    /// All are requested now.
    Made {
        /// How long that usually takes.
        hours: u32,
    },
}

impl Note {
    /// Number of idle patterns that are named. A list of patterns for all machines has many that match nothing on one
    /// of them.
    const NAMED: usize = 5;

    /// The notes about a filter that was used on a whole tree.
    pub fn of(filter: &Filter, source: Option<&Path>) -> Vec<Self> {
        let (never, nothing): (Vec<_>, Vec<_>) = filter.idle(source).into_iter().partition(|idle| idle.why != ExcludeReason::Nothing);
        let more = nothing.len().saturating_sub(Self::NAMED);
        let named = never.into_iter().chain(nothing.into_iter().take(Self::NAMED)).map(Self::Idle);
        named.chain((more > 0).then_some(Self::MoreIdle(more))).collect()
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle(idle) => idle.fmt(f),
            Self::MoreIdle(more) => write!(f, "and {more} more patterns matched nothing"),
            Self::PipeHidesFailure(dump) => write!(
                f,
                "the dump {dump}: if a command before a pipe (`|`) fails, nobody notices, and an incomplete dump replaces the last good \
                 one; write [\"bash\", \"-o\", \"pipefail\", \"-c\", \"…\"], or give it a \"min_size\" or \"max_shrink\""
            ),
            Self::SparseUncounted(files) => {
                write!(f, "the check for free space does not include {files} sparse {}", plural(*files, "file", "files"))?;
                f.write_str(", because the snapshot does not say how much space they take")
            }
            Self::Archived { files, bytes, request } => {
                write!(f, "{files} {} ({bytes} bytes) archived", plural(*files, "file is", "files are"))?;
                request.fmt(f)
            }
            Self::SnapshotPruned(number) => write!(f, "a prune deleted snapshot {number} during the restore; restore a newer one"),
            Self::ListingSorted => f.write_str("the store does not list in the order of its keys, so the listing was sorted first"),
            Self::OtherSpelling(n) => {
                let are = plural(*n, "content is", "contents are");
                write!(f, "{n} {are} stored under another spelling of the name, which the disk treats as the same")
            }
            Self::Unlisted(n) => {
                let exist = plural(*n, "object exists", "objects exist");
                write!(f, "{n} {exist} although the listing does not have them: this store lists wrongly")
            }
            Self::Unfinished => f.write_str("a run is in progress, or was interrupted; the next sync finishes it"),
            Self::ForeignUncounted => f.write_str("foreign objects were not counted, because not all snapshots could be read"),
            Self::KeysUnread(files) => {
                let files = format!("{files} {}", plural(*files, "key file", "key files"));
                write!(f, "{files} may not be read with these credentials, so only the length was compared")
            }
            Self::CheckUnrecorded(why) => write!(f, "could not write the record of this check ({why})"),
            Self::LeaseNotReleased(why) => write!(f, "the lease was not released ({why}); it expires by itself"),
            _ => self.fmt_report(f),
        }
    }
}

impl Note {
    fn fmt_report(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ListedInstead => f.write_str("it has no snapshot of its own, so it was listed"),
            Self::Empty => f.write_str("it is empty; is the URL right?"),
            Self::FilesOnly => {
                f.write_str("the sizes are those of the files; --list counts what is stored: packs and offsite's own objects")
            }
            Self::ContentsOnly => {
                f.write_str("contents only; --list counts kept and old versions, unfinished uploads and offsite's own objects too")
            }
            Self::Uncounted { what, why } => write!(f, "{what} were not counted: {why}"),
            Self::Unreadable(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
                write!(f, "not in the trend, because it cannot be read: snapshot {}", numbers.join(", "))
            }
            Self::PriceStale { name, days } => write!(f, "the price {name} is {days} days old; use a newer table with --prices"),
            Self::Price { name, note } => write!(f, "price {name}: {note}"),
            Self::UploadsUnpriced => {
                f.write_str("the cost does not include unfinished uploads, because the store does not report their size")
            }
            Self::OtherClass { name, class, other } => {
                write!(f, "the cost is that of {name}, but some objects are {class}, which has a price of its own ({other})")
            }
            Self::Hook(line) => f.write_str(line),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for ArchiveRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMade => f.write_str("; --restore-archived requests them from the store"),
            Self::Partly { made, why } => write!(f, "; {made} of them are requested, and others could not be: {why}"),
            Self::MadeBefore => f.write_str(" and requested before; run the same pull again later"),
            Self::Made { hours } => {
                let unit = plural((*hours).into(), "hour", "hours");
                write!(f, " and now requested; run the same pull again in {hours} {unit}")
            }
        }
    }
}

impl Serialize for Note {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
