//! A backend that passes all calls to another one, except where its script injects a fault.
//!
//! Owns the wrapping of the control plane; `faulty_store.rs` and `faulty_tree.rs` wrap the rest. Invariant: a call that
//! fails by the script never reaches the wrapped backend, unless only its answer is to be lost.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStore, PutMode, PutResult};

use super::faulty_store::{FaultyMultipart, FaultyStore, broken_stream};
use super::faulty_tree::FaultyTree;
use super::script::{Call, Script, call};
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
use crate::contract::tree::Tree;

/// A backend with a [`Script`]. Location, capabilities and meter do not count as calls.
pub struct Faulty {
    inner: Arc<dyn Backend>,
    script: Script,
}

impl Faulty {
    /// Wraps `inner`, with a script that has no faults yet.
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Self::with(inner, Script::new())
    }

    /// Wraps `inner` with a script. Several backends may share one script, and so one count.
    pub fn with(inner: Arc<dyn Backend>, script: Script) -> Self {
        Self { inner, script }
    }

    /// The script, to which a test adds faults.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// See [`Script::calls`].
    pub fn calls(&self) -> Vec<Call> {
        self.script.calls()
    }

    /// See [`Script::count`].
    pub fn count(&self) -> u64 {
        self.script.count()
    }
}

#[async_trait]
impl Backend for Faulty {
    fn location(&self) -> &Location {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(FaultyStore { inner: self.inner.store(), script: self.script.clone() })
    }

    fn multipart(&self) -> Option<Arc<dyn MultipartStore>> {
        let inner = self.inner.multipart()?;
        let script = self.script.clone();
        Some(Arc::new(FaultyMultipart { inner, script }))
    }

    fn meter(&self) -> &Meter {
        self.inner.meter()
    }

    fn boot_clock(&self) -> u64 {
        self.inner.boot_clock() + u64::try_from(self.script.slept().as_nanos()).unwrap_or(u64::MAX)
    }

    fn error(&self, key: &str, error: &object_store::Error) -> Error {
        self.inner.error(key, error)
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        call(&self.script, "now", "", self.inner.now()).await
    }

    async fn prepare(&self) -> Result<()> {
        call(&self.script, "prepare", "", self.inner.prepare()).await
    }

    async fn copy_exact(&self, from: &Path, to: &Path, size: u64, etag: Option<&str>, over: PutMode) -> Result<PutResult> {
        let run = self.inner.copy_exact(from, to, size, etag, over);
        call(&self.script, "copy_exact", from.as_ref(), run).await
    }

    async fn complete_upload(&self, to: &Path, id: &MultipartId, parts: Vec<PartId>, over: PutMode) -> object_store::Result<PutResult> {
        let run = self.inner.complete_upload(to, id, parts, over);
        super::faulty_store::call(&self.script, "complete_multipart", to, run).await
    }

    async fn copy_part(&self, to: &Path, id: &MultipartId, index: usize, from: &Stretch<'_>) -> Result<PartId> {
        let run = self.inner.copy_part(to, id, index, from);
        call(&self.script, "copy_part", to.as_ref(), run).await
    }

    fn missing_features(&self) -> Vec<MissingFeature> {
        self.inner.missing_features()
    }

    fn assume_missing(&self, missing: &[MissingFeature]) {
        self.inner.assume_missing(missing);
    }

    fn assume_append_only(&self) {
        self.inner.assume_append_only();
    }

    fn is_append_only(&self) -> bool {
        self.inner.is_append_only()
    }

    fn list(&self, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>> {
        let entered = self.script.enter("list", "");
        broken_stream(&self.script, entered, self.inner.list(scope, depth), |e| e)
    }

    async fn keeps_versions(&self) -> Result<bool> {
        call(&self.script, "keeps_versions", "", self.inner.keeps_versions()).await
    }

    async fn space(&self) -> Result<Option<Space>> {
        call(&self.script, "space", "", self.inner.space()).await
    }

    async fn initialize(&self, want: &Initialize, mode: InitMode) -> Result<Vec<Setting>> {
        call(&self.script, "initialize", "", self.inner.initialize(want, mode)).await
    }

    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>> {
        let key = versions.first().map_or(String::new(), |(path, _)| path.to_string());
        let run = self.inner.delete_versions(versions);
        call(&self.script, "delete_versions", &key, run).await
    }

    async fn held(&self, path: &Path, version: Option<&str>) -> Result<Held> {
        call(&self.script, "held", path.as_ref(), self.inner.held(path, version)).await
    }

    async fn restore(&self, path: &Path, version: Option<&str>, etag: Option<&str>, want: Restore) -> Result<Restoring> {
        call(&self.script, "restore", path.as_ref(), self.inner.restore(path, version, etag, want)).await
    }

    fn tree(&self) -> Option<Arc<dyn Tree>> {
        let inner = self.inner.tree()?;
        let script = self.script.clone();
        Some(Arc::new(FaultyTree { inner, script }))
    }
}
