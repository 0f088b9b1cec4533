//! The data plane of a sealed destination: offsite's own records are age files there, and plain to their callers.
//!
//! Owns which objects are sealed, and under which names. Snapshots, pages, the lease, the lists of leftovers, and the
//! records of runs and checks are sealed and opened here. A pack is sealed by its writer, because its name is the hash of the sealed bytes; here it
//! only has another name. `format.json`, the key files and the probe stay as they are.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, future, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use crate::seal::{FileSecrets, Opener, PREFIX, PayloadKey, SealError, SealKeys, SealWriter, open, plain_len, seal, sealed_range};

/// What an object of a sealed destination is called, after the name that it has elsewhere.
pub const ENDING: &str = ".age";
/// Keys of objects that were opened, at most.
pub const KEYS: usize = 256;
/// A range that begins before this is fetched together with the header, in bytes.
pub const NEAR: u64 = 256 << 10;
/// The beginning of an object is kept for the next range of it if it is at most this long, in bytes.
const KEPT: usize = 1 << 20;

/// What an object is at a sealed destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ObjectForm {
    /// A record, which is sealed and opened here.
    Sealed,
    /// A pack: only its name differs.
    Pack,
    /// As everywhere.
    Plain,
}

fn form_of(key: &str) -> ObjectForm {
    let Some(own) = key.strip_prefix(".offsite/") else { return ObjectForm::Plain };
    let record = ["lease.json", "run.json", "check.json"].contains(&own)
        || ["snapshots/", "pages/", "left/"].iter().any(|folder| own.starts_with(folder));
    match record {
        true => ObjectForm::Sealed,
        false if own.starts_with("packs/") => ObjectForm::Pack,
        false => ObjectForm::Plain,
    }
}

/// The key of an object at a sealed destination.
pub fn sealed_key(key: &str) -> String {
    if form_of(key) == ObjectForm::Plain { key.to_owned() } else { format!("{key}{ENDING}") }
}

/// The name that callers know for a listed key. A record that is not sealed gets one that no record has.
pub fn known_key(key: &[u8]) -> Vec<u8> {
    let Ok(text) = str::from_utf8(key) else { return key.to_vec() };
    match text.strip_suffix(ENDING) {
        Some(bare) if form_of(bare) != ObjectForm::Plain => bare.into(),
        None if form_of(text) != ObjectForm::Plain => format!("{text} (not sealed)").into_bytes(),
        _ => key.to_vec(),
    }
}

/// The path of an object at a sealed destination.
pub fn sealed_path(path: &Path) -> Path {
    Path::parse(sealed_key(path.as_ref())).unwrap_or_else(|_| path.clone())
}

/// An error of sealing as one of the store.
fn failed(error: SealError) -> Error {
    Error::Generic { store: "sealed destination", source: Box::new(error) }
}

/// The error of sealing in an error of this store, if it is one.
pub fn seal_error(error: &Error) -> Option<&SealError> {
    match error {
        Error::Generic { source, .. } => source.downcast_ref(),
        _ => None,
    }
}

/// Payload keys of objects, by their paths as they lie there.
pub type OpenedKeys = Arc<Mutex<HashMap<Path, PayloadKey>>>;

/// The first bytes of a page object, as they lie there.
pub struct Beginning {
    path: Path,
    bytes: Bytes,
    /// How many were asked for. Fewer came if the object ends there.
    asked: u64,
}

impl Beginning {
    /// A range of the object, if it has all of it.
    fn part(&self, path: &Path, wanted: &Range<u64>) -> Option<Bytes> {
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        (self.path == *path && wanted.end <= self.asked).then(|| self.bytes.slice(at(wanted.start)..at(wanted.end)))
    }
}

/// The sealed view of a store.
#[derive(Clone)]
pub struct SealedStore {
    pub inner: Arc<dyn ObjectStore>,
    pub keys: Arc<SealKeys>,
    /// The payload keys of objects that were read in part.
    pub opened: OpenedKeys,
    /// The payload keys of page objects that were written.
    pub written: OpenedKeys,
    /// The beginning of the object that was last read in part. The pages of a small manifest all lie there.
    pub beginning: Arc<Mutex<Option<Beginning>>>,
}

