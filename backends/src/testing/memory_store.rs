//! The data plane of the bucket in memory: whole objects and uploads in parts.
//!
//! Owns the rules of the calls: conditions, ranges, versions, the smallest part. Counts each call in the meter as a
//! cloud would bill it. Invariant: a call that answers has taken effect completely.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartId, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::bucket::{MemoryParts, MemoryVersion, Reads, Shared};
use crate::contract::backend::Stretch;
use crate::contract::error::ErrorKind;
use crate::contract::fence;
use crate::contract::meter::Class;

#[derive(Clone)]
pub(super) struct MemoryStore {
    shared: Arc<Shared>,
}

impl MemoryStore {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The current objects below a prefix, in the order in which this bucket lists.
    pub fn found(&self, prefix: Option<&Path>) -> Vec<(String, MemoryVersion)> {
        let start = match prefix.map(|path| self.shared.key(path)) {
            Some(key) if !key.is_empty() => key + "/",
            _ => String::new(),
        };
        let bucket = self.shared.bucket();
        let below = bucket.objects.range(start.clone()..);
        let mut found: Vec<_> = below
            .take_while(|(key, _)| key.starts_with(&start))
            .filter_map(|(key, _)| Some((key.clone(), bucket.current(key)?.0.clone())))
            .collect();
        if self.shared.options().unordered_listing {
            // Always the same for the same keys, and hardly ever sorted.
            found.sort_by_key(|(key, _)| (mix(key), key.clone()));
        }
        found
    }

    fn missing(key: &str) -> Error {
        Error::NotFound { path: key.to_owned(), source: "no such object".into() }
    }

    fn exists(key: &str) -> Error {
        Error::AlreadyExists { path: key.to_owned(), source: "it is there already".into() }
    }

    fn other(text: String) -> Error {
        Error::Generic { store: "memory", source: text.into() }
    }
}

