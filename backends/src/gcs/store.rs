//! The data plane: `object_store`'s client with offsite's tags, and with versions only where they last.
//!
//! Owns the translation of tags to generations and back. An answer names a version only if the bucket keeps replaced
//! objects: every object has a generation, but the generation of a replaced object may name nothing. Invariant: a
//! compare-and-swap reaches the store as a condition on the generation, and is never a look before the write.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::gcp::GoogleCloudStorage;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UpdateVersion, UploadPart,
};

use super::control::GcsControl;
use super::tag::{Tag, quoted};

use crate::contract::content;

/// Deletes in flight; there is no request that deletes several.
const DELETES: usize = 64;

/// A generation that no object ever has: they count microseconds since 1970.
const NEVER: &str = "1";

/// A bucket's data plane, rooted at the prefix.
#[derive(Clone)]
pub(super) struct GcsStore {
    inner: Arc<PrefixStore<GoogleCloudStorage>>,
    control: Arc<GcsControl>,
}

impl GcsStore {
    pub(super) fn new(inner: PrefixStore<GoogleCloudStorage>, control: Arc<GcsControl>) -> Self {
        Self { inner: Arc::new(inner), control }
    }

    /// The answer of a put, with offsite's tag. A record that is put with a condition is never read by
    /// version. So a run without changes does not ask whether the bucket keeps versions.
    async fn answer(&self, path: &Path, put: PutResult, history: bool) -> Result<PutResult> {
        let Some(generation) = put.version else {
            // The answer to an upload in parts may lack the generation.
            let there = self.inner.head(path).await?;
            let e_tag = there.version.map(|generation| quoted(there.e_tag.as_deref(), &generation));
            return Ok(PutResult { e_tag, version: None, extensions: put.extensions });
        };
        let e_tag = Some(quoted(put.e_tag.as_deref(), &generation));
        // The object exists whatever the answer to this is. Without an answer the version counts as not kept.
        let kept = history && self.control.keeps_versions().await.unwrap_or(false);
        Ok(PutResult { e_tag, version: kept.then_some(generation), extensions: put.extensions })
    }

    fn meta(&self, meta: ObjectMeta, by_version: bool) -> ObjectMeta {
        let e_tag = match &meta.version {
            Some(generation) => Some(quoted(meta.e_tag.as_deref(), generation)),
            None => meta.e_tag,
        };
        let kept = by_version || self.control.keeps_versions_as_known();
        ObjectMeta { e_tag, version: meta.version.filter(|_| kept), ..meta }
    }
}

impl fmt::Debug for GcsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GcsStore({})", self.control.location)
    }
}

impl fmt::Display for GcsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.control.location)
    }
}

/// A condition in the store's form. A tag that is not offsite's matches no object. The store still gets the
/// request, with a condition that it must refuse.
fn by_generation(mode: PutMode) -> PutMode {
    let PutMode::Update(wanted) = mode else { return mode };
    let by_tag = wanted.e_tag.as_deref().and_then(|tag| Tag::parse(tag).generation).map(|generation| generation.to_string());
    let version = by_tag.or(wanted.version).or_else(|| Some(NEVER.to_owned()));
    PutMode::Update(UpdateVersion { e_tag: None, version })
}

#[async_trait]
impl ObjectStore for GcsStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let history = matches!(opts.mode, PutMode::Overwrite) || content::is_content(&opts);
        let opts = PutOptions { mode: by_generation(opts.mode), ..opts };
        let put = self.inner.put_opts(path, payload, opts).await?;
        self.answer(path, put, history).await
    }

    async fn put_multipart_opts(&self, path: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(path, opts).await?;
        Ok(Box::new(GcsUpload { inner, store: self.clone(), path: path.clone() }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let by_version = options.version.is_some();
        let mut got = self.inner.get_opts(path, options).await?;
        got.meta = self.meta(got.meta, by_version);
        Ok(got)
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    /// A missing object is no error.
    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let inner = self.inner.clone();
        let delete = move |path: Result<Path>| {
            let inner = inner.clone();
            async move {
                let path = path?;
                let one = futures::stream::once(std::future::ready(Ok(path.clone()))).boxed();
                match inner.delete_stream(one).next().await {
                    None | Some(Ok(_) | Err(Error::NotFound { .. })) => Ok(path),
                    Some(Err(error)) => Err(error),
                }
            }
        };
        paths.map(delete).buffered(DELETES).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for GcsStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.inner.create_multipart(path).await
    }

    async fn create_multipart_opts(&self, path: &Path, opts: PutMultipartOptions) -> Result<MultipartId> {
        self.inner.create_multipart_opts(path, opts).await
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, index: usize, data: PutPayload) -> Result<PartId> {
        self.inner.put_part(path, id, index, data).await
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        let put = self.inner.complete_multipart(path, id, parts).await?;
        self.answer(path, put, true).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.inner.abort_multipart(path, id).await
    }
}

struct GcsUpload {
    inner: Box<dyn MultipartUpload>,
    store: GcsStore,
    path: Path,
}

impl fmt::Debug for GcsUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({})", self.path)
    }
}

#[async_trait]
impl MultipartUpload for GcsUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let put = self.inner.complete().await?;
        self.store.answer(&self.path, put, true).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
