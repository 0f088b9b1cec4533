//! A service of OpenDAL, rooted at the prefix.
//!
//! Owns the translation of keys, and the steps of a read or a write at a service. Keys are sent to the service
//! unchanged. Keys that OpenDAL or a service would change (white space at the ends of a part, a dot at its end, a
//! backslash) are refused, so that the engine stores them as odd names.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetRange, ObjectMeta, PutResult};
use opendal::{Buffer, Metadata, Operator};

use super::dirs::OpendalDirs;
use super::error::{refused, store_error};
use super::list::{STAGING, object_meta, tag_of};
use crate::contract::data_plane::StoreResult;
use crate::contract::error::{self, ErrorKind};
use crate::contract::location::Location;
use crate::contract::trace::TracedCall;
use crate::wire::watch::{Bound, Watch, Watched};

/// Longest part of a key, in bytes, if parts are names of directories and files.
const LONGEST_NAME: usize = 250;

/// Largest number of parts that a key of Azure may have.
const MOST_PARTS: usize = 254;

/// Whether a key is of a record, which its readers need whole, and not of a content.
fn is_record(key: &str) -> bool {
    let own = key.strip_prefix(".offsite/");
    own.is_some_and(|rest| !["kept/", "odd/", "probe/"].iter().any(|contents| rest.starts_with(contents)))
}

/// A number that no other process uses; not suitable for cryptography.
fn random() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one((std::process::id(), std::time::Instant::now()))
}

/// The data plane of a service.
#[derive(Clone)]
pub(super) struct OpendalStore {
    pub operator: Operator,
    pub location: Location,
    /// Set if the service has real directories.
    pub dirs: Option<Arc<OpendalDirs>>,
    /// Whether the server itself copies. Otherwise a copy runs through this machine.
    pub copies: bool,
}

impl OpendalStore {
    pub fn new(operator: Operator, location: Location, is_tree: bool, copies: bool) -> Self {
        Self { operator, location, dirs: is_tree.then(Arc::default), copies }
    }

    /// An error about one key as the data plane's error.
    pub fn error(&self, key: &str, e: opendal::Error) -> object_store::Error {
        store_error(&self.location, key, e)
    }

    /// The key, if the service takes it unchanged.
    pub fn key<'a>(&self, path: &'a Path) -> StoreResult<&'a str> {
        let key = path.as_ref();
        let is_bad = |part: &str| part.trim() != part || part.ends_with('.') || self.dirs.is_some() && part.len() > LONGEST_NAME;
        match key.split('/').any(is_bad) || key.contains('\\') || key.split('/').count() > MOST_PARTS {
            false => Ok(key),
            true => Err(refused(&self.location, key, ErrorKind::Invalid, "this store would change this name")),
        }
    }

    /// Writes a whole content. `how` has the condition.
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
        if first.concerns_destination() || first.kind == ErrorKind::Denied {
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

    /// Writes under another name first, because some servers write in place, and half a record would be read as damage.
    async fn beside(&self, dirs: &OpendalDirs, key: &str, body: Buffer) -> opendal::Result<Metadata> {
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
    pub async fn copy_through(&self, from: &str, to: &str) -> opendal::Result<()> {
        let mut body = self.operator.reader(from).await?.into_stream(..).await?;
        let mut writer = self.operator.writer_with(to).chunk(8 << 20).await?;
        while let Some(piece) = body.try_next().await? {
            writer.write(piece).await?;
        }
        writer.close().await.map(drop)
    }

    /// The result of a write, with its tag. If the service did not give one, a request asks for it.
    pub async fn put_result(&self, key: &str, written: Metadata) -> StoreResult<PutResult> {
        let e_tag = match tag_of(&written) {
            None => tag_of(&self.operator.stat(key).await.map_err(|e| self.error(key, e))?),
            tag => tag,
        };
        Ok(PutResult { e_tag, version: None, extensions: Default::default() })
    }

    /// The metadata of a key. A directory counts as not found.
    pub async fn look(&self, key: &str) -> StoreResult<Metadata> {
        match self.operator.stat(key).await {
            Ok(meta) if meta.is_dir() => Err(refused(&self.location, key, ErrorKind::NotFound, "there is a directory, not a file")),
            Ok(meta) => Ok(meta),
            Err(e) => Err(self.error(key, e)),
        }
    }

    /// Reads a whole content. No look is needed first, because the answer has the length and the tag.
    pub async fn whole(&self, location: &Path) -> StoreResult<(ObjectMeta, BoxStream<'static, StoreResult<Bytes>>)> {
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

    pub async fn part(
        &self,
        location: &Path,
        range: &GetRange,
    ) -> StoreResult<(ObjectMeta, Range<u64>, BoxStream<'static, StoreResult<Bytes>>)> {
        let key = self.key(location)?;
        let seen = self.look(key).await?;
        let meta = object_meta(location.clone(), &seen);
        let wanted = range.as_range(meta.size).map_err(|why| refused(&self.location, key, ErrorKind::Invalid, why))?;
        let reader = self.operator.reader_with(key);
        // The content that is read must be the one that was looked at.
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

    /// The body as a stream of at most `length` bytes.
    fn streamed(&self, key: &str, body: opendal::FuturesBytesStream, length: u64) -> BoxStream<'static, StoreResult<Bytes>> {
        let (location, key) = (self.location.clone(), key.to_owned());
        let cut = move |e: std::io::Error| match e.downcast::<opendal::Error>() {
            Ok(e) => store_error(&location, &key, e),
            Err(e) => refused(&location, &key, ErrorKind::Transient, error::chain(&e)),
        };
        let watch = Watch::new(Bound::Cut(length), None, TracedCall::untold());
        Watched::new(body.map_err(cut).boxed(), watch).boxed()
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
