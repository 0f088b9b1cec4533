//! A directory of this machine as a [`Tree`].
//!
//! Owns the step from async to blocking: each method is one `spawn_blocking` over the functions of `staging.rs`,
//! `publish.rs` and `read.rs`, which keep the promises of the trait.
//! Invariant: a value that is dropped early leaves at most a temporary file.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::task::JoinHandle;

use super::staging::{LocalStaging, LocalTemp};
use super::threads::blocking;
use super::{publish, read, staging};
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::fence;
use crate::contract::trace;
use crate::contract::tree::{FileMeta, FileStat, Publish, STAGING, StageBlocks, Staged, Tree, Unset};

/// A directory tree of this machine. Clones share one set of open directories.
#[derive(Clone)]
pub struct LocalTree {
    pub(super) area: Arc<LocalStaging>,
}

impl LocalTree {
    /// The tree at `root` that stages contents in `staging`, a path relative to the root, on the same file system as
    /// the published files. Does no I/O: the first operation opens the root, and returns [`ErrorKind::NotFound`] if
    /// it is missing. The staging directory is created when it is needed. Symlinks in the path of the root are
    /// followed, symlinks below it are not.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a `staging` that is not a path below the root.
    pub fn open(root: &Path, staging: &[u8]) -> Result<Self> {
        let area = Arc::new(LocalStaging::open(root, staging)?);
        Ok(Self { area })
    }

    /// Runs `op` with the area and a path on a thread that may block. `verb` names the call in a log.
    async fn run<T: Send + 'static>(
        &self,
        verb: &str,
        path: &[u8],
        op: impl FnOnce(&Arc<LocalStaging>, &[u8]) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        trace::call(verb, || self.area.dirs.shown(path));
        let path = path.to_vec();
        self.work(move |area| op(area, &path)).await
    }

    /// Runs `op` on a thread that may block, unless the staging area is removed before it begins.
    async fn work<T: Send + 'static>(&self, op: impl FnOnce(&Arc<LocalStaging>) -> Result<T> + Send + 'static) -> Result<T> {
        let (area, removals) = (self.area.clone(), self.area.removals());
        blocking(move || {
            let _working = area.begin(removals)?;
            op(&area)
        })
        .await
    }
}

#[async_trait]
impl Tree for LocalTree {
    fn local_root(&self) -> Option<PathBuf> {
        Some(self.area.dirs.root_path().to_owned())
    }

    async fn stage(&self, content: Bytes, meta: FileMeta) -> Result<Staged> {
        self.work(move |area| Ok(area.stage(&[content], &meta)?.0.into_staged())).await
    }

    async fn stage_blocks(&self, meta: FileMeta) -> Result<Box<dyn StageBlocks>> {
        let (temp, fd) = self.work(LocalStaging::create).await?;
        Ok(Box::new(LocalBlocks {
            area: self.area.clone(),
            fd: Arc::new(fd),
            temp,
            meta,
            offset: 0,
            writing: None,
            flush: None,
            flushed: 0,
            failed: None,
        }))
    }

    async fn discard(&self, staged: Staged) -> Result<()> {
        self.run("discard", &staged.temp, |area, temp| area.discard(temp)).await
    }

