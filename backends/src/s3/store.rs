//! The data plane: `object_store`'s client, with fallbacks for what a server refuses.
//!
//! Owns what is tried after a refusal: another region, no checksum, single deletes, the same create after a
//! collision. Invariants: a fallback is kept only after it succeeded. If it did not, the first refusal is reported. A
//! server that lacks nothing gets no additional request.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::over::{self, Answered, patiently};
use super::planes::{Plane, Planes};
use crate::contract::missing_features::MissingFeature;

/// Most keys that one bulk delete may name.
const BULK: usize = 1000;

/// Bulk deletes in flight.
const DELETES: usize = 8;

/// A bucket's data plane, rooted at the prefix.
#[derive(Clone)]
pub(super) struct S3Store(pub Arc<Planes>);

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.location)
    }
}

impl fmt::Display for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.location)
    }
}

impl S3Store {
    /// Sends one request, in the region where the bucket is.
    async fn go<T, F: Future<Output = Result<T>> + Send>(&self, call: impl Fn(Arc<Plane>) -> F + Send + Sync) -> Result<T> {
        loop {
            let plane = self.0.current();
            match call(plane.clone()).await {
                Err(_) if self.0.follow(&plane) => {}
                done => return done,
            }
        }
    }

    /// The same for a request with a checksum, which a server may refuse.
    async fn send<T, F: Future<Output = Result<T>> + Send>(&self, call: impl Fn(Arc<Plane>) -> F + Send + Sync) -> Result<T> {
        let refused = match self.go(&call).await {
            Err(error) if error.is_about_the_request() => error,
            done => return done,
        };
        let Some(bare) = self.0.without_checksums() else { return Err(refused) };
        match call(bare.clone()).await {
            // The server evaluated the condition, so it accepted the form of the request.
            done @ (Ok(_) | Err(Error::AlreadyExists { .. } | Error::Precondition { .. })) => {
                self.0.adopt_for(MissingFeature::Checksums, bare);
                done
            }
            Err(_) => Err(refused),
        }
    }

    /// Ends an upload in parts with the condition `over`. If the server does not know such a condition, it
    /// replaces whatever exists.
    pub(super) async fn complete(&self, at: &Path, id: &MultipartId, parts: Vec<PartId>, over: PutMode) -> Result<PutResult> {
        let end = |over: PutMode| {
            let (parts, over) = (parts.clone(), over);
            async move {
                self.go(|plane| {
                    let parts = parts.clone();
                    over::under(over.clone(), async move { plane.store.complete_multipart(at, id, parts).await })
                })
                .await
            }
        };
        let put = over::with_condition(&self.0.learned.missing, MissingFeature::UploadConditions, over, end).await?;
        // A server that behaves like Amazon's is not asked again.
        Ok(if self.0.learned.missing.list().is_empty() { put } else { self.as_kept(at, put).await })
    }

    /// The result of an upload in parts. A server over a file system may give the object another tag than its
    /// answer said (`rclone serve s3`: the MD5 of the whole object), and `check` would report it as
    /// changed. If the object's tag was made from parts, the tag of the answer is kept.
    async fn as_kept(&self, at: &Path, put: PutResult) -> PutResult {
        let made_in_parts = |tag: &str| tag.contains('-');
        match self.head(at).await {
            Ok(there) if there.version == put.version && !there.e_tag.as_deref().is_none_or(made_in_parts) => {
                PutResult { e_tag: there.e_tag, ..put }
            }
            _ => put,
        }
    }

    async fn list_from(self, prefix: Option<Path>, offset: Option<Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        loop {
            let plane = self.0.current();
            let mut listing = match &offset {
                Some(offset) => plane.store.list_with_offset(prefix.as_ref(), offset),
                None => plane.store.list(prefix.as_ref()),
            }
            // An empty listing ends with its first answer and is polled once more below.
            .fuse();
            match listing.next().await {
                Some(Err(_)) if self.0.follow(&plane) => {}
                first => return stream::iter(first).chain(listing).boxed(),
            }
        }
    }

    /// Deletes up to [`BULK`] objects. Returns one answer for each, or one error for all.
    async fn delete_some(self, keys: Vec<Path>) -> Vec<Result<Path>> {
        let all = |plane: Arc<Plane>| {
            let keys = keys.clone();
            async move { plane.store.delete_stream(stream::iter(keys.into_iter().map(Ok)).boxed()).collect::<Vec<_>>().await }
        };
        let mut plane = self.0.current();
        let mut done = all(plane.clone()).await;
        while matches!(done.as_slice(), [Err(_)]) && self.0.follow(&plane) {
            plane = self.0.current();
            done = all(plane.clone()).await;
        }
        let [Err(refused)] = done.as_slice() else { return done };
        if !refused.is_about_the_request() {
            return done;
        }
        let (Some(single), Some(first)) = (self.0.with_single_deletes(), keys.first()) else { return done };
        // Try one object first: many refusals would help the user no more than one.
        match single.store.delete(first).await {
            Ok(()) | Err(Error::NotFound { .. }) => {
                self.0.adopt_for(MissingFeature::BulkDelete, single.clone());
                all(single).await
            }
            Err(_) => done,
        }
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = |plane: Arc<Plane>| {
            let (payload, options) = (payload.clone(), options.clone());
            async move { plane.store.put_opts(at, payload, options).await }
        };
        // If the put replaces an object, `object_store` does the same.
        if matches!(options.mode, PutMode::Create) { patiently(|| self.send(put)).await } else { self.send(put).await }
    }

    async fn put_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.send(|plane| {
            let options = options.clone();
            async move { plane.store.put_multipart_opts(at, options).await }
        })
        .await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.go(|plane| {
            let options = options.clone();
            async move { plane.store.get_opts(at, options).await }
        })
        .await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        keys.try_chunks(BULK)
            .map(move |keys| {
                let this = this.clone();
                async move {
                    match keys {
                        Ok(keys) => this.delete_some(keys).await,
                        Err(broken) => vec![Err(broken.1)],
                    }
                }
            })
            .buffered(DELETES)
            .flat_map(stream::iter)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::once(self.clone().list_from(prefix.cloned(), None)).flatten().boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::once(self.clone().list_from(prefix.cloned(), Some(offset.clone()))).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.go(|plane| async move { plane.store.list_with_delimiter(prefix).await }).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.go(|plane| {
            let options = options.clone();
            async move { plane.store.copy_opts(from, to, options).await }
        })
        .await
    }
}

#[async_trait]
impl MultipartStore for S3Store {
    async fn create_multipart(&self, at: &Path) -> Result<MultipartId> {
        self.send(|plane| async move { plane.store.create_multipart(at).await }).await
    }

    async fn create_multipart_opts(&self, at: &Path, options: PutMultipartOptions) -> Result<MultipartId> {
        self.send(|plane| {
            let options = options.clone();
            async move { plane.store.create_multipart_opts(at, options).await }
        })
        .await
    }

    async fn put_part(&self, at: &Path, id: &MultipartId, index: usize, data: PutPayload) -> Result<PartId> {
        self.send(|plane| {
            let data = data.clone();
            async move { plane.store.put_part(at, id, index, data).await }
        })
        .await
    }

    async fn complete_multipart(&self, at: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        self.complete(at, id, parts, PutMode::Overwrite).await
    }

    async fn abort_multipart(&self, at: &Path, id: &MultipartId) -> Result<()> {
        self.go(|plane| async move { plane.store.abort_multipart(at, id).await }).await
    }
}
