//! Brings contents into a directory. Each is checked before it gets its name.
//!
//! Owns what a restore has in flight, its batches, and the decision what a failure concerns. A content that the
//! destination does not give, or an entry that the target refuses, is noted, and the rest continues. A failure of the
//! whole target (full, read-only, missing) or of the whole store ends the restore.
//! Invariants: no file gets a name in the target before its BLAKE3 equals the manifest's. When a call returns, nothing
//! of it is still running.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use bytes::Bytes;
use offsite_backends::{Error as StoreError, ErrorKind, FileMeta, Publish, StageBlocks, Staged, Tree, Unset};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::fetch::read_content;
use super::limit::Limit;
use super::line::Line;
use super::packed_files::{PackedFiles, collect, packed_files};
use super::progress::Progress;
use super::sink::{RANGE, RANGES_AHEAD, Sink};
use super::stop::Stop;
use super::undone::{Undone, Why};
use super::witness::Witness;
use crate::error::{Error, Result};
use crate::manifest::{KeyRules, Records};
use crate::model::{Change, Content, Entry, Hash, Kind};
use crate::spool::Reader;

const BATCH_FILES: usize = 512;
const BATCH_BYTES: u64 = 64 << 20;
/// Number of requests for a content whose body breaks off.
const TRIES: u32 = 3;

/// A restore in progress: its source and its target.
pub struct Fetch {
    /// The records of the destination that is read.
    pub records: Records,
    /// The rules by which that destination makes keys.
    pub rules: KeyRules,
    /// The target.
    pub tree: Arc<dyn Tree>,
    /// Files in flight at most.
    pub transfers: usize,
    /// Content bytes in flight at most.
    pub window: u64,
    /// Limit of the download in bytes a second.
    pub limit: Arc<Limit>,
    /// Counters for the display.
    pub progress: Arc<Progress>,
    /// Cancellation token.
    pub stop: Arc<Stop>,
    /// Returns the metadata to set for an entry: mode, owner by name, xattrs.
    pub meta: Arc<dyn Fn(&Entry) -> FileMeta + Send + Sync>,
    /// Contents are flushed to the disk before they get their names.
    pub durable: bool,
    /// Tells the failure of one object from that of the whole store.
    pub witness: Witness,
}

/// What a restore did, and what it could not do.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Files that got their names.
    pub files: u64,
    /// Content bytes of these files.
    pub bytes: u64,
    /// Entries that failed, with the reasons.
    pub undone: Undone,
}

/// What a failure concerns.
pub(super) enum FetchError {
    /// The run itself: it was cancelled, or this machine failed.
    Own(Error),
    /// The store did not give a content.
    Content(Error),
    /// The target refused it.
    Target(StoreError),
}

/// The staged content of a file. `None` for a directory or symlink, which is already in place.
type FetchedContent = Result<Option<Staged>, FetchError>;
type Tasks = JoinSet<(Entry, FetchedContent)>;

/// Staged contents that have no name yet.
#[derive(Default)]
pub(super) struct FetchBatch {
    items: Vec<(Publish, Entry, Vec<Unset>)>,
    bytes: u64,
}

impl FetchBatch {
    pub fn push(&mut self, item: Publish, entry: Entry, unset: Vec<Unset>) {
        self.bytes += entry.size;
        self.items.push((item, entry, unset));
    }

    pub fn is_full(&self) -> bool {
        self.items.len() >= BATCH_FILES || self.bytes >= BATCH_BYTES
    }
}

impl Fetch {
    /// Restores every file and symlink of a plan. Directories are created, and their metadata is set later.
    ///
    /// # Errors
    /// A failure of the whole target or the whole store, and cancellation. What was done until then is in `fetched`.
    pub async fn run(self: &Arc<Self>, plan: &Path, fetched: &mut Fetched) -> Result<()> {
        let mut tasks = Tasks::new();
        let mut packed = packed_files(plan);
        let done = self.bring(plan, &mut packed, &mut tasks, fetched).await;
        tasks.shutdown().await;
        done?;
        self.unpack_files(packed, fetched).await
    }

