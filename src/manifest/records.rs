//! offsite's own objects at a destination: read, created, listed, deleted.
//!
//! Owns their names and the rule that a snapshot is created once and never changed. Sizes are checked before anything
//! is allocated for them, against the bounds in `model/bounds.rs` for readers and writers. Errors name the object.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use offsite_backends::{Backend, ErrorKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::format::Format;
use super::json;
use super::remembered::Remembered;
use super::sealed_backend::{SealedBackend, no_contents_key};
use super::sealed_store::{OpenedKeys, seal_error, sealed_key};
use crate::error::{Error, Result};
use crate::model::{Hash, Snapshot, bounds};
use crate::seal::{PayloadKey, SealKeys};

/// Total size of the small records that are in memory at a time, in KiB.
const ROOM: u32 = 3 * (bounds::RECORD >> 10) as u32;
/// Maximum number of objects in one of offsite's folders. More are damage, or a listing that never ends: one snapshot a
/// minute makes that many in half a year.
const MAX_LISTED: usize = 250_000;

/// An object that [`Records::create`] made.
#[derive(Debug)]
pub struct Created {
    /// Tag of the object, if the store has tags.
    pub etag: Option<String>,
}

/// A record that was read from a destination.
#[derive(Debug)]
pub struct StoredRecord<T> {
    /// The record itself.
    pub record: T,
    /// When it was written, by the store's clock.
    pub modified: DateTime<Utc>,
    /// Tag of its object, if the store has tags.
    pub etag: Option<String>,
}

/// `.offsite/` of one destination.
///
/// # Examples
///
/// ```
/// use offsite::manifest::Records;
/// # use offsite::engine::{self, Machine, RunControl, SyncOptions};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # std::fs::create_dir(at("site"))?;
/// # std::fs::write(at("site/index.html"), "<h1>hello</h1>")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # let destination = at("backup").display().to_string();
/// # let urls = [destination.clone()];
/// # engine::sync(&machine, &at("site"), &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// let records = Records::new(offsite_backends::open(&destination).await?);
/// let newest = records.snapshots(None).await?.pop().ok_or("this destination has no snapshot")?;
/// let (snapshot, _hash) = records.snapshot(newest.number).await?;
/// assert_eq!((snapshot.number, snapshot.host.as_str(), snapshot.totals.files), (1, "web1", 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Records {
    backend: Arc<dyn Backend>,
    pub(super) store: Arc<dyn ObjectStore>,
    /// Bounds the bodies of records that are in memory at a time, so that many large ones take no more than a few.
    room: Arc<Semaphore>,
    /// The keys of a sealed destination.
    pub(super) keys: Option<Arc<SealKeys>>,
    /// The `id` of a sealed destination.
    id: Option<Arc<str>>,
    /// The newest snapshot that this machine has seen, if it notices an older state of this destination.
    remembered: Option<Arc<Remembered>>,
    /// The keys of sealed objects that were opened, and of page objects that were written.
    pub(super) opened: Option<(OpenedKeys, OpenedKeys)>,
    /// The header of each object is read, also if a snapshot has its key.
    pub(super) reads_headers: Arc<AtomicBool>,
    /// The payload keys of packs that were opened.
    pub(super) pack_keys: Arc<Mutex<HashMap<Hash, PayloadKey>>>,
}

/// A key as a path of the object store.
///
/// # Errors
/// [`Error::Damaged`] if the store cannot have such a key.
pub fn object_path(key: &[u8]) -> Result<Path> {
    let bad = || Error::damaged(String::from_utf8_lossy(key), "no key of this store");
    Path::parse(std::str::from_utf8(key).map_err(|_| bad())?).map_err(|_| bad())
}

pub(super) fn snapshot_key(number: u64) -> String {
    format!(".offsite/snapshots/{number:012}.json")
}

/// The number in the name of a snapshot's object, which has 12 digits or more, as `snapshot_key` writes it. None for
/// any other name, because that object is not a snapshot.
pub fn snapshot_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json").filter(|d| d.len() >= 12 && d.bytes().all(|b| b.is_ascii_digit()))?;
    let number = digits.parse().ok().filter(|n| (1..=bounds::NUMBER).contains(n))?;
    (digits == format!("{number:012}")).then_some(number)
}

fn pages_key(object: &Hash) -> String {
    format!(".offsite/pages/{object}.jsonl.zst")
}

