//! The way back: contents from a destination into a directory, each checked before it gets its name.
//!
//! Owns where a content is looked for (under its own key first, then among the kept versions, then whatever has
//! its key now) and the check: nothing gets a name in the target before its BLAKE3 is the manifest's. A content
//! that is missing or damaged is noted and the rest goes on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange};
use offsite_backends::{Error as StoreError, ErrorKind, FileMeta, Publish, StageBlocks, Staged, Tree};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Limit, Line, Progress, Stop};
use crate::error::{Error, Result};
use crate::manifest::{KeyRules, Records, object_path};
use crate::model::{Change, Content, Entry, Hash, Kind, Problem};
use crate::spool::Reader;

/// Larger contents are fetched in ranges of this length, several at a time.
const RANGE: u64 = 8 << 20;
const RANGES_AHEAD: usize = 4;
const BATCH_FILES: usize = 512;
const BATCH_BYTES: u64 = 64 << 20;

/// One place where a content may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub key: Vec<u8>,
    pub etag: Option<String>,
    pub version: Option<String>,
}

/// Where the content of an entry may be, likeliest first.
pub fn locate(rules: &KeyRules, entry: &Entry) -> Vec<Place> {
    let Some(content) = &entry.content else { return Vec::new() };
    let current = Place { key: KeyRules::current_key(entry), etag: content.etag.clone(), version: content.version.clone() };
    let kept = Place { key: rules.kept_key(entry.path.as_bytes(), content), etag: None, version: None };
    // Sent again by a repair, or copied by another tool: the tag is new, and the hash tells.
    let retagged = (content.etag.is_some() || content.version.is_some()).then(|| Place { etag: None, version: None, ..current.clone() });
    [Some(current), Some(kept), retagged].into_iter().flatten().collect()
}

/// A stream of a content from one place; `NotFound` or `Precondition` if it is not (any more) there.
async fn open(records: &Records, place: &Place, size: u64, ahead: bool) -> Result<BoxStream<'static, Result<Bytes>>> {
    if let Some(tree) = records.backend().tree() {
        let stat = tree.stat(&place.key).await?;
        let url = records.url(&String::from_utf8_lossy(&place.key));
        if stat.is_none_or(|s| s.size != size) {
            return Err(StoreError::new(ErrorKind::NotFound, url, "not there in the length it must have").into());
        }
        return Ok(tree.read_blocks(&place.key).await?.map_err(Error::from).boxed());
    }
    let key = object_path(&place.key)?;
    let options = GetOptions {
        // A version names its content by itself; some stores refuse both together.
        if_match: place.etag.as_ref().filter(|_| place.version.is_none()).map(|e| format!("\"{e}\"")),
        version: place.version.clone(),
        ..GetOptions::default()
    };
    let (records, key) = (records.clone(), key);
    if size <= RANGE || !ahead {
        let got = get(&records, &key, options).await?;
        if got.meta.size != size {
            let url = records.url(key.as_ref());
            return Err(StoreError::new(ErrorKind::Precondition, url, format_args!("it has {} bytes, not {size}", got.meta.size)).into());
        }
        let name = key.as_ref().to_owned();
        return Ok(got.into_stream().map_err(move |e| records.error(&name, &e)).boxed());
    }
    let mut ranges = stream::iter((0..size).step_by(RANGE as usize))
        .map(move |start| {
            let (records, key) = (records.clone(), key.clone());
            let options = GetOptions { range: Some(GetRange::Bounded(start..(start + RANGE).min(size))), ..options.clone() };
            async move {
                let got = get(&records, &key, options).await?;
                got.bytes().await.map_err(|e| records.error(key.as_ref(), &e))
            }
        })
        .buffered(RANGES_AHEAD);
    // The first range tells whether this is the place.
    let first = ranges.next().await.transpose()?;
    Ok(stream::iter(first.map(Ok)).chain(ranges).boxed())
}

async fn get(records: &Records, key: &Key, options: GetOptions) -> Result<object_store::GetResult> {
    records.backend().store().get_opts(key, options).await.map_err(|e| records.error(key.as_ref(), &e))
}

