//! A service of OpenDAL's as an [`ObjectStore`].
//!
//! Owns the translation of calls and keys. Keys go to the service as they are; those that OpenDAL or a
//! service would change on the way (white space at the ends of a part, a dot at its end, a backslash) are
//! refused, so that they are kept as odd names. Invariant: only files are objects; a directory of
//! WebDAV's is never listed, nor deleted as one.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use opendal::{Buffer, Metadata, Operator};

use super::dirs::{Dirs, delete_file};
use super::error::{refused, store_error, unsupported};
use super::list::{Found, STAGING, object_meta, tag_of, walk};
use super::parts::{Going, Upload};
use crate::trace::Call;
use crate::watch::{Bound, Watch, Watched};
use crate::{Error, ErrorKind, Location};

type StoreResult<T> = object_store::Result<T>;

/// Deletes under way at once.
const DELETES: usize = 16;

/// Longest part of a key where parts are names of directories and files.
const LONGEST_NAME: usize = 250;

/// Most parts that a key of Azure's may have.
const MOST_PARTS: usize = 254;

/// Whether a key is of what its caller reads as a whole or not at all, rather than of a content.
fn is_record(key: &str) -> bool {
    let own = key.strip_prefix(".offsite/");
    own.is_some_and(|rest| !["kept/", "odd/", "probe/"].iter().any(|contents| rest.starts_with(contents)))
}

/// A number nobody else comes by; not for keys of ciphers.
fn random() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one((std::process::id(), std::time::Instant::now()))
}

/// The data plane of a service.
#[derive(Clone)]
pub(super) struct OpendalStore {
    pub operator: Operator,
    pub location: Location,
    /// Where the service has real directories.
    pub dirs: Option<Arc<Dirs>>,
    /// The server copies by itself; else a copy goes through this machine.
    pub copies: bool,
}

impl OpendalStore {
    pub fn new(operator: Operator, location: Location, is_tree: bool, copies: bool) -> Self {
        Self { operator, location, dirs: is_tree.then(Arc::default), copies }
    }

    /// An error about one key, as the data plane gives it.
    pub fn error(&self, key: &str, e: opendal::Error) -> object_store::Error {
        store_error(&self.location, key, e)
    }

