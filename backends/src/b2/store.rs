//! The data plane: Backblaze's own calls behind the `object_store` traits, rooted at the prefix.
//!
//! Owns the two traits over `rooted.rs`, and decides nothing itself. Invariant: the tag of an object and its version
//! are both the file id.

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::list;
use super::parts::B2Upload;
use super::put::{described, untagged};
use super::rooted::B2Store;
use super::upload::UploadBody;

/// Deletes in flight; Backblaze has no call for several.
const DELETES: usize = 16;

#[async_trait]
impl ObjectStore for B2Store {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let put = self.account.put(&self.pool, &self.name(location), payload, opts).await;
        put.map_err(|failure| self.refused(location, failure))
    }

    /// Starts nothing before the second part: Backblaze's large files have at least two.
    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(B2Upload::new(self.clone(), location.clone(), opts.attributes)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.account.get(location, &self.name(location), options).await
    }

    /// Hides the names; their versions stay. One request each.
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |path: Path| {
            let store = store.clone();
            async move {
                match store.account.hide(&store.name(&path)).await {
                    Ok(()) => Ok(path),
                    Err(failure) => Err(store.refused(&path, failure)),
                }
            }
        };
        locations.map_ok(delete).try_buffered(DELETES).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        list::objects(self.account.clone(), prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        list::objects(self.account.clone(), prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        list::folder(self, prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        if options.mode == CopyMode::Create {
            return Err(Error::NotSupported { source: "Backblaze B2 copies without a condition only".into() });
        }
        let seen = self.look(from).await.map_err(|failure| self.refused(from, failure))?;
        let size = seen.content_length.unwrap_or(0);
        let copied = self.account.copy(&self.pool, seen.id(), &self.name(to), size, self.copy).await;
        copied.map(drop).map_err(|failure| self.refused(from, failure))
    }
}

#[async_trait]
impl MultipartStore for B2Store {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.create_multipart_opts(path, PutMultipartOptions::default()).await
    }

    async fn create_multipart_opts(&self, path: &Path, opts: PutMultipartOptions) -> Result<MultipartId> {
        let (content_type, info) = described(&opts.attributes);
        let started = self.account.start(&self.name(path), &content_type, &info).await;
        started.map_err(|failure| self.refused(path, failure))
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, part_idx: usize, data: PutPayload) -> Result<PartId> {
        let fail = |failure| self.refused(path, failure);
        let body = UploadBody::of(data).await.map_err(fail)?;
        self.account.part(&self.pool, id, part_idx, &body).await.map_err(fail)
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        let sha1s: Vec<String> = parts.into_iter().map(|part| untagged(&part.content_id).to_owned()).collect();
        self.account.finish(&self.pool, id, &sha1s).await.map_err(|failure| self.refused(path, failure))
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.account.cancel(&self.pool, id).await.map_err(|failure| self.refused(path, failure))
    }
}