/// Takes a content block by block.
#[async_trait]
pub trait Sink: Send {
    /// A place is tried: what came before is to be thrown away.
    async fn restart(&mut self) -> Result<()>;
    async fn write(&mut self, block: Bytes) -> Result<()>;
}

/// Streams a content to `sink` from the first place that has exactly it. What the sink took is only to be
/// believed when this returns without an error.
pub async fn read_content(records: &Records, rules: &KeyRules, entry: &Entry, sink: &mut dyn Sink) -> Result<()> {
    let Some(content) = &entry.content else { return Ok(()) };
    let mut missing = None;
    for place in locate(rules, entry) {
        let mut body = match open(records, &place, entry.size, true).await {
            Ok(body) => body,
            Err(error) if matches!(error.kind(), Some(ErrorKind::NotFound | ErrorKind::Precondition | ErrorKind::Unsupported)) => {
                missing = missing.or(Some(error));
                continue;
            }
            Err(error) => return Err(error),
        };
        sink.restart().await?;
        if drain(&mut body, sink).await? == content.hash {
            return Ok(());
        }
        let url = records.url(&String::from_utf8_lossy(&place.key));
        missing = Some(Error::damaged(url, "its content is not the one that was stored (BLAKE3 differs)"));
    }
    Err(missing.unwrap_or_else(|| Error::damaged(entry.path.display(), "its content is nowhere to be found")))
}

/// The hash of a content of this length in this one place, block by block through `sink`; `NotFound` or
/// `Precondition` if it is not (any more) there.
pub async fn hash_at(records: &Records, place: &Place, size: u64, sink: &mut dyn Sink) -> Result<Hash> {
    let mut body = open(records, place, size, true).await?;
    drain(&mut body, sink).await
}

async fn drain(body: &mut BoxStream<'static, Result<Bytes>>, sink: &mut dyn Sink) -> Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    while let Some(block) = body.next().await {
        let block = block?;
        hasher.update(&block);
        sink.write(block).await?;
    }
    Ok(Hash(*hasher.finalize().as_bytes()))
}

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
}

/// What a pull did and could not do.
#[derive(Debug, Default)]
pub struct Fetched {
    pub files: u64,
    pub bytes: u64,
    pub problems: Vec<Problem>,
}

type Ready = (Entry, Option<Staged>);