    async fn bring(self: &Arc<Self>, plan: &Path, packed: &mut PackedFiles, tasks: &mut Tasks, fetched: &mut Fetched) -> Result<()> {
        let slots = Arc::new(Semaphore::new(self.transfers.max(1)));
        let window = Arc::new(Semaphore::new((self.window >> 14).max(1) as usize));
        let mut batch = FetchBatch::default();
        let mut lines = Reader::<Line>::open(plan)?;
        loop {
            let line = lines.next_line()?;
            let last = line.is_none();
            if let Some(line) = line {
                let Some(entry) = wanted(line.step) else { continue };
                let Some(entry) = collect(packed, entry)? else { continue };
                self.stop.check()?;
                let slot = Arc::clone(&slots).acquire_owned().await;
                let permits = ((entry.size.min(RANGE * RANGES_AHEAD as u64) >> 14) as u32).clamp(1, (self.window >> 14).max(1) as u32);
                let room = Arc::clone(&window).acquire_many_owned(permits).await;
                let fetch = Arc::clone(self);
                tasks.spawn(async move {
                    let _held = (slot, room);
                    let result = fetch.one(&entry).await;
                    (entry, result)
                });
            }
            while let Some(done) = if last { tasks.join_next().await } else { tasks.try_join_next() } {
                let (entry, result) = done.map_err(|e| Error::local("a download", std::io::Error::other(e)))?;
                match result {
                    Ok(Some(mut staged)) => {
                        let unset = std::mem::take(&mut staged.unset);
                        batch.push(Publish { staged, path: entry.path.bare().to_vec(), keep: None }, entry, unset);
                    }
                    Ok(None) => {}
                    Err(trouble) => self.note(&entry, trouble, fetched).await?,
                }
                if batch.is_full() {
                    self.publish(std::mem::take(&mut batch), fetched).await?;
                }
            }
            if last {
                return self.publish(batch, fetched).await;
            }
        }
    }

    pub(super) async fn note(&self, entry: &Entry, trouble: FetchError, fetched: &mut Fetched) -> Result<()> {
        let path = entry.path.bare();
        match trouble {
            FetchError::Own(error) => Err(error),
            FetchError::Target(error) => fetched.undone.take(path, Err(error)).map(|_: Option<()>| ()).map_err(of_target),
            FetchError::Content(error) => match self.witness.ask(&self.records).await {
                Ok(()) => {
                    fetched.undone.note(path, Why::Content(error));
                    Ok(())
                }
                Err(_) => Err(error),
            },
        }
    }

    pub(super) async fn publish(&self, batch: FetchBatch, fetched: &mut Fetched) -> Result<()> {
        let (mut items, mut rest) = (Vec::new(), Vec::new());
        for (item, entry, unset) in batch.items {
            items.push(item);
            rest.push((entry, unset));
        }
        for (result, (entry, unset)) in self.tree.publish(items, self.durable).await.into_iter().zip(rest) {
            let path = entry.path.bare();
            if fetched.undone.take(path, result).map_err(of_target)?.is_some() {
                fetched.files += 1;
                fetched.bytes += entry.size;
                fetched.undone.unset(path, unset);
            }
        }
        Ok(())
    }

    async fn one(&self, entry: &Entry) -> FetchedContent {
        self.progress.set_current(&entry.path);
        let path = entry.path.bare();
        match (entry.kind, &entry.content) {
            (Kind::Dir, _) => self.tree.make_dir(path).await.map(|()| None).map_err(FetchError::Target),
            (Kind::Symlink, _) => {
                let target = entry.link.as_ref().map_or(&b""[..], |l| l.as_bytes());
                self.tree.symlink(path, target, (self.meta)(entry)).await.map(|()| None).map_err(FetchError::Target)
            }
            (Kind::File, None) => Err(FetchError::Content(Error::damaged(entry.path.display(), "the manifest names no content for it"))),
            (Kind::File, Some(content)) => {
                let mut tries = 1;
                loop {
                    let staged = if entry.size <= RANGE { self.small(entry, content).await } else { self.large(entry).await };
                    match staged {
                        // Requests are repeated by the store's client, but a body that breaks off is repeated here.
                        Err(FetchError::Content(error)) if error.kind() == Some(ErrorKind::Transient) && tries < TRIES => tries += 1,
                        staged => {
                            self.progress.files.fetch_add(1, Relaxed);
                            return staged.map(Some);
                        }
                    }
                }
            }
        }
    }