    /// The key, if the service will take it unchanged.
    pub fn key<'a>(&self, path: &'a Path) -> StoreResult<&'a str> {
        let key = path.as_ref();
        let is_bad = |part: &str| part.trim() != part || part.ends_with('.') || self.dirs.is_some() && part.len() > LONGEST_NAME;
        match key.split('/').any(is_bad) || key.contains('\\') || key.split('/').count() > MOST_PARTS {
            false => Ok(key),
            true => Err(refused(&self.location, key, ErrorKind::Invalid, "this kind of store would change this name")),
        }
    }

    /// Writes a whole content; `how` adds the condition.
    pub async fn write(&self, key: &str, body: Buffer, how: opendal::options::WriteOptions) -> StoreResult<Metadata> {
        let Some(dirs) = &self.dirs else {
            return self.operator.write_options(key, body, how).await.map_err(|e| self.error(key, e));
        };
        let write = async || {
            dirs.make(&self.operator, key).await?;
            match is_record(key) && self.operator.info().capability().rename {
                true => self.beside(dirs, key, body.clone()).await,
                false => self.operator.write_options(key, body.clone(), how.clone()).await,
            }
        };
        let first = match write().await {
            Ok(written) => return Ok(written),
            Err(e) => super::error::error(&self.location, key, e),
        };
        if first.concerns_place() || first.kind == ErrorKind::Denied {
            return Err(first.into_store());
        }
        if dirs.mend(&self.operator, key).await
            && let Ok(written) = write().await
        {
            return Ok(written);
        }
        let found = dirs.in_the_way(&self.operator, &self.location, key).await;
        Err(found.unwrap_or(first).into_store())
    }

    /// Writes under another name first: some servers write in place, and half a record would be read as damage.
    async fn beside(&self, dirs: &Dirs, key: &str, body: Buffer) -> opendal::Result<Metadata> {
        let temp = format!("{STAGING}{:016x}", random());
        dirs.make(&self.operator, &temp).await?;
        self.operator.write(&temp, body).await?;
        if let Err(e) = self.operator.rename(&temp, key).await {
            let _ = self.operator.delete(&temp).await;
            return Err(e);
        }
        self.operator.stat(key).await
    }

    /// A copy through this machine, in pieces.
    async fn copy_through(&self, from: &str, to: &str) -> opendal::Result<()> {
        let mut body = self.operator.reader(from).await?.into_stream(..).await?;
        let mut writer = self.operator.writer_with(to).chunk(8 << 20).await?;
        while let Some(piece) = body.try_next().await? {
            writer.write(piece).await?;
        }
        writer.close().await.map(drop)
    }

    /// What was written, with its tag; a service that does not say it is asked.
    pub async fn put_result(&self, key: &str, written: Metadata) -> StoreResult<PutResult> {
        let e_tag = match tag_of(&written) {
            None => tag_of(&self.operator.stat(key).await.map_err(|e| self.error(key, e))?),
            tag => tag,
        };
        Ok(PutResult { e_tag, version: None, extensions: Default::default() })
    }

    /// What is at a key; a directory is nothing.
    async fn look(&self, key: &str) -> StoreResult<Metadata> {
        match self.operator.stat(key).await {
            Ok(meta) if meta.is_dir() => Err(refused(&self.location, key, ErrorKind::NotFound, "there is a directory, not a file")),
            Ok(meta) => Ok(meta),
            Err(e) => Err(self.error(key, e)),
        }
    }

    /// A whole content needs no look first: the answer says how long it is and which it is.
    async fn whole(&self, location: &Path) -> StoreResult<(ObjectMeta, BoxStream<'static, StoreResult<Bytes>>)> {
        let key = self.key(location)?;
        let failed = |e| self.error(key, e);
        let reader = self.operator.reader(key).await.map_err(failed)?;
        let mut body = reader.into_bytes_stream(..).await.map_err(failed)?;
        let meta = match body.metadata().await {
            Ok(meta) if meta.last_modified().is_some() => meta,
            Ok(_) => self.look(key).await?,
            Err(e) if e.kind() == opendal::ErrorKind::Unsupported => self.look(key).await?,
            Err(e) => return Err(failed(e)),
        };
        let meta = object_meta(location.clone(), &meta);
        let body = self.streamed(key, body, meta.size);
        Ok((meta, body))
    }

    async fn part(
        &self,
        location: &Path,
        range: &GetRange,
    ) -> StoreResult<(ObjectMeta, Range<u64>, BoxStream<'static, StoreResult<Bytes>>)> {
        let key = self.key(location)?;
        let seen = self.look(key).await?;
        let meta = object_meta(location.clone(), &seen);
        let wanted = range.as_range(meta.size).map_err(|why| refused(&self.location, key, ErrorKind::Invalid, why))?;
        let reader = self.operator.reader_with(key);
        // What is read is what was looked at.
        let same = seen.etag().filter(|tag| tag.starts_with('"'));
        let reader = match same.filter(|_| self.operator.info().capability().read_with_if_match) {
            Some(tag) => reader.if_match(tag),
            None => reader,
        };
        let reader = reader.await.map_err(|e| self.error(key, e))?;
        let body = reader.into_bytes_stream(wanted.clone()).await.map_err(|e| self.error(key, e))?;
        let body = self.streamed(key, body, wanted.end - wanted.start);
        Ok((meta, wanted, body))
    }

    /// What comes of `length` bytes, and no more than that.
    fn streamed(&self, key: &str, body: opendal::FuturesBytesStream, length: u64) -> BoxStream<'static, StoreResult<Bytes>> {
        let (location, key) = (self.location.clone(), key.to_owned());
        let cut = move |e: std::io::Error| match e.downcast::<opendal::Error>() {
            Ok(e) => store_error(&location, &key, e),
            Err(e) => refused(&location, &key, ErrorKind::Transient, crate::error::chain(&e)),
        };
        let watch = Watch::new(Bound::Cut(length), None, Call::untold());
        Watched::new(body.map_err(cut).boxed(), watch).boxed()
    }
}

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
                refused(&self.location, key, ErrorKind::Exists, "it is there already")
            }
            _ => e,
        })?;
        self.put_result(key, written).await
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload::new(Going::begin(self, location).await?)))
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
                None => result.objects.extend(Found { path, meta }.object()),
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
        // Directories above `to` are made by the service's own copy.
        self.operator.copy(from, to).await.map(drop).map_err(|e| self.error(from, e))
    }
}

impl fmt::Debug for OpendalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpendalStore({})", self.location)
    }
}

impl fmt::Display for OpendalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.location)
    }
}
