//! The directory as an [`ObjectStore`]: offsite's own objects, and contents by key.
//!
//! Owns the translation of the object store's calls to the tree, and their count. Keys are the paths themselves,
//! without escapes. Listings here leave out names that no key can express. Such names are read through
//! [`crate::Tree`].
//! Invariant: only regular files are objects. No symlink is followed or listed.

use std::fmt;
use std::ops::Range;
use std::os::fd::OwnedFd;
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
use rustix::fs::Stat;

use super::put::{self, LocalPutMode};
use super::staging::LocalStaging;
use super::threads::blocking;
use super::walk::{self, Order, WalkedFile};
use super::{publish, read};
use crate::contract::data_plane::{StoreResult, unsupported};
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::meter::{Class, Meter};
use crate::contract::tree::FileMeta;
use crate::names::{key, parse};
use crate::staging_area::may_use_reserve;

/// Deletes in flight.
const DELETES: usize = 8;

/// The data plane of a directory.
pub(super) struct FileStore {
    area: Arc<LocalStaging>,
    meter: Arc<Meter>,
}

impl FileStore {
    pub fn new(area: Arc<LocalStaging>, meter: Arc<Meter>) -> Self {
        Self { area, meter }
    }

    fn list_from(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.count(Class::List, prefix);
        let start = key(prefix.unwrap_or(&Path::default())).to_vec();
        walk::list(self.area.clone(), start, Order::Bytes)
            .map_err(Error::into_store)
            .try_filter_map(|found| async move { Ok(object(found)) })
            .boxed()
    }

    fn count(&self, class: Class, location: Option<&Path>) {
        self.meter.call(class, || self.area.dirs.shown(location.map_or(b"", key)));
    }

    async fn copy(&self, from: &Path, to: &Path, mode: LocalPutMode) -> StoreResult<()> {
        self.count(Class::Copy, Some(from));
        let (area, from, to) = (self.area.clone(), from.clone(), to.clone());
        blocking(move || {
            let staged = area.stage_copy(key(&from), &FileMeta::default())?;
            put::name(&area, staged, key(&to), &mode)
        })
        .await
        .map(drop)
        .map_err(Error::into_store)
    }
}