/// A hash that is the same in every run (FNV-1a).
fn mix(key: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    key.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

fn meta((key, version): (String, MemoryVersion)) -> Option<ObjectMeta> {
    Some(ObjectMeta {
        location: Path::parse(&key).ok()?,
        last_modified: version.modified,
        size: version.data.map_or(0, |data| data.len() as u64),
        e_tag: Some(version.etag),
        version: version.id,
    })
}

fn whole(payload: PutPayload) -> Bytes {
    let mut all = BytesMut::with_capacity(payload.content_length());
    payload.iter().for_each(|chunk| all.extend_from_slice(chunk));
    all.freeze()
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.shared.count(Class::Put);
        self.shared.meter.add_sent(payload.content_length() as u64);
        fence::check("memory")?;
        let (key, data) = (self.shared.key(location), whole(payload));
        let mut bucket = self.shared.bucket();
        self.shared.may_replace(&bucket, &key, &opts.mode)?;
        Ok(self.shared.insert(&mut bucket, &key, Some(data)))
    }

    async fn put_multipart_opts(&self, location: &Path, _opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let id = self.create_multipart(location).await?;
        let (store, path) = (self.clone(), location.clone());
        Ok(Box::new(MemoryUpload { store, path, id, next: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let class = if options.head { Class::Head } else { Class::Get };
        self.shared.count(class);
        let key = self.shared.key(location);
        let bucket = self.shared.bucket();
        let found = match &options.version {
            Some(id) => bucket.version(&key, id),
            None => bucket.current(&key),
        };
        let (version, data) = found.ok_or_else(|| Self::missing(&key))?;
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: version.modified,
            size: data.len() as u64,
            e_tag: Some(version.etag.clone()),
            version: version.id.clone(),
        };
        options.check_preconditions(&meta)?;
        if !options.head && bucket.archived.contains_key(&key) {
            let error = crate::contract::error::Error::new(ErrorKind::Archived, &key, "it lies in an archive");
            return Err(error.into_store());
        }
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).map_err(|e| Self::other(e.to_string()))?,
            None => 0..meta.size,
        };
        let body = match options.head {
            true => Bytes::new(),
            false => data.slice(range.start as usize..range.end as usize),
        };
        let body = match self.shared.options().reads {
            Reads::Garbled => body.iter().map(|byte| byte ^ 1).collect(),
            Reads::WholeOnly if options.range.is_some() => {
                return Err(object_store::Error::NotSupported { source: "no part of an object can be read here".into() });
            }
            Reads::WrongPart if !options.head => data.slice(..(range.end - range.start) as usize),
            _ => body,
        };
        self.shared.meter.add_received(body.len() as u64);
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::once(async { Ok(body) }).boxed()),
            meta,
            range,
            attributes: Default::default(),
            extensions: Default::default(),
        })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let shared = self.shared.clone();
        let delete = move |path: Path| {
            shared.count(Class::Delete);
            fence::check("memory")?;
            let key = shared.key(&path);
            let mut bucket = shared.bucket();
            if !shared.options().versions {
                bucket.objects.remove(&key);
            } else if bucket.current(&key).is_some() {
                shared.insert(&mut bucket, &key, None);
            }
            Ok(path)
        };
        locations.map(move |path| path.and_then(&delete)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.shared.count(Class::List);
        let found = self.found(prefix).into_iter().filter_map(meta).map(Ok);
        stream::iter(found.collect::<Vec<_>>()).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.shared.count(Class::List);
        let start = prefix.map_or(0, |path| match self.shared.key(path).len() {
            0 => 0,
            n => n + 1,
        });
        let (mut objects, mut common_prefixes) = (Vec::new(), Vec::<Path>::new());
        for (key, version) in self.found(prefix) {
            match key[start..].find('/') {
                None => objects.extend(meta((key, version))),
                Some(at) => common_prefixes.extend(Path::parse(&key[..start + at])),
            }
        }
        common_prefixes.sort();
        common_prefixes.dedup();
        Ok(ListResult { objects, common_prefixes, extensions: Default::default() })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.shared.count(Class::Copy);
        fence::check("memory")?;
        let (source, target) = (self.shared.key(from), self.shared.key(to));
        let ignore = self.shared.options().ignore_conditions;
        let mut bucket = self.shared.bucket();
        let found = bucket.current(&source).map(|(_, data)| data.clone());
        let data = found.ok_or_else(|| Self::missing(&source))?;
        if options.mode == CopyMode::Create && !ignore && bucket.current(&target).is_some() {
            return Err(Self::exists(&target));
        }
        self.shared.insert(&mut bucket, &target, Some(data));
        Ok(())
    }
}

#[async_trait]
impl MultipartStore for MemoryStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.shared.count(Class::Multipart);
        let mut bucket = self.shared.bucket();
        bucket.serial += 1;
        let id = format!("u{:08}", bucket.serial);
        let key = self.shared.key(path);
        bucket.uploads.insert(id.clone(), MemoryParts { key, ..MemoryParts::default() });
        Ok(id)
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, part_idx: usize, data: PutPayload) -> Result<PartId> {
        self.shared.count(Class::Multipart);
        self.shared.meter.add_sent(data.content_length() as u64);
        self.part(path, id, part_idx, whole(data))
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        self.complete(path, id, &parts, &PutMode::Overwrite)
    }

    async fn abort_multipart(&self, _path: &Path, id: &MultipartId) -> Result<()> {
        self.shared.count(Class::Multipart);
        let gone = self.shared.bucket().uploads.remove(id);
        gone.map(drop).ok_or_else(|| Self::missing(id))
    }
}

