//! A directory on a disk to which names that differ only in case are one, and which keeps the first spelling.
//!
//! Owns the wrapping of a backend over a directory on this machine, and of its tree. Calls that are not about names in
//! the tree reach the wrapped one unchanged. Invariant: two names with one fold never lie in one directory, as long as
//! all writes use this backend.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStore, PutMode, PutResult};

use crate::contract::archive::{Restore, Restoring};
use crate::contract::backend::{Backend, Stretch};
use crate::contract::capabilities::Capabilities;
use crate::contract::error::{Error, Result};
use crate::contract::held::{Held, Refused};
use crate::contract::initialize::{InitMode, Initialize, Setting};
use crate::contract::listing::{Depth, Listed, Scope, Space};
use crate::contract::location::Location;
use crate::contract::meter::Meter;
use crate::contract::missing_features::MissingFeature;
use crate::contract::tree::{FileMeta, FileStat, Publish, StageBlocks, Staged, Stamp, Tree, Unset};

/// A backend over a directory whose disk folds names.
pub struct Folding(Arc<dyn Backend>);

impl Folding {
    /// Wraps a directory on this machine.
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Self(inner)
    }
}

/// The same over a tree without a backend: the target of a restore.
pub fn folding_tree(inner: Arc<dyn Tree>) -> Arc<dyn Tree> {
    Arc::new(FoldingTree(inner))
}

#[async_trait]
impl Backend for Folding {
    fn location(&self) -> &Location {
        self.0.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        self.0.store()
    }

    fn multipart(&self) -> Option<Arc<dyn MultipartStore>> {
        self.0.multipart()
    }

    fn meter(&self) -> &Meter {
        self.0.meter()
    }

    fn boot_clock(&self) -> u64 {
        self.0.boot_clock()
    }

    fn error(&self, key: &str, error: &object_store::Error) -> Error {
        self.0.error(key, error)
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        self.0.now().await
    }

    async fn prepare(&self) -> Result<()> {
        self.0.prepare().await
    }

    async fn copy_exact(&self, from: &Path, to: &Path, size: u64, etag: Option<&str>, over: PutMode) -> Result<PutResult> {
        self.0.copy_exact(from, to, size, etag, over).await
    }

    async fn complete_upload(&self, to: &Path, id: &MultipartId, parts: Vec<PartId>, over: PutMode) -> object_store::Result<PutResult> {
        self.0.complete_upload(to, id, parts, over).await
    }

    async fn copy_part(&self, to: &Path, id: &MultipartId, index: usize, from: &Stretch<'_>) -> Result<PartId> {
        self.0.copy_part(to, id, index, from).await
    }

    fn missing_features(&self) -> Vec<MissingFeature> {
        self.0.missing_features()
    }

    fn assume_missing(&self, missing: &[MissingFeature]) {
        self.0.assume_missing(missing);
    }

    fn assume_append_only(&self) {
        self.0.assume_append_only();
    }

    fn is_append_only(&self) -> bool {
        self.0.is_append_only()
    }

    fn list(&self, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>> {
        self.0.list(scope, depth)
    }

    async fn keeps_versions(&self) -> Result<bool> {
        self.0.keeps_versions().await
    }

    async fn space(&self) -> Result<Option<Space>> {
        self.0.space().await
    }

    async fn initialize(&self, want: &Initialize, mode: InitMode) -> Result<Vec<Setting>> {
        self.0.initialize(want, mode).await
    }

    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>> {
        self.0.delete_versions(versions).await
    }

    async fn held(&self, path: &Path, version: Option<&str>) -> Result<Held> {
        self.0.held(path, version).await
    }

    async fn restore(&self, path: &Path, version: Option<&str>, etag: Option<&str>, want: Restore) -> Result<Restoring> {
        self.0.restore(path, version, etag, want).await
    }

    fn tree(&self) -> Option<Arc<dyn Tree>> {
        self.0.tree().map(folding_tree)
    }
}

struct FoldingTree(Arc<dyn Tree>);

fn fold(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_lowercase()
}

impl FoldingTree {
    /// The path as the disk spells it, as far as it exists.
    fn there(&self, path: &[u8]) -> Vec<u8> {
        let mut at = self.0.local_root().unwrap_or_default();
        let mut spelled: Vec<Vec<u8>> = Vec::new();
        for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            let names = std::fs::read_dir(&at).into_iter().flatten().flatten().map(|entry| entry.file_name().into_vec());
            let name = names.into_iter().find(|name| fold(name) == fold(part)).unwrap_or_else(|| part.to_vec());
            at.push(OsStr::from_bytes(&name));
            spelled.push(name);
        }
        spelled.join(&b'/')
    }
}

#[async_trait]
impl Tree for FoldingTree {
    fn local_root(&self) -> Option<PathBuf> {
        self.0.local_root()
    }

    fn kept_stamp(&self, stamp: Stamp) -> Stamp {
        self.0.kept_stamp(stamp)
    }

    async fn stage(&self, content: Bytes, meta: FileMeta) -> Result<Staged> {
        self.0.stage(content, meta).await
    }

    async fn stage_blocks(&self, meta: FileMeta) -> Result<Box<dyn StageBlocks>> {
        self.0.stage_blocks(meta).await
    }

    async fn discard(&self, staged: Staged) -> Result<()> {
        self.0.discard(staged).await
    }

    async fn publish(&self, items: Vec<Publish>, durable: bool) -> Vec<Result<()>> {
        let mut answers = Vec::new();
        for Publish { staged, path, keep } in items {
            // One by one, because an earlier item may have made the name.
            let item = Publish { staged, path: self.there(&path), keep: keep.map(|keep| self.there(&keep)) };
            answers.extend(self.0.publish(vec![item], durable).await);
        }
        answers
    }

    async fn make_dir(&self, path: &[u8]) -> Result<()> {
        self.0.make_dir(&self.there(path)).await
    }

    async fn symlink(&self, path: &[u8], target: &[u8], meta: FileMeta) -> Result<()> {
        self.0.symlink(&self.there(path), target, meta).await
    }

    async fn hard_link(&self, existing: &[u8], path: &[u8]) -> Result<()> {
        self.0.hard_link(&self.there(existing), &self.there(path)).await
    }

    async fn stage_copy(&self, from: &[u8], length: u64, meta: FileMeta) -> Result<Staged> {
        self.0.stage_copy(&self.there(from), length, meta).await
    }

    async fn set_meta(&self, path: &[u8], meta: FileMeta) -> Result<Vec<Unset>> {
        self.0.set_meta(&self.there(path), meta).await
    }

    async fn remove_file(&self, path: &[u8], keep: Option<&[u8]>) -> Result<()> {
        let keep = keep.map(|keep| self.there(keep));
        self.0.remove_file(&self.there(path), keep.as_deref()).await
    }

    async fn remove_dir(&self, path: &[u8]) -> Result<bool> {
        self.0.remove_dir(&self.there(path)).await
    }

    async fn sync(&self) -> Result<()> {
        self.0.sync().await
    }

    async fn read_blocks(&self, path: &[u8], length: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.0.read_blocks(&self.there(path), length).await
    }

    async fn stat(&self, path: &[u8]) -> Result<Option<FileStat>> {
        self.0.stat(&self.there(path)).await
    }

    async fn read_link(&self, path: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.read_link(&self.there(path)).await
    }

    async fn clear_staging(&self) -> Result<()> {
        self.0.clear_staging().await
    }

    async fn remove_staging(&self) -> Result<()> {
        self.0.remove_staging().await
    }
}