impl SealedStore {
    /// What seals an object. Pages are sealed so that equal pages make equal objects: a repair can restore one.
    fn secrets(&self, path: &Path, plain: &[u8]) -> std::result::Result<FileSecrets, SealError> {
        match path.as_ref().starts_with(".offsite/pages/") {
            true => Ok(self.keys.sealing.derived_secrets(blake3::hash(plain).as_bytes())),
            false => FileSecrets::random(),
        }
    }

    async fn sealed(&self, path: &Path, payload: PutPayload) -> Result<PutPayload> {
        let (store, path) = (self.clone(), path.clone());
        let seals = move || {
            let plain: Bytes = payload.into();
            let secrets = store.secrets(&path, &plain)?;
            store.note_written(&path, &secrets);
            seal(&store.keys.sealing.names, secrets, &plain)
        };
        let sealed = tokio::task::spawn_blocking(seals).await.map_err(|error| Error::JoinError { source: error })?;
        Ok(PutPayload::from(sealed.map_err(failed)?))
    }

    /// Keeps the key of a page object that is written, for the snapshot.
    fn note_written(&self, path: &Path, secrets: &FileSecrets) {
        if path.as_ref().starts_with(".offsite/pages/") {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            written.insert(sealed_path(path), secrets.payload_key());
        }
    }

    fn forget(&self, path: &Path) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
        *self.beginning.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn known(&self, path: &Path) -> Option<Opener> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.get(path).cloned().and_then(|key| Opener::from_payload_key(key).ok())
    }

    fn open_with(&self, path: &Path, prefix: &[u8]) -> Result<Opener> {
        let opener = Opener::new(&self.keys.sealing.names_identities, prefix).map_err(failed)?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.len() >= KEYS {
            opened.clear();
        }
        opened.insert(path.clone(), opener.payload_key().clone());
        Ok(opener)
    }

    /// A part of a sealed object.
    async fn part(&self, path: &Path, plain: Range<u64>) -> Result<Bytes> {
        let wanted = sealed_range(plain.clone());
        if let Some(opener) = self.known(path) {
            let wanted = wanted.clone();
            let kept = self.beginning.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|kept| kept.part(path, &wanted));
            let sealed = match kept {
                Some(kept) => kept,
                None => self.inner.get_range(path, wanted).await?,
            };
            match opener.open_range(plain.clone(), &sealed) {
                Ok(opened) => return Ok(opened.into()),
                // The object may have been written again since: its header has the key of what is there now.
                Err(_) => self.forget(path),
            }
        }
        let (prefix, sealed) = if wanted.start < NEAR {
            let both = self.inner.get_range(path, 0..wanted.end).await?;
            let from = usize::try_from(wanted.start).unwrap_or(usize::MAX).min(both.len());
            if both.len() <= KEPT && path.as_ref().starts_with(".offsite/pages/") {
                let kept = Beginning { path: path.clone(), bytes: both.clone(), asked: wanted.end };
                *self.beginning.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
            }
            (both.slice(..both.len().min(PREFIX)), both.slice(from..))
        } else {
            future::try_join(self.inner.get_range(path, 0..PREFIX as u64), self.inner.get_range(path, wanted)).await?
        };
        self.open_with(path, &prefix)?.open_range(plain, &sealed).map(Bytes::from).map_err(failed)
    }

    async fn get_sealed(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let path = sealed_path(location);
        let answer = |mut got: GetResult, range: Range<u64>, body: BoxStream<'static, Result<Bytes>>| {
            got.meta = ObjectMeta { location: location.clone(), size: plain_len(got.meta.size).unwrap_or(0), ..got.meta };
            GetResult { payload: GetResultPayload::Stream(body), range, ..got }
        };
        match options.range {
            Some(GetRange::Bounded(ref plain)) if !options.head => {
                let plain = plain.clone();
                let body = self.part(&path, plain.clone()).await?;
                let meta = ObjectMeta {
                    location: location.clone(),
                    last_modified: Default::default(),
                    size: plain.end,
                    e_tag: None,
                    version: None,
                };
                let payload = GetResultPayload::Stream(stream::once(async { Ok(body) }).boxed());
                Ok(GetResult { payload, meta, range: plain, attributes: Default::default(), extensions: Default::default() })
            }
            Some(_) => Err(Error::NotSupported { source: "this range of a sealed object".into() }),
            None => {
                let head = options.head;
                let got = self.inner.get_opts(&path, options).await?;
                let size = plain_len(got.meta.size).unwrap_or(0);
                if head {
                    return Ok(answer(got, 0..size, stream::empty().boxed()));
                }
                let shell = GetResult {
                    payload: GetResultPayload::Stream(stream::empty().boxed()),
                    meta: got.meta.clone(),
                    range: 0..size,
                    attributes: got.attributes.clone(),
                    extensions: Default::default(),
                };
                let keys = Arc::clone(&self.keys);
                let body = stream::once(async move {
                    let sealed = got.bytes().await?;
                    open(&keys.sealing.names_identities, &sealed).map(Bytes::from).map_err(failed)
                });
                Ok(answer(shell, 0..size, body.boxed()))
            }
        }
    }
}

