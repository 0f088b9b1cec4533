//! What all uploads of a content share: the window in memory, the journal, and the note for a file that could not be
//! sent.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::journal::Journal;
use super::shared_reader::SharedReader;
use super::target::Target;
use crate::error::{Error, Result};
use crate::model::{Entry, Problem};
use crate::scan::{ReadError, Stat};

/// Bytes that each permit of the window stands for.
pub const PERMIT: u64 = 16 << 10;

/// What all uploads of one destination share.
pub struct UploadContext {
    pub target: Arc<Target>,
    pub shared_reader: Arc<SharedReader>,
    pub journal: Arc<Mutex<Journal>>,
    /// Permits for the content bytes in flight.
    pub window: Arc<Semaphore>,
    pub window_permits: u32,
}

impl UploadContext {
    /// Waits for room for this many bytes in flight.
    pub async fn room(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT)).unwrap_or(u32::MAX).clamp(1, self.window_permits);
        Arc::clone(&self.window).acquire_many_owned(permits).await.map_err(|_| Error::Interrupted)
    }

    /// Writes to the journal.
    pub fn journal(&self, write: impl FnOnce(&mut Journal) -> Result<()>) -> Result<()> {
        write(&mut self.journal.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A store's error about one key.
    pub fn error(&self, key: &str, error: &object_store::Error) -> Error {
        self.target.backend.error(key, error).into()
    }
}

/// Why a file was not sent.
#[derive(Debug)]
pub enum UploadError {
    /// The destination or this machine failed. This ends the transfer.
    Store(Error),
    /// The file could not be read.
    Source(Arc<ReadError>),
}

impl From<Error> for UploadError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// Notes a file of the source that could not be read.
pub fn note_source(target: &Target, entry: &Entry, error: &ReadError) {
    let path = entry.path.clone();
    match error {
        ReadError::Vanished => target.note(|f| f.vanished.push(path)),
        error => target.note(|f| f.unread.push(Problem { path, problem: error.to_string() })),
    }
}

/// The entry with the metadata of the open file.
pub fn as_read(entry: &Entry, stat: &Stat, xattrs: &[crate::model::Xattr]) -> Entry {
    Entry { size: stat.size, mtime: stat.mtime, mode: stat.mode, uid: stat.uid, gid: stat.gid, xattrs: xattrs.to_vec(), ..entry.clone() }
}

/// A tag as manifests hold it: without quotes.
pub fn tag(etag: Option<String>) -> Option<String> {
    etag.map(|e| e.trim_matches('"').to_owned())
}
