//! What a destination's failure at one entry means for the run.
//!
//! Owns the decision and its note. An error that concerns the whole place ends the run. Any other concerns one entry
//! if the place takes a small file right after it: then that entry is listed, what the last snapshot says of it
//! stays, and the run goes on. Nobody decides by a text, and a server that gives no reason cannot mislead.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutPayload};
use offsite_backends::{ErrorKind, FileMeta};

use super::journal::Journal;
use super::target::Target;
use crate::error::{Error, Result};
use crate::model::{Change, Problem, RelPath};

/// How long a look at the place is believed.
const BELIEVED: Duration = Duration::from_secs(5);

/// The paths that a step is about: its own, and that of the entry whose content it takes over.
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

/// How a problem with the destination is said where those with the source are.
pub fn not_taken(error: &offsite_backends::Error) -> String {
    format!("the destination refused it: {}", error.message)
}

impl Target {
    /// Whether a failure concerns only the entry at which it came.
    pub(crate) async fn is_of_entry(&self, error: &Error) -> bool {
        let Error::Store(failed) = error else { return false };
        // Another writer was there: that is never about an entry. In a tree something stands in its way.
        let raced = failed.kind == ErrorKind::Precondition || failed.kind == ErrorKind::Exists && self.backend.tree().is_none();
        !failed.concerns_place() && !raced && self.place_works().await
    }

    /// Takes note of a step that the destination refused, so that it counts as not planned; gives back an error
    /// that ends the run.
    pub(super) async fn settle(&self, journal: &Mutex<Journal>, subject: Subject, done: Result<()>) -> Result<()> {
        let Err(error) = done else { return Ok(()) };
        if !self.is_of_entry(&error).await {
            return Err(error);
        }
        let Error::Store(failed) = &error else { return Err(error) };
        let Subject { path, from } = subject;
        let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
        // A content whose new name was refused stays under its old one.
        for path in from.iter().chain([&path]) {
            journal.refused(path)?;
        }
        self.note(|f| f.unread.push(Problem { path, problem: not_taken(failed) }));
        Ok(())
    }

    /// Whether a small file can be written there, as of a few seconds ago.
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
                let key = object_store::path::Path::from(format!(".offsite/probe/{:016x}/works", crate::random()));
                self.store.put(&key, PutPayload::from_bytes(content)).await.is_ok() && self.store.delete(&key).await.is_ok()
            }
        };
        if works {
            *seen = Some(Instant::now());
        }
        works
    }
}