impl MemoryStore {
    /// Adds a part to an upload.
    fn part(&self, path: &Path, id: &MultipartId, index: usize, data: Bytes) -> Result<PartId> {
        let most = self.shared.options().capabilities.max_parts;
        if index as u64 >= most {
            return Err(Self::other(format!("part {index} of at most {most}")));
        }
        let mut bucket = self.shared.bucket();
        bucket.serial += 1;
        let tag = format!("\"p{:x}\"", bucket.serial);
        let key = self.shared.key(path);
        let upload = bucket.uploads.get_mut(id).filter(|upload| upload.key == key);
        let upload = upload.ok_or_else(|| Self::missing(id))?;
        upload.parts.insert(index, (tag.clone(), data));
        Ok(PartId { content_id: tag })
    }

    /// Adds a stretch of a current object as a part to an upload.
    pub(super) fn copy_part(&self, to: &Path, id: &MultipartId, index: usize, from: &Stretch<'_>) -> Result<PartId> {
        self.shared.count(Class::Copy);
        let key = self.shared.key(from.from);
        let found = self.shared.bucket().current(&key).map(|(version, data)| (version.etag.clone(), data.clone()));
        let (etag, data) = found.ok_or_else(|| Self::missing(&key))?;
        if etag.trim_matches('"') != from.etag.trim_matches('"') {
            let path = from.from.to_string();
            return Err(Error::Precondition { path, source: "the object is not the one that was to be copied".into() });
        }
        let start = usize::try_from(from.start).unwrap_or(usize::MAX);
        let end = start.saturating_add(from.bytes.len());
        if end > data.len() {
            return Err(Self::other(format!("InvalidRange: {start}..{end} of {}", data.len())));
        }
        if data[start..end] != from.bytes {
            let path = from.from.to_string();
            return Err(Error::Precondition { path, source: "other bytes than expected were copied".into() });
        }
        self.part(to, id, index, data.slice(start..end))
    }

    /// Completes an upload if `over` allows to replace what is at its key.
    pub(super) fn complete(&self, path: &Path, id: &MultipartId, parts: &[PartId], over: &PutMode) -> Result<PutResult> {
        self.shared.count(Class::Multipart);
        fence::check("memory")?;
        let least = self.shared.options().capabilities.min_part;
        let key = self.shared.key(path);
        let mut bucket = self.shared.bucket();
        let upload = bucket.uploads.get(id).filter(|upload| upload.key == key);
        let upload = upload.ok_or_else(|| Self::missing(id))?;
        let mut all = BytesMut::new();
        for (index, wanted) in parts.iter().enumerate() {
            let part = upload.parts.get(&index).filter(|(tag, _)| *tag == wanted.content_id);
            let (_, data) = part.ok_or_else(|| Self::other(format!("InvalidPart: part {index}")))?;
            if index + 1 < parts.len() && (data.len() as u64) < least {
                let size = data.len();
                return Err(Self::other(format!("EntityTooSmall: part {index} has {size} bytes")));
            }
            all.extend_from_slice(data);
        }
        self.shared.may_replace(&bucket, &key, over)?;
        bucket.uploads.remove(id);
        Ok(self.shared.insert(&mut bucket, &key, Some(all.freeze())))
    }
}

/// An upload in parts behind the simpler trait.
struct MemoryUpload {
    store: MemoryStore,
    path: Path,
    id: MultipartId,
    next: usize,
}

#[async_trait]
impl MultipartUpload for MemoryUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (store, path, id) = (self.store.clone(), self.path.clone(), self.id.clone());
        let index = self.next;
        self.next += 1;
        Box::pin(async move { store.put_part(&path, &id, index, data).await.map(drop) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let parts = {
            let bucket = self.store.shared.bucket();
            let upload = bucket.uploads.get(&self.id);
            let parts = upload.into_iter().flat_map(|upload| upload.parts.values());
            parts.map(|(tag, _)| PartId { content_id: tag.clone() }).collect()
        };
        self.store.complete_multipart(&self.path, &self.id, parts).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.abort_multipart(&self.path, &self.id).await
    }
}

impl fmt::Debug for MemoryUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parts({})", self.path)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore")
    }
}

impl fmt::Display for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}
