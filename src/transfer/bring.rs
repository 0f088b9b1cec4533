//! Contents into a directory, each checked before it gets its name.
//!
//! Owns what a pull has in flight, its batches, and whose trouble it is when something fails: a content that the
//! destination does not give, or an entry that the target does not take, is noted and the rest goes on. What
//! concerns the whole target (full, read-only, gone) or the whole store ends it. Invariants: nothing gets a name
//! in the target before its BLAKE3 is the manifest's; when a call returns, nothing of it is under way.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use bytes::Bytes;
use offsite_backends::{Error as StoreError, ErrorKind, FileMeta, Publish, StageBlocks, Staged, Tree, Unset};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::fetch::{RANGE, RANGES_AHEAD, Sink, read_content};
use super::limit::Limit;
use super::line::Line;
use super::progress::Progress;
use super::stop::Stop;
use super::undone::{Undone, Why};
use super::witness::Witness;
use crate::error::{Error, Result};
use crate::manifest::{KeyRules, Records};
use crate::model::{Change, Content, Entry, Hash, Kind};
use crate::spool::Reader;

const BATCH_FILES: usize = 512;
const BATCH_BYTES: u64 = 64 << 20;
/// How often a content is asked for whose body broke off.
const TRIES: u32 = 3;

/// A pull in progress: from where, into what.
pub struct Fetch {
    pub records: Records,
    pub rules: KeyRules,
    pub tree: Arc<dyn Tree>,
    pub transfers: usize,
    pub window: u64,
    pub limit: Arc<Limit>,
    pub progress: Arc<Progress>,
    pub stop: Arc<Stop>,
    /// Metadata to set for an entry: mode, owner by name, xattrs.
    pub meta: Arc<dyn Fn(&Entry) -> FileMeta + Send + Sync>,
    /// Contents are on the disk before they get their names.
    pub durable: bool,
    pub witness: Witness,
}

/// What a pull did and could not do.
#[derive(Debug, Default)]
pub struct Fetched {
    pub files: u64,
    pub bytes: u64,
    pub undone: Undone,
}

/// Whose trouble it is.
enum FetchError {
    /// The run's own: it was told to stop, or this program failed.
    Own(Error),
    /// The store did not give a content.
    Content(Error),
    /// The target did not take it.
    Target(StoreError),
}

/// The staged content of a file; what is no file is there already.
type FetchedContent = Result<Option<Staged>, FetchError>;
type Tasks = JoinSet<(Entry, FetchedContent)>;

/// What has been staged and has no name yet.
#[derive(Default)]
struct FetchBatch {
    items: Vec<(Publish, Entry, Vec<Unset>)>,
    bytes: u64,
}

impl Fetch {
    /// Brings every file and symlink of a plan over; directories are made, their metadata is set later.
    ///
    /// # Errors
    /// What concerns the whole target or the whole store, and being told to stop.
    pub async fn run(self: &Arc<Self>, plan: &Path, fetched: &mut Fetched) -> Result<()> {
        let mut tasks = Tasks::new();
        let done = self.bring(plan, &mut tasks, fetched).await;
        tasks.shutdown().await;
        done
    }

    async fn bring(self: &Arc<Self>, plan: &Path, tasks: &mut Tasks, fetched: &mut Fetched) -> Result<()> {
        let slots = Arc::new(Semaphore::new(self.transfers.max(1)));
        let window = Arc::new(Semaphore::new((self.window >> 14).max(1) as usize));
        let mut batch = FetchBatch::default();
        let mut lines = Reader::<Line>::open(plan)?;
        loop {
            let line = lines.next_line()?;
            let last = line.is_none();
            if let Some(line) = line {
                let Some(entry) = wanted(line.step) else { continue };
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
                        batch.bytes += entry.size;
                        let unset = std::mem::take(&mut staged.unset);
                        batch.items.push((Publish { staged, path: entry.path.bare().to_vec(), keep: None }, entry, unset));
                    }
                    Ok(None) => {}
                    Err(trouble) => self.note(&entry, trouble, fetched).await?,
                }
                if batch.items.len() >= BATCH_FILES || batch.bytes >= BATCH_BYTES {
                    self.publish(std::mem::take(&mut batch), fetched).await?;
                }
            }
            if last {
                return self.publish(batch, fetched).await;
            }
        }
    }

    async fn note(&self, entry: &Entry, trouble: FetchError, fetched: &mut Fetched) -> Result<()> {
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

    async fn publish(&self, batch: FetchBatch, fetched: &mut Fetched) -> Result<()> {
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
                        // A body that broke off on its way: requests are tried again below, bodies here.
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

    /// A content that fits in memory: checked before anything is written.
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

/// A failure on the way of a content: the store's, unless this program ended it.
fn of_content(error: Error) -> FetchError {
    match error {
        Error::Interrupted | Error::Local { .. } | Error::Busy(_) => FetchError::Own(error),
        error => FetchError::Content(error),
    }
}

/// What concerns the whole target, as what it is: something of this machine.
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

/// A content on its way into the staging area.
struct Staging<'a> {
    fetch: &'a Fetch,
    entry: &'a Entry,
    out: Option<Box<dyn StageBlocks>>,
    /// What the target answered where it did not take it; kept apart from what the store answers.
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

/// The entry that a line brings over, if it does.
fn wanted(change: Change) -> Option<Entry> {
    match change {
        Change::Added { entry, .. } | Change::Changed { entry, .. } => Some(entry),
        _ => None,
    }
}
