//! A service of OpenDAL as an [`ObjectStore`].
//!
//! Owns the translation of calls; `rooted.rs` carries them out. Invariant: only files are objects. A directory of
//! WebDAV is never listed, and never deleted as an object.

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::dirs::delete_file;
use super::error::refused;
use super::list::{ListedFile, object_meta, walk};
use super::parts::{OngoingUpload, OpendalUpload};
use super::rooted::OpendalStore;
use crate::contract::data_plane::{StoreResult, unsupported};
use crate::contract::error::{Error, ErrorKind};

/// Deletes under way at once.
const DELETES: usize = 16;

#[async_trait]
impl ObjectStore for OpendalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        let key = self.key(location)?;
        let can = self.operator.info().capability();
        let mut how = opendal::options::WriteOptions::default();
        match &opts.mode {
            PutMode::Overwrite => {}
            PutMode::Create if can.write_with_if_not_exists => how.if_not_exists = true,
            PutMode::Update(version) if can.write_with_if_match && version.e_tag.is_some() => how.if_match = version.e_tag.clone(),
            _ => return Err(unsupported("a write under a condition")),
        }
        let written = self.write(key, payload.into_iter().collect(), how).await;
        let written = written.map_err(|e| match (&opts.mode, Error::within(&e)) {
            (PutMode::Create, Some(own)) if own.kind == ErrorKind::Precondition => {
                refused(&self.location, key, ErrorKind::Exists, "it exists already")
            }
            _ => e,
        })?;
        self.put_result(key, written).await
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
        Ok(Box::new(OpendalUpload::new(OngoingUpload::begin(self, location).await?)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        if options.version.is_some() {
            return Err(unsupported("a version"));
        }
        let (meta, range, body) = match (&options.range, options.head) {
            (_, true) => {
                let meta = object_meta(location.clone(), &self.look(self.key(location)?).await?);
                let all = 0..meta.size;
                (meta, all, stream::empty().boxed())
            }
            (None, false) => {
                let (meta, body) = self.whole(location).await?;
                let all = 0..meta.size;
                (meta, all, body)
            }
            (Some(range), false) => self.part(location, range).await?,
        };
        options.check_preconditions(&meta)?;
        let payload = GetResultPayload::Stream(body);
        Ok(GetResult { payload, meta, range, attributes: Default::default(), extensions: Default::default() })
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        let store = self.clone();
        let delete = move |location: StoreResult<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                let key = store.key(&location)?;
                match store.dirs {
                    Some(_) => delete_file(&store.operator, &store.location, key).await.map_err(Error::into_store)?,
                    None => store.operator.delete(key).await.map_err(|e| store.error(key, e))?,
                }
                Ok(location)
            }
        };
        locations.map(delete).buffered(DELETES).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let from = prefix.map(Path::as_ref).filter(|prefix| !prefix.is_empty()).map_or(String::new(), |prefix| format!("{prefix}/"));
        let store = self.clone();
        walk(self.operator.clone(), from)
            .try_filter_map(|found| async move { Ok(found.object()) })
            .map_err(move |e| store.error("", e))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        let from = prefix.map(Path::as_ref).filter(|prefix| !prefix.is_empty()).map_or("/".to_owned(), |prefix| format!("{prefix}/"));
        let mut lister = self.operator.lister(&from).await.map_err(|e| self.error(&from, e))?;
        let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new(), extensions: Default::default() };
        while let Some(entry) = lister.try_next().await.map_err(|e| self.error(&from, e))? {
            let (path, meta) = entry.into_parts();
            match path.strip_suffix('/') {
                Some(_) if path == from || path == "/" => {}
                Some(dir) => result.common_prefixes.extend(Path::parse(dir)),
                None => result.objects.extend(ListedFile { path, meta }.object()),
            }
        }
        result.common_prefixes.sort();
        Ok(result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        let (from, to) = (self.key(from)?, self.key(to)?);
        if options.mode == CopyMode::Create {
            return Err(unsupported("a copy under a condition"));
        }
        if !self.copies || !self.operator.info().capability().copy {
            return self.copy_through(from, to).await.map_err(|e| self.error(from, e));
        }
        // The service's own copy makes the directories above `to`.
        self.operator.copy(from, to).await.map(drop).map_err(|e| self.error(from, e))
    }
}
