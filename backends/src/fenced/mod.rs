//! A backend that changes nothing unless a [`Fence`] allows it.
//!
//! Owns the wrapping: `store.rs` has the data plane, `tree.rs` the tree, `deletes.rs` the append-only mode. Code that has only this backend of a
//! destination cannot forget to ask. Invariants: every call that changes what a reader sees asks the fence. Calls whose
//! effect is not visible (parts of an upload, staged contents) need no permission. In append-only mode no request to delete
//! an object or a version leaves this program.

mod deletes;
mod store;
mod tree;

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Relaxed, SeqCst},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStore, PutMode, PutResult};

use self::deletes::{Deletes, kept};
use self::store::{FencedMultipart, FencedStore};
use self::tree::FencedTree;
use crate::contract::archive::{Restore, Restoring};
use crate::contract::backend::{Backend, Stretch};
use crate::contract::capabilities::Capabilities;
use crate::contract::error::{Error, Result};
use crate::contract::fence::{Act, Fence, guarded, is_late};
use crate::contract::held::{Held, Refused};
use crate::contract::initialize::{InitMode, Initialize, Setting};
use crate::contract::listing::{Depth, Listed, Scope, Space};
use crate::contract::location::Location;
use crate::contract::meter::Meter;
use crate::contract::missing_features::MissingFeature;
use crate::contract::tree::Tree;

/// A backend behind a fence.
pub struct Fenced {
    inner: Arc<dyn Backend>,
    fence: Arc<dyn Fence>,
    objects_only: AtomicBool,
    append_only: Arc<AtomicBool>,
}

impl Fenced {
    /// Wraps `inner`. All changes ask `fence`.
    pub fn new(inner: Arc<dyn Backend>, fence: Arc<dyn Fence>) -> Self {
        Self { inner, fence, objects_only: AtomicBool::new(false), append_only: Arc::default() }
    }

    fn rule(&self) -> Deletes {
        Deletes::new(&self.append_only, self.inner.capabilities().hides)
    }
}

#[async_trait]
impl Backend for Fenced {
    fn location(&self) -> &Location {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(FencedStore { inner: self.inner.store(), fence: Arc::clone(&self.fence), deletes: self.rule() })
    }

    fn multipart(&self) -> Option<Arc<dyn MultipartStore>> {
        let inner = self.inner.multipart()?;
        Some(Arc::new(FencedMultipart { inner, fence: Arc::clone(&self.fence), deletes: self.rule() }))
    }

    fn meter(&self) -> &Meter {
        self.inner.meter()
    }

    fn boot_clock(&self) -> u64 {
        self.inner.boot_clock()
    }

    fn error(&self, key: &str, error: &object_store::Error) -> Error {
        self.inner.error(key, error)
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        self.inner.now().await
    }

    async fn prepare(&self) -> Result<()> {
        self.inner.prepare().await
    }

    async fn keeps_versions(&self) -> Result<bool> {
        self.inner.keeps_versions().await
    }

    async fn copy_exact(&self, from: &Path, to: &Path, size: u64, etag: Option<&str>, over: PutMode) -> Result<PutResult> {
        if !self.fence.guards(Act::Put, to.as_ref().as_bytes()) {
            return self.inner.copy_exact(from, to, size, etag, over).await;
        }
        guarded(&self.fence, is_late, || self.inner.copy_exact(from, to, size, etag, over.clone())).await
    }

    async fn complete_upload(&self, to: &Path, id: &MultipartId, parts: Vec<PartId>, over: PutMode) -> object_store::Result<PutResult> {
        guarded(&self.fence, store::is_late, || self.inner.complete_upload(to, id, parts.clone(), over.clone())).await
    }

    /// As a part that is sent, it is not visible, and so needs no permission.
    async fn copy_part(&self, to: &Path, id: &MultipartId, index: usize, from: &Stretch<'_>) -> Result<PartId> {
        self.inner.copy_part(to, id, index, from).await
    }

    fn missing_features(&self) -> Vec<MissingFeature> {
        self.inner.missing_features()
    }

    fn assume_missing(&self, missing: &[MissingFeature]) {
        self.inner.assume_missing(missing);
    }

    fn assume_append_only(&self) {
        self.append_only.store(true, SeqCst);
        self.inner.assume_append_only();
    }

    fn is_append_only(&self) -> bool {
        self.append_only.load(SeqCst)
    }

    fn list(&self, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>> {
        self.inner.list(scope, depth)
    }

    fn list_keys(&self) -> BoxStream<'static, Result<Listed>> {
        self.inner.list_keys()
    }

    async fn space(&self) -> Result<Option<Space>> {
        self.inner.space().await
    }

    async fn initialize(&self, want: &Initialize, mode: InitMode) -> Result<Vec<Setting>> {
        self.inner.initialize(want, mode).await
    }

    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>> {
        if self.is_append_only() {
            return Err(kept(self.location()));
        }
        guarded(&self.fence, is_late, || self.inner.delete_versions(versions.clone())).await
    }

    async fn held(&self, path: &Path, version: Option<&str>) -> Result<Held> {
        self.inner.held(path, version).await
    }

    /// Changes nothing that a reader sees, and so needs no permission.
    async fn restore(&self, path: &Path, version: Option<&str>, etag: Option<&str>, want: Restore) -> Result<Restoring> {
        self.inner.restore(path, version, etag, want).await
    }

    fn tree(&self) -> Option<Arc<dyn Tree>> {
        let inner = self.inner.tree().filter(|_| !self.objects_only.load(Relaxed))?;
        Some(Arc::new(FencedTree { inner, fence: Arc::clone(&self.fence) }))
    }

    fn use_objects_only(&self) {
        self.objects_only.store(true, Relaxed);
    }
}