/// A listed object under the name that callers know. `None` for a record that is not sealed.
fn known_meta(meta: ObjectMeta) -> Option<ObjectMeta> {
    let key = known_key(meta.location.as_ref().as_bytes());
    let location = Path::parse(str::from_utf8(&key).ok()?).ok()?;
    (!location.as_ref().ends_with(" (not sealed)")).then_some(ObjectMeta { location, ..meta })
}

#[async_trait]
impl ObjectStore for SealedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let payload = match form_of(location.as_ref()) {
            ObjectForm::Sealed => self.sealed(location, payload).await?,
            ObjectForm::Pack | ObjectForm::Plain => payload,
        };
        let path = sealed_path(location);
        self.forget(&path);
        self.inner.put_opts(&path, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(&sealed_path(location), opts).await?;
        if form_of(location.as_ref()) != ObjectForm::Sealed {
            return Ok(inner);
        }
        let secrets = FileSecrets::random().map_err(failed)?;
        self.note_written(location, &secrets);
        let out = SealWriter::new(&self.keys.sealing.names, secrets, Vec::new()).map_err(failed)?;
        Ok(Box::new(SealedUpload { inner, out: Some(out) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match form_of(location.as_ref()) {
            ObjectForm::Sealed => self.get_sealed(location, options).await,
            ObjectForm::Pack | ObjectForm::Plain => self.inner.get_opts(&sealed_path(location), options).await,
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations.map_ok(|path| sealed_path(&path)).boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix).try_filter_map(|meta| future::ok(known_meta(meta))).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, &sealed_path(offset)).try_filter_map(|meta| future::ok(known_meta(meta))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let listed = self.inner.list_with_delimiter(prefix).await?;
        Ok(ListResult { objects: listed.objects.into_iter().filter_map(known_meta).collect(), ..listed })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(&sealed_path(from), &sealed_path(to), options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(&sealed_path(from), &sealed_path(to), options).await
    }
}

/// An upload in parts that is sealed on the way.
struct SealedUpload {
    inner: Box<dyn MultipartUpload>,
    out: Option<SealWriter<Vec<u8>>>,
}

#[async_trait]
impl MultipartUpload for SealedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some(out) = &mut self.out else { return Box::pin(future::ready(Err(failed(SealError::Extended)))) };
        for chunk in &data {
            if let Err(error) = std::io::Write::write_all(out, chunk) {
                return Box::pin(future::ready(Err(failed(error.into()))));
            }
        }
        let sealed = std::mem::take(out.get_mut());
        self.inner.put_part(sealed.into())
    }

    async fn complete(&mut self) -> Result<PutResult> {
        if let Some(out) = self.out.take() {
            let last = out.finish().map_err(failed)?;
            self.inner.put_part(last.into()).await?;
        }
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

impl fmt::Debug for SealedUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedUpload({:?})", self.inner)
    }
}

impl fmt::Debug for SealedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedStore({:?})", self.inner)
    }
}

impl fmt::Display for SealedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}