    /// A content that fits in memory. It is checked before anything is written.
    async fn small(&self, entry: &Entry, content: &Content) -> Result<Staged, FetchError> {
        self.stop.check().map_err(FetchError::Own)?;
        let body = if entry.size == 0 && content.hash == Hash::of(b"") {
            Bytes::new()
        } else {
            let mut whole = WholeFetch { body: Vec::with_capacity(entry.size as usize), limit: &self.limit };
            read_content(&self.records, &self.rules, entry, &mut whole).await.map_err(of_content)?;
            whole.body.into()
        };
        self.progress.bytes.fetch_add(entry.size, Relaxed);
        self.tree.stage(body, (self.meta)(entry)).await.map_err(FetchError::Target)
    }

    async fn large(&self, entry: &Entry) -> Result<Staged, FetchError> {
        let mut staging = Staging { fetch: self, entry, out: None, broken: None };
        let read = read_content(&self.records, &self.rules, entry, &mut staging).await;
        if let Some(error) = staging.broken {
            return Err(FetchError::Target(error));
        }
        read.map_err(of_content)?;
        match staging.out {
            Some(out) => out.finish().await.map_err(FetchError::Target),
            None => Err(FetchError::Content(Error::damaged(entry.path.display(), "no content"))),
        }
    }
}

/// Classifies a failure while a content was read: it is the store's, unless the run or this machine caused it.
pub(super) fn of_content(error: Error) -> FetchError {
    match error {
        Error::Interrupted | Error::Local { .. } | Error::Busy(_) => FetchError::Own(error),
        error => FetchError::Content(error),
    }
}

/// Turns a failure of the whole target into a local error, because the target is on this machine.
pub fn of_target(error: StoreError) -> Error {
    let kind = match error.kind {
        ErrorKind::NotFound => std::io::ErrorKind::NotFound,
        ErrorKind::Denied => std::io::ErrorKind::PermissionDenied,
        ErrorKind::Full => std::io::ErrorKind::StorageFull,
        ErrorKind::ReadOnly => std::io::ErrorKind::ReadOnlyFilesystem,
        _ => std::io::ErrorKind::Other,
    };
    Error::local(&error.url, std::io::Error::new(kind, error.message))
}

/// A content gathered in memory.
struct WholeFetch<'a> {
    body: Vec<u8>,
    limit: &'a Limit,
}

#[async_trait]
impl Sink for WholeFetch<'_> {
    async fn restart(&mut self) -> Result<()> {
        self.body.clear();
        Ok(())
    }

    async fn write(&mut self, block: Bytes) -> Result<()> {
        self.limit.take(block.len() as u64).await;
        self.body.extend_from_slice(&block);
        Ok(())
    }
}

/// A content that is being written to the staging area.
struct Staging<'a> {
    fetch: &'a Fetch,
    entry: &'a Entry,
    out: Option<Box<dyn StageBlocks>>,
    /// The target's error, if it refused a call. It is separate from the errors of the store.
    broken: Option<StoreError>,
}

impl Staging<'_> {
    fn target<T>(&mut self, done: Result<T, StoreError>) -> Result<T> {
        done.map_err(|error| {
            self.broken = Some(error.clone());
            error.into()
        })
    }
}

#[async_trait]
impl Sink for Staging<'_> {
    async fn restart(&mut self) -> Result<()> {
        self.fetch.stop.check()?;
        self.out = None;
        let opened = self.fetch.tree.stage_blocks((self.fetch.meta)(self.entry)).await;
        self.out = Some(self.target(opened)?);
        Ok(())
    }

    async fn write(&mut self, block: Bytes) -> Result<()> {
        self.fetch.stop.check()?;
        self.fetch.limit.take(block.len() as u64).await;
        self.fetch.progress.bytes.fetch_add(block.len() as u64, Relaxed);
        let Some(out) = &mut self.out else { return Ok(()) };
        let written = out.write(block).await;
        self.target(written)
    }
}

/// The entry whose content or link this change brings, if any.
fn wanted(change: Change) -> Option<Entry> {
    match change {
        Change::Added { entry, .. } | Change::Changed { entry, .. } => Some(entry),
        _ => None,
    }
}
