//! The tree behind SFTP as an [`ObjectStore`]: offsite's own objects, and contents by key.
//!
//! Owns the translation of the object store's calls to the tree. Keys are the paths themselves, without escapes.
//! Listings here leave out names that no key can express. Such names are read through [`crate::Tree`].
//! Invariant: only regular files are objects. No symlink is followed or listed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode,
};

use super::packet::Attrs;
use super::put::{self, SftpPutMode, SftpUpload};
use super::read::{File, is_dir, look};
use super::staging::SftpStaging;
use super::{links, meta, publish, rename, walk};
use crate::contract::data_plane::{StoreResult, unsupported};
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::meter::Class;
use crate::contract::tree::FileMeta;
use crate::names::{key, parse};
use crate::staging_area::may_use_reserve;

/// Deletes in flight.
const DELETES: usize = 64;

/// The data plane of a server's directory.
pub(super) struct SftpStore(pub Arc<SftpStaging>);

#[async_trait]
impl ObjectStore for SftpStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        self.count(Class::Put, Some(location));
        let mode = match opts.mode {
            PutMode::Overwrite => SftpPutMode::Overwrite,
            PutMode::Create => SftpPutMode::Create,
            PutMode::Update(_) => return Err(unsupported("to compare and swap over SFTP")),
        };
        let chunks: Vec<_> = payload.into_iter().collect();
        let put = async || {
            let temp = self.0.stage(&chunks, &FileMeta::default(), true).await?;
            put::name(&self.0, temp, key(location), mode).await
        };
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let mut done = put().await;
        if may_use_reserve(&done, length) && self.0.free_reserve().await {
            done = put().await;
        }
        done.map_err(Error::into_store)
    }

    async fn put_multipart_opts(&self, location: &Path, _opts: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
        self.count(Class::Multipart, Some(location));
        Ok(Box::new(SftpUpload::new(Arc::clone(&self.0), key(location)).await.map_err(Error::into_store)?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.count(if options.head { Class::Head } else { Class::Get }, Some(location));
        if options.version.is_some() {
            return Err(unsupported("a version of an object over SFTP"));
        }
        let shown = || self.0.dirs.link.shown(key(location));
        let (attrs, file) = match options.head {
            true => (self.look(location).await.map_err(Error::into_store)?, None),
            false => {
                let file = File::open(&self.0, key(location)).await.map_err(Error::into_store)?;
                (file.attrs, Some(file))
            }
        };
        let meta = object_meta(location.clone(), &attrs);
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).map_err(|why| Error::invalid(shown(), why).into_store())?,
            None => 0..meta.size,
        };
        let body = match file {
            Some(file) => self.body(file, range.clone()).await.map_err(Error::into_store)?,
            None => stream::empty().boxed(),
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(body),
            meta,
            range,
            attributes: Default::default(),
            extensions: Default::default(),
        })
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        let area = Arc::clone(&self.0);
        let delete = move |location: StoreResult<Path>| {
            let area = Arc::clone(&area);
            async move {
                let location = location?;
                area.dirs.link.meter.call(Class::Delete, || area.dirs.link.shown(key(&location)));
                match publish::remove_file(&area, key(&location), None).await {
                    // A directory of that name is not an object.
                    Err(e) if e.kind != ErrorKind::Exists => Err(e.into_store()),
                    _ => Ok(location),
                }
            }
        };
        locations.map(delete).buffered(DELETES).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.count(Class::List, prefix);
        let start = prefix.map_or(Vec::new(), |prefix| key(prefix).to_vec());
        let found = walk::files(Arc::clone(&self.0), start);
        found.map_err(Error::into_store).try_filter_map(|(path, attrs)| async move { Ok(object(&path, &attrs)) }).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.count(Class::List, prefix);
        let start = prefix.map_or(&b""[..], key);
        let mut found = walk::entries(&self.0, start).await.map_err(Error::into_store)?;
        found.retain(|(path, _)| !self.0.is_staging(path));
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let dirs = found.iter().filter(|(_, attrs)| is_dir(attrs));
        Ok(ListResult {
            common_prefixes: dirs.filter_map(|(path, _)| parse(path)).collect(),
            objects: found.iter().filter(|(_, attrs)| meta::is_file(attrs)).filter_map(|(path, attrs)| object(path, attrs)).collect(),
            extensions: Default::default(),
        })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.count(Class::Copy, Some(from));
        let mode = match options.mode {
            CopyMode::Overwrite => SftpPutMode::Overwrite,
            CopyMode::Create => SftpPutMode::Create,
        };
        let length = self.look(from).await.map_err(Error::into_store)?.size.unwrap_or_default();
        let temp = self.0.stage_copy(key(from), length, &FileMeta::default(), true).await.map_err(Error::into_store)?;
        put::name(&self.0, temp, key(to), mode).await.map(drop).map_err(Error::into_store)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> StoreResult<()> {
        self.count(Class::Copy, Some(from));
        self.rename(from, to, options.target_mode == RenameTargetMode::Create).await.map_err(Error::into_store)
    }
}

impl SftpStore {
    fn count(&self, class: Class, location: Option<&Path>) {
        let at = || self.0.dirs.link.shown(location.map_or(b"", key));
        self.0.dirs.link.meter.call(class, at);
    }

    async fn look(&self, location: &Path) -> Result<Attrs> {
        match look(&self.0, key(location)).await? {
            Some(attrs) if meta::is_file(&attrs) => Ok(attrs),
            _ => Err(Error::new(ErrorKind::NotFound, self.0.dirs.link.shown(key(location)), "no such file")),
        }
    }

    /// A range of a file. A range of at most one block is read at once, so that its handle does not stay open.
    async fn body(&self, file: File, range: Range<u64>) -> Result<BoxStream<'static, StoreResult<Bytes>>> {
        if range.end - range.start <= super::read::BLOCK {
            let bytes = file.read(range).await?;
            return Ok(stream::once(async { Ok(bytes) }).boxed());
        }
        Ok(file.blocks(range).map_err(Error::into_store).boxed())
    }

    async fn rename(&self, from: &Path, to: &Path, create: bool) -> Result<()> {
        self.look(from).await?;
        if !create {
            return rename::rename(&self.0, key(from), key(to)).await;
        }
        match links::rename_new(&self.0, key(from), key(to)).await? {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Exists, self.0.dirs.link.shown(key(to)), "it exists already")),
        }
    }
}

fn object(path: &[u8], attrs: &Attrs) -> Option<ObjectMeta> {
    parse(path).map(|path| object_meta(path, attrs))
}

fn object_meta(location: Path, attrs: &Attrs) -> ObjectMeta {
    ObjectMeta {
        location,
        last_modified: meta::modified(attrs),
        size: attrs.size.unwrap_or_default(),
        e_tag: Some(meta::etag(attrs)),
        version: None,
    }
}

impl fmt::Debug for SftpStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SftpStore({})", self.0.dirs.link.location)
    }
}

impl fmt::Display for SftpStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.dirs.link.location)
    }
}
