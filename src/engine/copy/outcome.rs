//! The result of a copy, as plain data. It is printed, and it is the `--json` document.

use offsite_backends::Requests;
use serde::Serialize;

use crate::engine::clock::shown;
use crate::engine::outcome::{Outcome, worst};
use crate::engine::warning::Warning;
use crate::error::{Error, Failure};
use crate::manifest::SnapshotRef;
use crate::model::{Counts, Problem, Sample, Snapshot, plural};

/// One snapshot that was copied (on a dry run: that would be).
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct CopiedSnapshot {
    /// Its number where it was copied from.
    pub from: u64,
    /// Its number at the new destination; null on a dry run.
    pub to: Option<u64>,
    /// When it was committed first, RFC 3339.
    pub time: String,
    /// Files that it holds.
    pub files: u64,
    /// Bytes of their contents.
    pub bytes: u64,
    /// Entries by kind of change, compared with the snapshot before at the new destination.
    pub changes: Counts,
    /// Bytes sent to the new destination.
    pub sent: u64,
    /// Bytes of contents that were read.
    pub read: u64,
    /// Files that it lacks, because their contents are lost.
    #[schemars(with = "Vec<Problem>")]
    pub omitted: Sample<Problem>,
    /// The total number, if that list is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub omitted_total: Option<u64>,
}

/// The result of a copy.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct CopyOutcome {
    /// URL of the destination that was copied.
    pub from: String,
    /// URL of the new destination.
    pub to: String,
    /// The last snapshot that was copied before, by its number there; null if there was none.
    pub last: Option<u64>,
    /// The snapshots that were copied, the oldest first.
    pub copied: Vec<CopiedSnapshot>,
    /// Numbers of snapshots that were deleted before they were copied.
    pub gone: Vec<u64>,
    /// The snapshot before which the copy stopped, because contents of it are lost.
    pub stopped_before: Option<u64>,
    /// These contents.
    #[schemars(with = "Vec<Problem>")]
    pub lost: Sample<Problem>,
    /// The total number, if that list is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_total: Option<u64>,
    /// What a run that committed could not do.
    #[schemars(with = "Vec<String>")]
    pub warnings: Vec<Warning>,
    /// Nothing was written: `copied` is what a copy would do.
    pub dry_run: bool,
    /// The error that ended the copy.
    pub error: Option<String>,
    /// The same as data.
    pub failure: Option<Failure>,
    /// Requests to the destination that was copied, by class.
    #[schemars(with = "std::collections::BTreeMap<String, u64>")]
    pub requests_from: Requests,
    /// Requests to the new destination, by class.
    #[schemars(with = "std::collections::BTreeMap<String, u64>")]
    pub requests_to: Requests,
    /// Duration of the copy in seconds.
    pub seconds: f64,
    /// Exit code: 0 everything is copied, 1 failed or something is lost, 3 copied without lost files.
    pub exit: u8,
}

impl CopiedSnapshot {
    /// The facts of a snapshot that do not depend on its copy.
    pub(super) fn of(snapshot: &Snapshot, listed: &SnapshotRef) -> Self {
        Self {
            from: listed.number,
            time: shown(listed.modified),
            files: snapshot.totals.files,
            bytes: snapshot.totals.bytes,
            ..Self::default()
        }
    }
}

impl CopyOutcome {
    /// Adds a snapshot that was committed.
    pub(super) fn add(&mut self, mut copied: CopiedSnapshot, done: Outcome) {
        copied.to = done.snapshot;
        copied.changes = done.changes;
        copied.omitted_total = copied.omitted.cut();
        self.warnings.extend(done.warnings);
        self.copied.push(copied);
    }

    /// Notes the contents that are lost, and returns the error that ends the copy.
    pub(super) fn lost(&mut self, snapshot: u64, lost: &Sample<Problem>) -> Error {
        (self.stopped_before, self.lost, self.lost_total) = (Some(snapshot), lost.clone(), lost.cut());
        let first = lost.first().first().map_or_else(String::new, |problem| format!("{}: {}", problem.path, problem.problem));
        let files = plural(lost.total(), "file", "files");
        Error::damaged(
            format_args!("snapshot {snapshot} of {}", self.from),
            format_args!("{} {files} cannot be copied ({first})", lost.total()),
        )
    }

    /// Sets what follows from the rest.
    pub(super) fn finish(&mut self, error: Option<&Error>) {
        (self.error, self.failure) = (error.map(ToString::to_string), error.map(Failure::from));
        let part = self.copied.iter().any(|copied| !copied.omitted.is_empty()) || self.warnings.iter().any(Warning::is_unfinished);
        self.exit = worst([error.map_or(0, Error::exit_code), if part { 3 } else { 0 }].into_iter());
    }
}
