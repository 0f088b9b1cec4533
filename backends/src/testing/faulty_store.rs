//! The data plane and uploads in parts under a script.
//!
//! Owns the interruption of bodies and listings. Each key of a `delete_stream` is one call. Invariant: a stream that is
//! interrupted ends in an error, never in a short success.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartId, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use super::script::{Pass, Script, injected};
use crate::contract::error::{self, Error, ErrorKind};

/// Runs one call of the data plane under a script.
pub(super) async fn call<T>(script: &Script, verb: &'static str, key: &Path, run: impl Future<Output = Result<T>>) -> Result<T> {
    let pass = script.enter_slowly(verb, key.as_ref()).await.map_err(Error::into_store)?;
    let done = run.await;
    match pass.lose {
        Some(kind) => Err(injected(kind, key.as_ref()).into_store()),
        None => done,
    }
}

/// A listing under a script, which may end it early.
pub(super) fn broken_stream<T: Send + 'static, E: Send + 'static>(
    script: &Script,
    entered: error::Result<Pass>,
    inner: BoxStream<'static, Result<T, E>>,
    wrap: fn(Error) -> E,
) -> BoxStream<'static, Result<T, E>> {
    let early = script.next_listing();
    let lost = match entered {
        Ok(pass) => pass.lose,
        Err(error) => return stream::iter([Err(wrap(error))]).boxed(),
    };
    let script = script.clone();
    let broken = move || injected(ErrorKind::Transient, "");
    stream::once(async move {
        script.wait().await;
        if let Some(kind) = lost {
            return stream::iter([Err(wrap(injected(kind, "")))]).boxed();
        }
        if early {
            let mut all: Vec<_> = inner.collect().await;
            all.truncate(all.len() / 2);
            all.push(Err(wrap(broken())));
            return stream::iter(all).boxed();
        }
        let ended = script.clone();
        let check = move |item| match ended.is_stopped() {
            true => Err(wrap(broken())),
            false => item,
        };
        inner.map(check).boxed()
    })
    .flatten()
    .boxed()
}

/// The body of a content.
type FaultyBody<E> = BoxStream<'static, Result<Bytes, E>>;

/// A body under a script, which may cut it off.
pub(super) fn broken_body<E: Send + 'static>(
    script: &Script,
    inner: BoxStream<'static, Result<Bytes, E>>,
    wrap: fn(Error) -> E,
) -> BoxStream<'static, Result<Bytes, E>> {
    let (left, script) = (script.next_body(), script.clone());
    let state = Some((inner, left));
    let next = move |state: Option<(FaultyBody<E>, _)>| {
        let script = script.clone();
        async move {
            let (mut inner, left) = state?;
            let broken = || Err(wrap(injected(ErrorKind::Transient, "body")));
            if left == Some(0) || script.is_stopped() {
                return Some((broken(), None));
            }
            match (inner.next().await, left) {
                // A body that ends before the cut is interrupted all the same.
                (None, Some(_)) => Some((broken(), None)),
                (None, None) => None,
                (Some(Ok(block)), Some(left)) => {
                    let length = block.len().min(left);
                    let rest = Some((inner, Some(left - length)));
                    Some((Ok(block.slice(..length)), rest))
                }
                (Some(item), left) => Some((item, Some((inner, left)))),
            }
        }
    };
    stream::unfold(state, next).boxed()
}

pub(super) struct FaultyStore {
    pub inner: Arc<dyn ObjectStore>,
    pub script: Script,
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let verb = match opts.mode {
            PutMode::Overwrite => "put",
            PutMode::Create => "create",
            PutMode::Update(_) => "update",
        };
        let run = self.inner.put_opts(location, payload, opts);
        call(&self.script, verb, location, run).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let run = self.inner.put_multipart_opts(location, opts);
        let inner = call(&self.script, "create_multipart", location, run).await?;
        let (script, path) = (self.script.clone(), location.clone());
        Ok(Box::new(FaultyUpload { inner, script, path }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let verb = if options.head { "head" } else { "get" };
        let run = self.inner.get_opts(location, options);
        let mut found = call(&self.script, verb, location, run).await?;
        if verb == "get" {
            let GetResultPayload::Stream(body) = found.payload;
            let body = broken_body(&self.script, body, Error::into_store);
            found.payload = GetResultPayload::Stream(body);
        }
        Ok(found)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, script) = (self.inner.clone(), self.script.clone());
        locations
            .and_then(move |path| {
                let (inner, script) = (inner.clone(), script.clone());
                async move {
                    let one = stream::iter([Ok(path.clone())]).boxed();
                    let run = inner.delete_stream(one).try_for_each(|_| async { Ok(()) });
                    call(&script, "delete", &path, run).await?;
                    Ok(path)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let entered = self.script.enter("list", prefix.map_or("", Path::as_ref));
        broken_stream(&self.script, entered, self.inner.list(prefix), Error::into_store)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let entered = self.script.enter("list", prefix.map_or("", Path::as_ref));
        let inner = self.inner.list_with_offset(prefix, offset);
        broken_stream(&self.script, entered, inner, Error::into_store)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let key = prefix.cloned().unwrap_or_default();
        let run = self.inner.list_with_delimiter(prefix);
        call(&self.script, "list", &key, run).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let run = self.inner.copy_opts(from, to, options);
        call(&self.script, "copy", from, run).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let run = self.inner.rename_opts(from, to, options);
        call(&self.script, "rename", from, run).await
    }
}

pub(super) struct FaultyMultipart {
    pub inner: Arc<dyn MultipartStore>,
    pub script: Script,
}

#[async_trait]
impl MultipartStore for FaultyMultipart {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        let run = self.inner.create_multipart(path);
        call(&self.script, "create_multipart", path, run).await
    }

    async fn create_multipart_opts(&self, path: &Path, opts: PutMultipartOptions) -> Result<MultipartId> {
        let run = self.inner.create_multipart_opts(path, opts);
        call(&self.script, "create_multipart", path, run).await
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, part_idx: usize, data: PutPayload) -> Result<PartId> {
        let run = self.inner.put_part(path, id, part_idx, data);
        call(&self.script, "put_part", path, run).await
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        let run = self.inner.complete_multipart(path, id, parts);
        call(&self.script, "complete_multipart", path, run).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let run = self.inner.abort_multipart(path, id);
        call(&self.script, "abort_multipart", path, run).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    script: Script,
    path: Path,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let entered = self.script.enter("put_part", self.path.as_ref());
        let part = match entered {
            Ok(_) => self.inner.put_part(data),
            Err(error) => return Box::pin(async { Err(error.into_store()) }),
        };
        let (script, path) = (self.script.clone(), self.path.clone());
        Box::pin(async move {
            script.wait().await;
            part.await?;
            match entered.ok().and_then(|pass| pass.lose) {
                Some(kind) => Err(injected(kind, path.as_ref()).into_store()),
                None => Ok(()),
            }
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let run = self.inner.complete();
        call(&self.script, "complete_multipart", &self.path, run).await
    }

    async fn abort(&mut self) -> Result<()> {
        let run = self.inner.abort();
        call(&self.script, "abort_multipart", &self.path, run).await
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({:?})", self.inner)
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}