#[async_trait]
impl ObjectStore for FileStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        self.count(Class::Put, Some(location));
        let mode = match opts.mode {
            PutMode::Overwrite => LocalPutMode::Overwrite,
            PutMode::Create => LocalPutMode::Create,
            PutMode::Update(version) => match version.e_tag {
                Some(tag) => LocalPutMode::Update(tag),
                None => return Err(unsupported("an update without an entity tag")),
            },
        };
        let (area, location) = (self.area.clone(), location.clone());
        let length = payload.content_length() as u64;
        let done = blocking(move || {
            let chunks: Vec<_> = payload.into_iter().collect();
            let put = || put::name(&area, area.stage(&chunks, &FileMeta::default())?, key(&location), &mode);
            let done = put();
            if may_use_reserve(&done, length) && area.free_reserve() { put() } else { done }
        })
        .await
        .map_err(Error::into_store)?;
        self.meter.add_sent(length);
        Ok(done)
    }

    async fn put_multipart_opts(&self, location: &Path, _opts: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
        let (area, meter) = (self.area.clone(), self.meter.clone());
        let location = location.clone();
        let upload = blocking(move || put::LocalUpload::new(area, meter, key(&location))).await;
        Ok(Box::new(upload.map_err(Error::into_store)?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        let class = if options.head { Class::Head } else { Class::Get };
        self.count(class, Some(location));
        if options.version.is_some() {
            return Err(unsupported("a version of an object in a directory"));
        }
        let (area, at) = (self.area.clone(), location.clone());
        let opened = blocking(move || Ok(open(&area, &at, &options))).await;
        let (meta, range, body) = opened.map_err(Error::into_store)??;
        let body = match body {
            PutBody::None => stream::empty().boxed(),
            PutBody::Whole(bytes) => {
                self.meter.add_received(bytes.len() as u64);
                stream::once(async { Ok(bytes) }).boxed()
            }
            PutBody::File(fd) => self.body(fd, range.clone(), location),
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
        let (area, meter) = (self.area.clone(), self.meter.clone());
        locations
            .map(move |location| {
                let (area, meter) = (area.clone(), meter.clone());
                async move {
                    let location = location?;
                    meter.call(Class::Delete, || area.dirs.shown(key(&location)));
                    let at = location.clone();
                    blocking(move || delete(&area, key(&at))).await.map_err(Error::into_store)?;
                    Ok(location)
                }
            })
            .buffered(DELETES)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.list_from(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.count(Class::List, prefix);
        let (area, prefix) = (self.area.clone(), prefix.cloned().unwrap_or_default());
        let (files, dirs) = blocking(move || walk::level(&area, key(&prefix))).await.map_err(Error::into_store)?;
        Ok(ListResult {
            common_prefixes: dirs.iter().filter_map(|dir| parse(dir)).collect(),
            objects: files.into_iter().filter_map(object).collect(),
            extensions: Default::default(),
        })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        let mode = match options.mode {
            CopyMode::Overwrite => LocalPutMode::Overwrite,
            CopyMode::Create => LocalPutMode::Create,
        };
        self.copy(from, to, mode).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> StoreResult<()> {
        self.count(Class::Copy, Some(from));
        let (area, from, to) = (self.area.clone(), from.clone(), to.clone());
        let create = options.target_mode == RenameTargetMode::Create;
        blocking(move || rename(&area, key(&from), key(&to), create)).await.map_err(Error::into_store)
    }
}

impl FileStore {
    /// A range of an open file, block by block.
    fn body(&self, fd: OwnedFd, range: Range<u64>, location: &Path) -> BoxStream<'static, StoreResult<Bytes>> {
        let meter = self.meter.clone();
        read::blocks(fd, range, self.area.dirs.shown(key(location)))
            .inspect_ok(move |block| meter.add_received(block.len() as u64))
            .map_err(Error::into_store)
            .boxed()
    }
}

enum PutBody {
    None,
    Whole(Bytes),
    File(OwnedFd),
}

/// Opens an object and checks the conditions of the request. Reads the range at once if it is at most one block.
fn open(area: &LocalStaging, location: &Path, options: &GetOptions) -> StoreResult<(ObjectMeta, Range<u64>, PutBody)> {
    let (fd, stat) = read::open_file(&area.dirs, key(location)).map_err(Error::into_store)?;
    let meta = object_meta(location.clone(), &stat);
    options.check_preconditions(&meta)?;
    let range = match &options.range {
        Some(range) => range.as_range(meta.size).map_err(|why| Error::invalid(area.dirs.shown(key(location)), why).into_store())?,
        None => 0..meta.size,
    };
    let length = range.end - range.start;
    if options.head {
        return Ok((meta, range, PutBody::None));
    }
    if length > read::BLOCK {
        return Ok((meta, range, PutBody::File(fd)));
    }
    let bytes = read::read_block(&fd, range.start, length).map_err(|errno| area.dirs.error(key(location), errno).into_store())?;
    if bytes.len() as u64 != length {
        let shown = area.dirs.shown(key(location));
        return Err(Error::new(ErrorKind::Other, shown, read::SHORTER).into_store());
    }
    Ok((meta, range, PutBody::Whole(bytes)))
}

/// Deletes an object. A directory of that name is not an object: it stays and is not an error.
fn delete(area: &LocalStaging, key: &[u8]) -> Result<()> {
    area.dirs.root()?;
    let _lock = put::lock(area).ok();
    match publish::unlink(area, key) {
        Err(e) if e.kind == ErrorKind::Exists => Ok(()),
        done => done,
    }
}

/// Moves a regular file. Both directories are on stable storage when it returns.
fn rename(area: &LocalStaging, from: &[u8], to: &[u8], create: bool) -> Result<()> {
    read::open_file(&area.dirs, from)?;
    let (source, target) = (area.dirs.split(from)?.0, area.dirs.split(to)?.0);
    area.dirs.dir(target, super::dirs::Make::Durable)?;
    if !create {
        publish::rename(area, from, to)?;
    } else if !publish::rename_new(area, from, to)? {
        let shown = area.dirs.shown(to);
        return Err(Error::new(ErrorKind::Exists, shown, "it exists already"));
    }
    area.dirs.fsync(target)?;
    area.dirs.fsync(source)
}

fn object(found: WalkedFile) -> Option<ObjectMeta> {
    parse(&found.key).map(|path| object_meta(path, &found.stat))
}

fn object_meta(location: Path, stat: &Stat) -> ObjectMeta {
    ObjectMeta {
        location,
        last_modified: put::modified(stat),
        size: stat.st_size.unsigned_abs(),
        e_tag: Some(put::etag_of(stat)),
        version: None,
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileStore({})", self.area.dirs.shown(b""))
    }
}

impl fmt::Display for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.area.dirs.shown(b""))
    }
}
