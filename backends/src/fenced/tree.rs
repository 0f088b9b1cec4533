//! A tree behind a fence.
//!
//! Owns the second try to give names that came too late: a staged content stays until it has its name or is discarded.
//! Invariant: nothing that is visible in the tree changes without the fence's permission.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::contract::error::{Error, Result};
use crate::contract::fence::{Act, Fence, guarded, is_late, scoped};
use crate::contract::tree::{FileMeta, FileStat, Publish, StageBlocks, Staged, Stamp, Tree, Unset};

pub(super) struct FencedTree {
    pub inner: Arc<dyn Tree>,
    pub fence: Arc<dyn Fence>,
}

impl FencedTree {
    async fn may<T, F: Future<Output = Result<T>>>(&self, act: Act, path: &[u8], run: impl Fn() -> F) -> Result<T> {
        if !self.fence.guards(act, path) {
            return run().await;
        }
        guarded(&self.fence, is_late, run).await
    }

    /// Discards the staged contents that got no name.
    async fn discard_all(&self, items: Vec<(usize, Publish)>, why: &Error, answers: &mut [Result<()>]) {
        for (at, item) in items {
            // If one cannot be removed now, the next writer removes it when it clears the staging area.
            let _ = self.inner.discard(item.staged).await;
            answers[at] = Err(why.clone());
        }
    }
}

fn copy(item: &Publish) -> Publish {
    Publish {
        staged: Staged { temp: item.staged.temp.clone(), unset: item.staged.unset.clone() },
        path: item.path.clone(),
        keep: item.keep.clone(),
    }
}

#[async_trait]
impl Tree for FencedTree {
    fn local_root(&self) -> Option<PathBuf> {
        self.inner.local_root()
    }

    fn kept_stamp(&self, stamp: Stamp) -> Stamp {
        self.inner.kept_stamp(stamp)
    }

    async fn stage(&self, content: Bytes, meta: FileMeta) -> Result<Staged> {
        self.inner.stage(content, meta).await
    }

    async fn stage_blocks(&self, meta: FileMeta) -> Result<Box<dyn StageBlocks>> {
        self.inner.stage_blocks(meta).await
    }

    async fn discard(&self, staged: Staged) -> Result<()> {
        self.inner.discard(staged).await
    }

    async fn publish(&self, items: Vec<Publish>, durable: bool) -> Vec<Result<()>> {
        if items.iter().all(|item| !self.fence.guards(Act::Tree, &item.path)) {
            return self.inner.publish(items, durable).await;
        }
        let mut answers: Vec<Result<()>> = items.iter().map(|_| Ok(())).collect();
        let mut todo: Vec<(usize, Publish)> = items.into_iter().enumerate().collect();
        while !todo.is_empty() {
            if let Err(error) = self.fence.pass().await {
                self.discard_all(todo, &error, &mut answers).await;
                break;
            }
            let now = todo.iter().map(|(_, item)| copy(item)).collect();
            let done = scoped(&self.fence, self.inner.publish(now, durable)).await;
            let mut late = Vec::new();
            for ((at, item), result) in todo.into_iter().zip(done) {
                match result {
                    Err(error) if is_late(&error) => late.push((at, item)),
                    result => answers[at] = result,
                }
            }
            todo = late;
        }
        answers
    }

    async fn make_dir(&self, path: &[u8]) -> Result<()> {
        self.may(Act::Tree, path, || self.inner.make_dir(path)).await
    }

    async fn symlink(&self, path: &[u8], target: &[u8], meta: FileMeta) -> Result<()> {
        self.may(Act::Tree, path, || self.inner.symlink(path, target, meta.clone())).await
    }

    async fn hard_link(&self, existing: &[u8], path: &[u8]) -> Result<()> {
        self.may(Act::Tree, path, || self.inner.hard_link(existing, path)).await
    }

    async fn stage_copy(&self, from: &[u8], length: u64, meta: FileMeta) -> Result<Staged> {
        self.inner.stage_copy(from, length, meta).await
    }

    async fn set_meta(&self, path: &[u8], meta: FileMeta) -> Result<Vec<Unset>> {
        self.may(Act::Tree, path, || self.inner.set_meta(path, meta.clone())).await
    }

    async fn remove_file(&self, path: &[u8], keep: Option<&[u8]>) -> Result<()> {
        self.may(Act::Delete, path, || self.inner.remove_file(path, keep)).await
    }

    async fn remove_dir(&self, path: &[u8]) -> Result<bool> {
        self.may(Act::Delete, path, || self.inner.remove_dir(path)).await
    }

    async fn sync(&self) -> Result<()> {
        self.inner.sync().await
    }

    async fn read_blocks(&self, path: &[u8], length: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.inner.read_blocks(path, length).await
    }

    async fn stat(&self, path: &[u8]) -> Result<Option<FileStat>> {
        self.inner.stat(path).await
    }

    async fn read_link(&self, path: &[u8]) -> Result<Option<Vec<u8>>> {
        self.inner.read_link(path).await
    }

    async fn clear_staging(&self) -> Result<()> {
        self.may(Act::Delete, b".offsite/tmp", || self.inner.clear_staging()).await
    }

    async fn remove_staging(&self) -> Result<()> {
        self.may(Act::Delete, b".offsite/tmp", || self.inner.remove_staging()).await
    }
}
