//! The data plane and uploads in parts behind a fence.
//!
//! Owns which of their calls change what a reader sees. To delete an object that does not exist is no error, so deletes
//! that came too late run again as a whole.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use super::deletes::{Deletes, kept};
use crate::contract::error::{Error, ErrorKind};
use crate::contract::fence::{Act, Fence, guarded, scoped};

pub(super) fn is_late(error: &object_store::Error) -> bool {
    Error::within(error).is_some_and(|own| own.kind == ErrorKind::Late)
}

impl From<Error> for object_store::Error {
    fn from(error: Error) -> Self {
        error.into_store()
    }
}

pub(super) struct FencedStore {
    pub inner: Arc<dyn ObjectStore>,
    pub fence: Arc<dyn Fence>,
    pub deletes: Deletes,
}

fn guards(fence: &Arc<dyn Fence>, act: Act, path: &Path) -> bool {
    fence.guards(act, path.as_ref().as_bytes())
}

#[async_trait]
impl ObjectStore for FencedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let act = if matches!(opts.mode, PutMode::Create) { Act::Create } else { Act::Put };
        if !guards(&self.fence, act, location) {
            return self.inner.put_opts(location, payload, opts).await;
        }
        guarded(&self.fence, is_late, || self.inner.put_opts(location, payload.clone(), opts.clone())).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        let fence = guards(&self.fence, Act::Put, location).then(|| Arc::clone(&self.fence));
        Ok(Box::new(FencedUpload { inner, fence, deletes: self.deletes.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if !self.deletes.allowed() {
            return stream::iter([Err(kept("delete").into_store())]).boxed();
        }
        let (inner, fence) = (Arc::clone(&self.inner), Arc::clone(&self.fence));
        stream::once(async move {
            let paths: Vec<Path> = match locations.try_collect().await {
                Ok(paths) => paths,
                Err(error) => return stream::iter([Err(error)]).boxed(),
            };
            if !paths.iter().any(|path| guards(&fence, Act::Delete, path)) {
                return inner.delete_stream(stream::iter(paths).map(Ok).boxed());
            }
            let all = || async {
                let mut gone: Vec<Result<Path>> = Vec::new();
                let mut deleting = inner.delete_stream(stream::iter(paths.clone()).map(Ok).boxed());
                // The loop ends at the first failure, so that no later object is deleted.
                while let Some(one) = deleting.next().await {
                    let failed = one.as_ref().is_err_and(|error| !matches!(error, object_store::Error::NotFound { .. }));
                    match one {
                        Err(error) if is_late(&error) => return Err(error),
                        one => gone.push(one),
                    }
                    if failed {
                        break;
                    }
                }
                Ok(gone)
            };
            match guarded(&fence, is_late, all).await {
                Ok(gone) => stream::iter(gone).boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        })
        .flatten()
        .boxed()
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
        guarded(&self.fence, is_late, || self.inner.copy_opts(from, to, options.clone())).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        guarded(&self.fence, is_late, || self.inner.rename_opts(from, to, options.clone())).await
    }
}

pub(super) struct FencedMultipart {
    pub inner: Arc<dyn MultipartStore>,
    pub fence: Arc<dyn Fence>,
    pub deletes: Deletes,
}

#[async_trait]
impl MultipartStore for FencedMultipart {
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
        guarded(&self.fence, is_late, || self.inner.complete_multipart(path, id, parts.clone())).await
    }

    /// An upload always belongs to its maker, and an abort changes nothing that a reader sees. In append-only mode the
    /// credentials may lack that right too. Then the upload stays for a rule of the bucket.
    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let aborted = self.inner.abort_multipart(path, id).await;
        if self.deletes.allowed() { aborted } else { Ok(()) }
    }
}

#[derive(Debug)]
struct FencedUpload {
    inner: Box<dyn MultipartUpload>,
    fence: Option<Arc<dyn Fence>>,
    deletes: Deletes,
}

impl fmt::Debug for dyn Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fence")
    }
}

#[async_trait]
impl MultipartUpload for FencedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let Some(fence) = &self.fence else { return self.inner.complete().await };
        fence.pass().await?;
        scoped(fence, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        let aborted = self.inner.abort().await;
        if self.deletes.allowed() { aborted } else { Ok(()) }
    }
}

impl fmt::Debug for FencedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FencedStore({:?})", self.inner)
    }
}

impl fmt::Display for FencedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}
