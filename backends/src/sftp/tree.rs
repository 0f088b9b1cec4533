//! A directory of an SFTP server as a [`Tree`].
//!
//! Owns only the implementation of the trait. `staging.rs`, `blocks.rs`, `publish.rs`, `links.rs` and `read.rs` keep
//! its promises.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::blocks::SftpBlocks;
use super::staging::SftpStaging;
use super::unlock::unlocked;
use super::{links, meta, publish, read, rename};
use crate::contract::error::Result;
use crate::contract::meter::Class;
use crate::contract::tree::{FileMeta, FileStat, Publish, StageBlocks, Staged, Stamp, Tree, Unset};

pub(super) struct SftpTree(pub Arc<SftpStaging>);

impl SftpTree {
    fn count(&self, class: Class, path: &[u8]) {
        self.0.dirs.link.meter.call(class, || self.0.dirs.link.shown(path));
    }
}

#[async_trait]
impl Tree for SftpTree {
    fn local_root(&self) -> Option<PathBuf> {
        None
    }

    fn kept_stamp(&self, stamp: Stamp) -> Stamp {
        meta::kept(stamp)
    }

    async fn stage(&self, content: Bytes, meta: FileMeta) -> Result<Staged> {
        self.count(Class::Put, b"");
        Ok(self.0.stage(&[content], &meta, false).await?.into_staged())
    }

    async fn stage_blocks(&self, meta: FileMeta) -> Result<Box<dyn StageBlocks>> {
        self.count(Class::Put, b"");
        Ok(Box::new(SftpBlocks::new(&self.0, meta).await?))
    }

    async fn discard(&self, staged: Staged) -> Result<()> {
        self.0.discard(&staged.temp).await
    }

    async fn publish(&self, items: Vec<Publish>, _durable: bool) -> Vec<Result<()>> {
        publish::publish(&self.0, items).await
    }

    async fn make_dir(&self, path: &[u8]) -> Result<()> {
        self.count(Class::Put, path);
        if path.is_empty() {
            return self.0.dirs.root().await;
        }
        let (parent, _) = self.0.dirs.split(path)?;
        if self.0.dirs.knows(path) {
            return Ok(());
        }
        unlocked(&self.0, &[path], || async {
            self.0.dirs.dir(parent, true).await?;
            self.0.dirs.make_one(path).await
        })
        .await
    }

    async fn symlink(&self, path: &[u8], target: &[u8], meta: FileMeta) -> Result<()> {
        self.count(Class::Put, path);
        publish::symlink(&self.0, path, target, &meta).await
    }

    async fn hard_link(&self, existing: &[u8], path: &[u8]) -> Result<()> {
        self.count(Class::Put, path);
        unlocked(&self.0, &[path], || links::hard_link(&self.0, existing, path)).await
    }

    async fn stage_copy(&self, from: &[u8], length: u64, meta: FileMeta) -> Result<Staged> {
        self.count(Class::Copy, from);
        Ok(self.0.stage_copy(from, length, &meta, false).await?.into_staged())
    }

    /// SFTP has no extended attributes, so none is reported as unset.
    async fn set_meta(&self, path: &[u8], meta: FileMeta) -> Result<Vec<Unset>> {
        self.count(Class::Put, path);
        publish::set_meta(&self.0, path, &meta).await.map(|()| Vec::new())
    }

    async fn remove_file(&self, path: &[u8], keep: Option<&[u8]>) -> Result<()> {
        self.count(Class::Delete, path);
        unlocked(&self.0, &[path], || publish::remove_file(&self.0, path, keep)).await
    }

    async fn remove_dir(&self, path: &[u8]) -> Result<bool> {
        self.count(Class::Delete, path);
        unlocked(&self.0, &[path], || rename::remove_dir(&self.0, path)).await
    }

    /// Only creates the reserve file. Staging has already synced what must be on the disk, and the protocol has no
    /// call for a whole file system.
    async fn sync(&self) -> Result<()> {
        self.0.keep_reserve().await;
        Ok(())
    }

    async fn read_blocks(&self, path: &[u8], length: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.count(Class::Get, path);
        Ok(read::File::open_exactly(&self.0, path, length).await?.blocks(0..length))
    }

    async fn stat(&self, path: &[u8]) -> Result<Option<FileStat>> {
        self.count(Class::Head, path);
        read::stat(&self.0, path).await
    }

    async fn read_link(&self, path: &[u8]) -> Result<Option<Vec<u8>>> {
        self.count(Class::Head, path);
        links::read_link(&self.0, path).await
    }

    async fn clear_staging(&self) -> Result<()> {
        self.0.clear().await
    }
}