    async fn publish(&self, items: Vec<Publish>, durable: bool) -> Vec<Result<()>> {
        items.iter().for_each(|item| trace::call("publish", || self.area.dirs.shown(&item.path)));
        let (area, count, fence) = (self.area.clone(), items.len(), fence::current());
        match blocking(move || Ok(publish::publish(&area, items, durable, fence.as_ref()))).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn make_dir(&self, path: &[u8]) -> Result<()> {
        self.run("make_dir", path, |area, path| area.dirs.dir(path, super::dirs::Make::Yes).map(drop)).await
    }

    async fn symlink(&self, path: &[u8], target: &[u8], meta: FileMeta) -> Result<()> {
        let target = target.to_vec();
        self.run("symlink", path, move |area, path| publish::symlink(area, path, &target, &meta)).await
    }

    async fn hard_link(&self, existing: &[u8], path: &[u8]) -> Result<()> {
        let existing = existing.to_vec();
        self.run("hard_link", path, move |area, path| publish::hard_link(area, &existing, path)).await
    }

    async fn stage_copy(&self, from: &[u8], length: u64, meta: FileMeta) -> Result<Staged> {
        self.run("stage_copy", from, move |area, from| {
            let source = read::open_exactly(&area.dirs, from, length)?;
            Ok(area.stage_copy_of(&source, length, &meta)?.0.into_staged())
        })
        .await
    }

    async fn set_meta(&self, path: &[u8], meta: FileMeta) -> Result<Vec<Unset>> {
        self.run("set_meta", path, move |area, path| publish::set_meta(area, path, &meta)).await
    }

    async fn remove_file(&self, path: &[u8], keep: Option<&[u8]>) -> Result<()> {
        let keep = keep.map(<[u8]>::to_vec);
        self.run("remove_file", path, move |area, path| publish::remove_file(area, path, keep.as_deref())).await
    }

    async fn remove_dir(&self, path: &[u8]) -> Result<bool> {
        self.run("remove_dir", path, |area, path| publish::remove_dir(area, path)).await
    }

    async fn sync(&self) -> Result<()> {
        self.run("sync", b"", |area, _| {
            if area.staging() == STAGING {
                area.keep_reserve();
            }
            area.dirs.sync_file_system()
        })
        .await
    }

    async fn read_blocks(&self, path: &[u8], length: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.run("read_blocks", path, move |area, path| {
            let fd = read::open_exactly(&area.dirs, path, length)?;
            Ok(read::blocks(fd, 0..length, area.dirs.shown(path)))
        })
        .await
    }

    async fn stat(&self, path: &[u8]) -> Result<Option<FileStat>> {
        self.run("stat", path, |area, path| read::stat(&area.dirs, path)).await
    }

    async fn read_link(&self, path: &[u8]) -> Result<Option<Vec<u8>>> {
        self.run("read_link", path, |area, path| read::link(&area.dirs, path)).await
    }

    async fn clear_staging(&self) -> Result<()> {
        self.run("clear_staging", b"", |area, _| area.clear()).await
    }

    async fn remove_staging(&self) -> Result<()> {
        let area = self.area.clone();
        trace::call("remove_staging", || area.dirs.shown(b""));
        blocking(move || {
            let _alone = area.end();
            area.remove()
        })
        .await
    }
}

/// While a large file is written, a flush to the disk starts after this many bytes.
const FLUSH: u64 = 32 << 20;

/// A file that is staged block by block. At most one write is in flight while the caller gets the next block.
struct LocalBlocks {
    area: Arc<LocalStaging>,
    fd: Arc<OwnedFd>,
    temp: LocalTemp,
    meta: FileMeta,
    offset: u64,
    writing: Option<JoinHandle<rustix::io::Result<()>>>,
    /// The flush in flight. It brings the bytes written so far to the disk during the next writes.
    flush: Option<JoinHandle<rustix::io::Result<()>>>,
    /// The offset up to which a flush has begun.
    flushed: u64,
    /// The first failure: a file that lacks a block must not be finished.
    failed: Option<Error>,
}

impl LocalBlocks {
    async fn settle(&mut self) -> Result<()> {
        // Removed only after it has ended, so that a cancelled call loses no failure.
        if let Some(writing) = &mut self.writing {
            let done = writing.await;
            self.writing = None;
            self.note(done);
        }
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Waits for the flush. The kernel reports a failed write-back only once, so the result of a flush must not be
    /// lost.
    async fn settle_flush(&mut self) {
        if let Some(flush) = &mut self.flush {
            let done = flush.await;
            self.flush = None;
            self.note(done);
        }
    }

    fn note(&mut self, done: std::result::Result<rustix::io::Result<()>, tokio::task::JoinError>) {
        let failed = match done {
            Ok(Ok(())) => return,
            Ok(Err(errno)) => self.area.dirs.error(&self.temp.path, errno),
            Err(panic) => Error::new(ErrorKind::Other, self.area.dirs.shown(&self.temp.path), panic),
        };
        self.failed.get_or_insert(failed);
    }

    /// Starts to flush a large file to the disk while it is still being written.
    async fn keep_flushing(&mut self) {
        if self.offset - self.flushed < FLUSH || self.flush.as_ref().is_some_and(|flush| !flush.is_finished()) {
            return;
        }
        self.settle_flush().await;
        self.flushed = self.offset;
        let fd = self.fd.clone();
        self.flush = Some(tokio::task::spawn_blocking(move || rustix::fs::fdatasync(&fd)));
    }
}

#[async_trait]
impl StageBlocks for LocalBlocks {
    async fn write(&mut self, block: Bytes) -> Result<()> {
        self.settle().await?;
        self.keep_flushing().await;
        let (fd, offset, sparse) = (self.fd.clone(), self.offset, self.meta.sparse);
        self.offset += block.len() as u64;
        self.writing = Some(tokio::task::spawn_blocking(move || staging::write_at(&fd, offset, &block, sparse)));
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Staged> {
        self.settle_flush().await;
        self.settle().await?;
        blocking(move || {
            self.temp.unset = staging::finish(&self.fd, self.offset, &self.meta).map_err(|e| self.area.dirs.error(&self.temp.path, e))?;
            Ok(self.temp.into_staged())
        })
        .await
    }
}
