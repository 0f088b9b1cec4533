//! The meaning of a destination's failure at one entry.
//!
//! Owns the decision and its note. An error that concerns the whole destination ends the run. Any other error concerns
//! one entry if the destination accepts a small file right after it. Then offsite lists that entry, keeps its state of
//! the last snapshot, and continues. The text of an error decides nothing, so a server that gives no reason cannot
//! mislead.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutPayload};
use offsite_backends::{ErrorKind, FileMeta};

use super::journal::Journal;
use super::target::Target;
use crate::error::{Error, Result};
use crate::manifest::STAYS;
use crate::model::{Change, Problem, RelPath};

/// How long the last check of the destination is valid.
const BELIEVED: Duration = Duration::from_secs(5);

/// The paths that a step is about: its own, and that of the entry whose content a rename uses.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub path: RelPath,
    pub from: Option<RelPath>,
}

impl Subject {
    pub fn of(step: &Change) -> Self {
        let from = match step {
            Change::Renamed { from, .. } => Some(from.path.clone()),
            _ => None,
        };
        Self { path: step.path().clone(), from }
    }
}

/// The text for an entry that the destination refused, listed among the problems of the source.
pub fn not_taken(error: &offsite_backends::Error) -> String {
    format!("the destination refused it: {}", error.message)
}

impl Target {
    /// Whether a failure concerns only the entry at which it came.
    pub(crate) async fn is_of_entry(&self, error: &Error) -> bool {
        let Error::Store(failed) = error else { return false };
        // Another writer was there, which never concerns only one entry. In a tree, `Exists` means that something
        // blocks the name.
        let raced = failed.kind == ErrorKind::Precondition || failed.kind == ErrorKind::Exists && self.backend.tree().is_none();
        !failed.concerns_destination() && !raced && self.place_works().await
    }

    /// Notes a step that the destination refused, so that it counts as not planned. Returns an error only if it ends
    /// the run.
    pub(super) async fn settle(&self, journal: &Mutex<Journal>, subject: Subject, done: Result<()>) -> Result<()> {
        let Err(error) = done else { return Ok(()) };
        if !self.is_of_entry(&error).await {
            return Err(error);
        }
        let Error::Store(failed) = &error else { return Err(error) };
        let Subject { path, from } = subject;
        let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
        // If the new name of a content was refused, the content stays under its old name.
        for path in from.iter().chain([&path]) {
            journal.refused(path)?;
        }
        self.note(|f| f.unread.push(Problem { path, problem: not_taken(failed) }));
        Ok(())
    }

    /// Whether the destination accepts a small file, checked at most a few seconds ago.
    async fn place_works(&self) -> bool {
        let mut seen = self.doubt.0.lock().await;
        if seen.is_some_and(|at| at.elapsed() < BELIEVED) {
            return true;
        }
        let content = Bytes::from_static(b"offsite");
        let works = match self.backend.tree() {
            Some(tree) => match tree.stage(content, FileMeta::default()).await {
                Ok(staged) => tree.discard(staged).await.is_ok(),
                Err(_) => false,
            },
            None => {
                let deletes = self.backend.deletes();
                let folder = if deletes { format!("{:016x}", crate::random()) } else { STAYS.to_owned() };
                let key = object_store::path::Path::from(format!(".offsite/probe/{folder}/works"));
                let put = self.store.put(&key, PutPayload::from_bytes(content)).await;
                put.is_ok() && (!deletes || self.store.delete(&key).await.is_ok())
            }
        };
        if works {
            *seen = Some(Instant::now());
        }
        works
    }
}
