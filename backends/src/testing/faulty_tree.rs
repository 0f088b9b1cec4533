//! The tree under a script.
//!
//! Owns the numbering of calls within a batch: each item of a `publish` is one call, so that a program can be stopped
//! between two of them. Invariant: an item that fails by the script is discarded, as the contract says. If the program
//! counts as killed, its temporary files stay.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::faulty_store::broken_body;
use super::script::{Script, call, injected};
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::tree::{FileMeta, FileStat, Publish, StageBlocks, Staged, Stamp, Tree, Unset};

pub(super) struct FaultyTree {
    pub inner: Arc<dyn Tree>,
    pub script: Script,
}

/// A tree without a backend under a script: the target of a restore.
pub fn faulty_tree(inner: Arc<dyn Tree>, script: &Script) -> Arc<dyn Tree> {
    Arc::new(FaultyTree { inner, script: script.clone() })
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Whether a restore uses this path to find out how the target's disk treats names. There each refusal is an answer, so
/// no fault is injected.
fn is_look(path: &[u8]) -> bool {
    path.starts_with(b".offsite-pull/probe")
}

impl FaultyTree {
    async fn call<T>(&self, verb: &'static str, path: &[u8], run: impl Future<Output = Result<T>>) -> Result<T> {
        if is_look(path) {
            return run.await;
        }
        call(&self.script, verb, &text(path), run).await
    }
}

#[async_trait]
impl Tree for FaultyTree {
    fn local_root(&self) -> Option<PathBuf> {
        self.inner.local_root()
    }

    fn kept_stamp(&self, stamp: Stamp) -> Stamp {
        self.inner.kept_stamp(stamp)
    }

    async fn stage(&self, content: Bytes, meta: FileMeta) -> Result<Staged> {
        self.call("stage", b"", self.inner.stage(content, meta)).await
    }

    async fn stage_blocks(&self, meta: FileMeta) -> Result<Box<dyn StageBlocks>> {
        let run = self.inner.stage_blocks(meta);
        let inner = self.call("stage_blocks", b"", run).await?;
        let script = self.script.clone();
        Ok(Box::new(FaultyBlocks { inner, script }))
    }

    async fn discard(&self, staged: Staged) -> Result<()> {
        let temp = staged.temp.clone();
        self.call("discard", &temp, self.inner.discard(staged)).await
    }

    async fn publish(&self, items: Vec<Publish>, durable: bool) -> Vec<Result<()>> {
        if items.iter().all(|item| is_look(&item.path)) {
            return self.inner.publish(items, durable).await;
        }
        // The faults are decided first and the calls made in one batch, so that a durable batch stays durable.
        let (mut verdicts, mut wanted) = (Vec::new(), Vec::new());
        for item in items {
            let key = text(&item.path);
            match self.script.enter("publish", &key) {
                Ok(pass) => {
                    verdicts.push(Ok(pass.lose.map(|kind| injected(kind, &key))));
                    wanted.push(item);
                }
                Err(error) => {
                    verdicts.push(Err(error));
                    if !self.script.is_stopped() {
                        let _ = self.inner.discard(item.staged).await;
                    }
                }
            }
        }
        self.script.wait().await;
        let mut done = self.inner.publish(wanted, durable).await.into_iter();
        let mut answer = |verdict: Result<Option<Error>>| {
            let lost = verdict?;
            let missing = || Err(injected(ErrorKind::Other, "publish"));
            let real = done.next().unwrap_or_else(missing);
            lost.map_or(real, Err)
        };
        verdicts.into_iter().map(&mut answer).collect()
    }

    async fn make_dir(&self, path: &[u8]) -> Result<()> {
        self.call("make_dir", path, self.inner.make_dir(path)).await
    }

    async fn symlink(&self, path: &[u8], target: &[u8], meta: FileMeta) -> Result<()> {
        let run = self.inner.symlink(path, target, meta);
        self.call("symlink", path, run).await
    }

    async fn hard_link(&self, existing: &[u8], path: &[u8]) -> Result<()> {
        let run = self.inner.hard_link(existing, path);
        self.call("hard_link", path, run).await
    }

    async fn stage_copy(&self, from: &[u8], length: u64, meta: FileMeta) -> Result<Staged> {
        let run = self.inner.stage_copy(from, length, meta);
        self.call("stage_copy", from, run).await
    }

    async fn set_meta(&self, path: &[u8], meta: FileMeta) -> Result<Vec<Unset>> {
        self.call("set_meta", path, self.inner.set_meta(path, meta)).await
    }

    async fn remove_file(&self, path: &[u8], keep: Option<&[u8]>) -> Result<()> {
        let run = self.inner.remove_file(path, keep);
        self.call("remove_file", path, run).await
    }

    async fn remove_dir(&self, path: &[u8]) -> Result<bool> {
        self.call("remove_dir", path, self.inner.remove_dir(path)).await
    }

    async fn sync(&self) -> Result<()> {
        self.call("sync", b"", self.inner.sync()).await
    }

    async fn read_blocks(&self, path: &[u8], length: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        let run = self.inner.read_blocks(path, length);
        let body = self.call("read_blocks", path, run).await?;
        Ok(broken_body(&self.script, body, |error| error))
    }

    async fn stat(&self, path: &[u8]) -> Result<Option<FileStat>> {
        self.call("stat", path, self.inner.stat(path)).await
    }

    async fn read_link(&self, path: &[u8]) -> Result<Option<Vec<u8>>> {
        self.call("read_link", path, self.inner.read_link(path)).await
    }

    async fn clear_staging(&self) -> Result<()> {
        self.call("clear_staging", b"", self.inner.clear_staging()).await
    }

    async fn remove_staging(&self) -> Result<()> {
        self.call("remove_staging", b"", self.inner.remove_staging()).await
    }
}

struct FaultyBlocks {
    inner: Box<dyn StageBlocks>,
    script: Script,
}

#[async_trait]
impl StageBlocks for FaultyBlocks {
    async fn write(&mut self, block: Bytes) -> Result<()> {
        call(&self.script, "stage_write", "", self.inner.write(block)).await
    }

    async fn finish(self: Box<Self>) -> Result<Staged> {
        let Self { inner, script } = *self;
        call(&script, "stage_finish", "", inner.finish()).await
    }
}