impl Fetch {
    /// Brings every file and symlink of a plan over; directories are made, their metadata is set later.
    pub async fn run(self: Arc<Self>, plan: &Path) -> Result<Fetched> {
        let slots = Arc::new(Semaphore::new(self.transfers.max(1)));
        let window = Arc::new(Semaphore::new((self.window >> 14).max(1) as usize));
        let mut fetched = Fetched::default();
        let mut tasks: JoinSet<(Entry, Result<Ready>)> = JoinSet::new();
        let mut batch: Vec<(Publish, Entry)> = Vec::new();
        let mut batch_bytes = 0;
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
                let fetch = Arc::clone(&self);
                tasks.spawn(async move {
                    let _held = (slot, room);
                    let result = fetch.one(entry.clone()).await;
                    (entry, result)
                });
            }
            while let Some(done) = if last { tasks.join_next().await } else { tasks.try_join_next() } {
                let (entry, result) = done.map_err(|e| Error::local("a download", std::io::Error::other(e)))?;
                match result {
                    Ok((entry, Some(staged))) => {
                        batch_bytes += entry.size;
                        batch.push((Publish { staged, path: entry.path.bare().to_vec(), keep: None }, entry));
                    }
                    Ok((_, None)) => {}
                    Err(error) => problem(&mut fetched, &entry, error)?,
                }
                if batch.len() >= BATCH_FILES || batch_bytes >= BATCH_BYTES {
                    batch_bytes = 0;
                    self.publish(std::mem::take(&mut batch), &mut fetched).await?;
                }
            }
            if last {
                self.publish(batch, &mut fetched).await?;
                return Ok(fetched);
            }
        }
    }

    async fn publish(&self, batch: Vec<(Publish, Entry)>, fetched: &mut Fetched) -> Result<()> {
        let (items, entries): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        for (result, entry) in self.tree.publish(items, false).await.into_iter().zip(entries) {
            match result {
                Ok(()) => {
                    fetched.files += 1;
                    fetched.bytes += entry.size;
                }
                Err(error) => problem(fetched, &entry, error.into())?,
            }
        }
        Ok(())
    }

    async fn one(&self, entry: Entry) -> Result<Ready> {
        self.progress.set_current(&entry.path);
        let path = entry.path.bare();
        match (entry.kind, &entry.content) {
            (Kind::Dir, _) => self.tree.make_dir(path).await.map(|()| None).map_err(Error::from),
            (Kind::Symlink, _) => {
                let target = entry.link.as_ref().map_or(&b""[..], |l| l.as_bytes());
                self.tree.symlink(path, target, (self.meta)(&entry)).await.map(|()| None).map_err(Error::from)
            }
            (Kind::File, None) => Err(Error::damaged(entry.path.display(), "the manifest names no content for it")),
            (Kind::File, Some(content)) => {
                let staged = if entry.size <= RANGE { self.small(&entry, content).await } else { self.large(&entry).await };
                self.progress.files.fetch_add(1, Relaxed);
                staged.map(Some)
            }
        }
        .map(|staged| (entry, staged))
    }

    /// A content that fits in memory: checked before anything is written.
    async fn small(&self, entry: &Entry, content: &Content) -> Result<Staged> {
        let body = if entry.size == 0 && content.hash == Hash::of(b"") {
            Bytes::new()
        } else {
            let mut whole = Whole { body: Vec::with_capacity(entry.size as usize), limit: &self.limit };
            read_content(&self.records, &self.rules, entry, &mut whole).await?;
            whole.body.into()
        };
        self.progress.bytes.fetch_add(entry.size, Relaxed);
        Ok(self.tree.stage(body, (self.meta)(entry)).await?)
    }

    async fn large(&self, entry: &Entry) -> Result<Staged> {
        let mut staging = Staging { fetch: self, entry, out: None };
        read_content(&self.records, &self.rules, entry, &mut staging).await?;
        match staging.out {
            Some(out) => Ok(out.finish().await?),
            None => Err(Error::damaged(entry.path.display(), "no content")),
        }
    }
}

/// A content gathered in memory.
struct Whole<'a> {
    body: Vec<u8>,
    limit: &'a Limit,
}

#[async_trait]
impl Sink for Whole<'_> {
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
}

#[async_trait]
impl Sink for Staging<'_> {
    async fn restart(&mut self) -> Result<()> {
        self.fetch.stop.check()?;
        self.out = Some(self.fetch.tree.stage_blocks((self.fetch.meta)(self.entry)).await?);
        Ok(())
    }

    async fn write(&mut self, block: Bytes) -> Result<()> {
        self.fetch.stop.check()?;
        self.fetch.limit.take(block.len() as u64).await;
        self.fetch.progress.bytes.fetch_add(block.len() as u64, Relaxed);
        match &mut self.out {
            Some(out) => Ok(out.write(block).await?),
            None => Ok(()),
        }
    }
}

/// The entry that a line brings over, if it does.
fn wanted(change: Change) -> Option<Entry> {
    match change {
        Change::Added { entry, .. } | Change::Changed { entry, .. } => Some(entry),
        _ => None,
    }
}

/// A file's own trouble is noted; what would befall every file ends the pull.
fn problem(fetched: &mut Fetched, entry: &Entry, error: Error) -> Result<()> {
    let fatal = match &error {
        Error::Interrupted | Error::Local { .. } => true,
        Error::Store(e) => matches!(e.kind, ErrorKind::Denied | ErrorKind::Full | ErrorKind::Transient),
        _ => false,
    };
    if fatal {
        return Err(error);
    }
    fetched.problems.push(Problem { path: entry.path.clone(), problem: error.to_string() });
    Ok(())
}
