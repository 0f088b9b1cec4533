//! A backend whose own objects are sealed at the destination and plain to the engine.
//!
//! Owns the wrapping: every name that goes to the store or comes from it is turned here, so no other code knows two
//! names for one object. `sealed_store.rs` has the bytes.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStore, PutMode, PutResult};
use offsite_backends::initialize::{InitMode, Setting};
use offsite_backends::{
    Backend, Capabilities, Depth, Error, Held, Initialize, Listed, Location, Meter, MissingFeature, Refused, Restore, Restoring, Result,
    Scope, Space, Tree,
};

use super::sealed_store::{OpenedKeys, SealedStore, known_key, sealed_path};
use crate::seal::SealKeys;

/// A backend of a sealed destination.
pub struct SealedBackend {
    inner: Arc<dyn Backend>,
    store: SealedStore,
}

impl SealedBackend {
    /// Seals and opens with these keys what goes to `inner` and comes from it.
    pub fn new(inner: Arc<dyn Backend>, keys: Arc<SealKeys>) -> Self {
        let (opened, written, beginning) = (OpenedKeys::default(), OpenedKeys::default(), Arc::default());
        Self { store: SealedStore { inner: inner.store(), keys, opened, written, beginning }, inner }
    }

    /// The keys of objects that were read, and of page objects that were written.
    pub fn opened_keys(&self) -> (OpenedKeys, OpenedKeys) {
        (Arc::clone(&self.store.opened), Arc::clone(&self.store.written))
    }
}

#[async_trait]
impl Backend for SealedBackend {
    fn location(&self) -> &Location {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.store.clone())
    }

    /// A packed destination has no uploads that a later run continues.
    fn multipart(&self) -> Option<Arc<dyn MultipartStore>> {
        None
    }

    fn meter(&self) -> &Meter {
        self.inner.meter()
    }

    fn boot_clock(&self) -> u64 {
        self.inner.boot_clock()
    }

    fn error(&self, key: &str, error: &object_store::Error) -> Error {
        self.inner.error(&super::sealed_store::sealed_key(key), error)
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
        self.inner.copy_exact(&sealed_path(from), &sealed_path(to), size, etag, over).await
    }

    async fn complete_upload(&self, to: &Path, id: &MultipartId, parts: Vec<PartId>, over: PutMode) -> object_store::Result<PutResult> {
        self.inner.complete_upload(&sealed_path(to), id, parts, over).await
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
        let listing = self.inner.list(scope, depth);
        match scope {
            Scope::Prefix => listing.map_ok(|listed| Listed { key: known_key(&listed.key), ..listed }).boxed(),
            Scope::Bucket => listing,
        }
    }

    async fn space(&self) -> Result<Option<Space>> {
        self.inner.space().await
    }

    async fn initialize(&self, want: &Initialize, mode: InitMode) -> Result<Vec<Setting>> {
        self.inner.initialize(want, mode).await
    }

    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>> {
        let versions = versions.into_iter().map(|(path, version)| (sealed_path(&path), version)).collect();
        let refused = self.inner.delete_versions(versions).await?;
        let known = |path: &Path| str::from_utf8(&known_key(path.as_ref().as_bytes())).ok().and_then(|key| Path::parse(key).ok());
        Ok(refused.into_iter().map(|one| Refused { path: known(&one.path).unwrap_or(one.path), ..one }).collect())
    }

    async fn held(&self, path: &Path, version: Option<&str>) -> Result<Held> {
        self.inner.held(&sealed_path(path), version).await
    }

    async fn restore(&self, path: &Path, version: Option<&str>, etag: Option<&str>, want: Restore) -> Result<Restoring> {
        self.inner.restore(&sealed_path(path), version, etag, want).await
    }

    fn tree(&self) -> Option<Arc<dyn Tree>> {
        None
    }

    fn use_objects_only(&self) {
        self.inner.use_objects_only();
    }
}

/// Nothing here opens a sealed destination.
pub fn no_key(url: impl std::fmt::Display) -> crate::error::Error {
    crate::error::Error::Usage(format!(
        "{url}: this destination is sealed, and this machine has no key for it; give --identity FILE to read it (or \
         OFFSITE_IDENTITY_FILE, or `seal.identity` or `seal.passphrase_command` in the config), or keep a writer key here (`offsite key \
         writer`)"
    ))
}

/// Nothing here opens the contents of a sealed destination.
pub fn no_contents_key(url: impl std::fmt::Display) -> crate::error::Error {
    crate::error::Error::Usage(format!(
        "{url}: its contents are sealed, and the key of this machine does not open them; give --identity FILE (or OFFSITE_IDENTITY_FILE, \
         or `seal.identity` or `seal.passphrase_command` in the config)"
    ))
}