impl Records {
    /// The records at the destination of this backend. Sends no request.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        let pack_keys = Arc::new(Mutex::new(HashMap::new()));
        let room = Arc::new(Semaphore::new(ROOM as usize));
        Self {
            store: backend.store(),
            backend,
            room,
            keys: None,
            id: None,
            remembered: None,
            opened: None,
            reads_headers: Arc::default(),
            pack_keys,
        }
    }

    /// The records of the sealed destination with this `id`. `backend` is what lies below the seal. Sends no request.
    pub fn sealed(backend: Arc<dyn Backend>, keys: Arc<SealKeys>, id: String) -> Self {
        let sealed = SealedBackend::new(backend, Arc::clone(&keys));
        Self { keys: Some(keys), id: Some(id.into()), opened: Some(sealed.opened_keys()), ..Self::new(Arc::new(sealed)) }
    }

    /// Remembers the newest snapshot that this machine has seen.
    pub fn remember(&mut self, remembered: Option<Remembered>) {
        self.remembered = remembered.map(Arc::new);
    }

    /// The newest snapshot that this machine has seen, if it notices an older state of this destination.
    pub fn remembered(&self) -> Option<&Remembered> {
        self.remembered.as_deref()
    }

    /// The keys of a sealed destination, if it is one.
    pub fn keys(&self) -> Option<&Arc<SealKeys>> {
        self.keys.as_ref()
    }

    /// Checks that contents can be opened here.
    ///
    /// # Errors
    /// [`Error::Usage`] if they are sealed, and this process has no key for them.
    pub fn opens_contents(&self) -> Result<()> {
        match &self.keys {
            Some(keys) if keys.contents.is_empty() => Err(no_contents_key(self.backend.location())),
            _ => Ok(()),
        }
    }

    /// The key of the hashes that name page objects, if their content must not be guessed from them.
    pub fn naming_key(&self) -> Option<[u8; 32]> {
        self.keys.as_ref().map(|keys| keys.sealing.naming_key())
    }

    /// Decides where contents are cut. Every destination that is not sealed cuts alike.
    pub fn cut_seed(&self) -> u64 {
        self.keys.as_ref().map_or(0, |keys| keys.sealing.cut)
    }

    /// The backend of the destination.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// A store's error about a key, with the URL of the key.
    pub fn error(&self, key: &str, error: &object_store::Error) -> Error {
        if let Some(sealed) = seal_error(error) {
            return Error::damaged(self.url(key), sealed);
        }
        self.backend.error(key, error).into()
    }

    /// The URL of a key, for messages.
    pub fn url(&self, key: &str) -> String {
        if self.keys.is_some() {
            return self.backend.location().at(&sealed_key(key));
        }
        self.backend.location().at(key)
    }

    /// A small object, whole, with the store's time of writing and tag. None if it does not exist. The permit stands
    /// for the memory that the object takes; drop both together.
    async fn get(&self, key: &str) -> Result<Option<(StoredRecord<Bytes>, OwnedSemaphorePermit)>> {
        let path = object_path(key.as_bytes())?;
        let got = match self.store.get_opts(&path, GetOptions::default()).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.error(key, &error)),
        };
        let size = got.meta.size;
        if size > bounds::RECORD {
            return Err(Error::damaged(self.url(key), format_args!("{size} bytes are more than it can have")));
        }
        let room = u32::try_from(size >> 10).unwrap_or(ROOM).saturating_add(1).min(ROOM);
        let permit = Arc::clone(&self.room).acquire_many_owned(room).await.map_err(|e| Error::damaged(self.url(key), e))?;
        let (modified, etag) = (got.meta.last_modified, got.meta.e_tag.clone());
        let record = got.bytes().await.map_err(|e| self.error(key, &e))?;
        if record.len() as u64 > bounds::RECORD {
            return Err(Error::damaged(self.url(key), "it is longer than it can be"));
        }
        Ok(Some((StoredRecord { record, modified, etag }, permit)))
    }

    /// Reads a small record. None if it does not exist.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the object is too large or is not such a record.
    pub async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<StoredRecord<T>>> {
        let Some((held, _room)) = self.get(key).await? else { return Ok(None) };
        let record = json::decode(self.url(key), &held.record)?;
        Ok(Some(StoredRecord { record, modified: held.modified, etag: held.etag }))
    }

    /// Writes a small record as [`Records::put`] does. Does not write a record that [`Records::read`] would refuse.
    ///
    /// # Errors
    /// [`Error::Usage`] if [`Records::read`] would refuse the record. Otherwise as for [`Records::put`].
    ///
    /// # Examples
    ///
    /// ```
    /// use object_store::PutMode;
    /// use offsite::manifest::Records;
    ///
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let dir = tempfile::tempdir()?;
    /// # let destination = dir.path().display().to_string();
    /// const KEY: &str = ".offsite/audit.json";
    /// let records = Records::new(offsite_backends::open(&destination).await?);
    /// records.write(KEY, &"checked by hand".to_owned(), PutMode::Create).await?;
    ///
    /// let audit = records.read::<String>(KEY).await?.ok_or("this destination has no such record")?;
    /// assert_eq!(audit.record, "checked by hand");
    /// assert!(records.write(KEY, &"again".to_owned(), PutMode::Create).await.is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn write<T: Serialize + DeserializeOwned>(&self, key: &str, record: &T, mode: PutMode) -> Result<Option<String>> {
        self.put(key, json::encode(self.url(key), record)?, mode).await
    }

    /// Writes a small object and returns its new tag.
    ///
    /// # Errors
    /// With `Create`, [`ErrorKind::Exists`] if the object exists. With `Update`, [`ErrorKind::Precondition`] if the
    /// object has another tag.
    pub async fn put(&self, key: &str, body: Bytes, mode: PutMode) -> Result<Option<String>> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = self.store.put_opts(&object_path(key.as_bytes())?, PutPayload::from_bytes(body), options).await;
        Ok(put.map_err(|e| self.error(key, &e))?.e_tag)
    }

    /// Creates an object that is never changed. None if another object has the key. An existing object with the same
    /// body counts as created, because an earlier try of the same request may have created it.
    ///
    /// Atomic with `create_only`. Without it, the store does not support conditions and the last of two writers wins.
    ///
    /// # Errors
    /// [`Error::Damaged`] if an existing object with this key is larger than a record can be. Otherwise the store's own
    /// error.
    pub async fn create(&self, key: &str, body: Bytes, create_only: bool) -> Result<Option<Created>> {
        let same = |there: Option<(StoredRecord<Bytes>, _)>| there.filter(|(t, _)| t.record == body).map(|(t, _)| Created { etag: t.etag });
        if !create_only && let Some(there) = self.get(key).await? {
            return Ok(same(Some(there)));
        }
        let mode = if create_only { PutMode::Create } else { PutMode::Overwrite };
        match self.put(key, body.clone(), mode).await {
            Ok(etag) if create_only => Ok(Some(Created { etag })),
            // Without create-only the last writer wins. Only a read decides whether this writer was the last.
            Ok(_) => Ok(same(self.get(key).await?)),
            Err(error) if error.kind() == Some(ErrorKind::Exists) => Ok(same(self.get(key).await?)),
            Err(error) => Err(error),
        }
    }

    /// A listing of one of offsite's folders, with errors that name the URL. A listing that never ends counts as
    /// damage.
    pub(super) fn few<'a>(
        &'a self,
        folder: &'a str,
        listing: BoxStream<'static, object_store::Result<ObjectMeta>>,
    ) -> BoxStream<'a, Result<ObjectMeta>> {
        let mut so_far = 0;
        let bounded = listing.map_err(|e| self.error(folder, &e)).and_then(move |meta| {
            so_far += 1;
            let too_many =
                || Error::damaged(self.url(folder), format_args!("it holds more than {MAX_LISTED} objects, or its listing never ends"));
            std::future::ready(if so_far > MAX_LISTED { Err(too_many()) } else { Ok(meta) })
        });
        bounded.boxed()
    }

    /// One snapshot and the hash of its object.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is missing or is not what it must be. [`Error::Usage`] if a newer offsite wrote it.
    pub async fn snapshot(&self, number: u64) -> Result<(Snapshot, Hash)> {
        let key = snapshot_key(number);
        let Some((held, _room)) = self.get(&key).await? else {
            return Err(Error::damaged(self.url(&key), "it is missing although other snapshots name it"));
        };
        let hash = Hash::of(&held.record);
        json::known_format(self.url(&key), &held.record)?;
        let mut snapshot: Snapshot = json::decode(self.url(&key), &held.record)?;
        // A snapshot of an older program names all of them, and this program keeps only the first ones.
        snapshot.unread_total = snapshot.unread_total.or(snapshot.unread.cut());
        snapshot.unstable_total = snapshot.unstable_total.or(snapshot.unstable.cut());
        if snapshot.number != number {
            return Err(Error::damaged(self.url(&key), format_args!("it says it is number {}", snapshot.number)));
        }
        if self.id.is_some() && self.id.as_deref() != snapshot.destination.as_deref() {
            return Err(Error::damaged(self.url(&key), "it is a snapshot of another destination"));
        }
        self.learn(&snapshot);
        Ok((snapshot, hash))
    }

    /// Whether a snapshot exists, by a request for its object. A listing may be out of date.
    ///
    /// # Errors
    /// The store's own error. A missing object is no error.
    pub async fn has_snapshot(&self, number: u64) -> Result<bool> {
        let key = snapshot_key(number);
        if number > bounds::NUMBER {
            return Ok(false);
        }
        match self.store.head(&object_path(key.as_bytes())?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.error(&key, &error)),
        }
    }

    /// Commits a snapshot, and returns the hash and the tag of its object. None if another snapshot has its number.
    /// Atomic with `create_only`, see [`Records::create`].
    ///
    /// # Errors
    /// [`Error::Usage`] if the number is above [`bounds::NUMBER`], or if no reader would accept the snapshot. Otherwise
    /// as for [`Records::create`].
    pub async fn commit(&self, snapshot: &Snapshot, create_only: bool) -> Result<Option<(Hash, Option<String>)>> {
        let key = snapshot_key(snapshot.number);
        if snapshot.number > bounds::NUMBER {
            return Err(Error::Usage(format!("{}: no number is left for another snapshot; begin a new destination", self.url(""))));
        }
        let body = json::encode(self.url(&key), snapshot)?;
        let hash = Hash::of(&body);
        Ok(self.create(&key, body, create_only).await?.map(|created| (hash, created.etag)))
    }

    /// Reads `format.json`. None if nothing was ever written at this destination.
    ///
    /// # Errors
    /// [`Error::Usage`] if a newer offsite wrote it.
    pub async fn format(&self) -> Result<Option<Format>> {
        let Some((held, _room)) = self.get(Format::KEY).await? else { return Ok(None) };
        json::known_format(self.url(Format::KEY), &held.record)?;
        json::decode(self.url(Format::KEY), &held.record).map(Some)
    }

    /// A range of bytes of a page object.
    ///
    /// # Errors
    /// The store's own error, for example [`ErrorKind::NotFound`] if the object is missing.
    pub async fn page_bytes(&self, object: &Hash, range: Range<u64>) -> Result<Bytes> {
        let key = pages_key(object);
        let path = object_path(key.as_bytes())?;
        self.store.get_range(&path, range).await.map_err(|e| self.error(&key, &e))
    }

    /// The URL of a page object, for messages.
    pub fn pages_url(&self, object: &Hash) -> String {
        self.url(&pages_key(object))
    }

    /// Names of all page objects at the destination, with the store's time of writing.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the folder holds more than 250,000 objects or its listing never ends. Otherwise the
    /// store's own error.
    pub async fn page_objects(&self) -> Result<Vec<(Hash, DateTime<Utc>)>> {
        const FOLDER: &str = ".offsite/pages";
        let listing = self.store.list(Some(&object_path(FOLDER.as_bytes())?));
        self.few(FOLDER, listing)
            .try_filter_map(|meta| async move {
                let name = meta.location.filename().and_then(|n| n.strip_suffix(".jsonl.zst"));
                Ok(name.and_then(|n| blake3::Hash::from_hex(n).ok()).map(|h| (Hash(*h.as_bytes()), meta.last_modified)))
            })
            .try_collect()
            .await
    }

    /// The key of a page object.
    pub fn pages_object_key(object: &Hash) -> String {
        pages_key(object)
    }

    /// The key of a snapshot.
    pub fn snapshot_object_key(number: u64) -> String {
        snapshot_key(number)
    }

    /// Deletes objects, with as few requests as the store allows. A missing object is no error.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the store cannot have one of the keys. No object is deleted then. Otherwise the store's
    /// own error, after which some of the objects may have been deleted.
    pub async fn delete(&self, keys: Vec<Vec<u8>>) -> Result<()> {
        let paths = keys.iter().map(|k| object_path(k)).collect::<Result<Vec<_>>>()?;
        let mut done = self.store.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
        while let Some(result) = done.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.backend.error("", &error).of_delete().into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_so_is_the_name_of_a_snapshot() {
        for number in [1, 42, 999_999_999_999, 1_000_000_000_000, bounds::NUMBER] {
            let key = snapshot_key(number);
            assert_eq!(snapshot_number(key.rsplit('/').next().unwrap()), Some(number), "{key}");
        }
        let long = format!("{}.json", bounds::NUMBER + 1);
        for name in ["5.json", "+00000000006.json", "0000000000000000000007.json", "-1.json", "000000000000.json", "000000000002.JSON"] {
            assert_eq!(snapshot_number(name), None, "{name}");
        }
        for name in ["000000000002.json~", "18446744073709551615.json", "18446744073709551616.json", "x.json", "", ".json", &long] {
            assert_eq!(snapshot_number(name), None, "{name}");
        }
    }
}
