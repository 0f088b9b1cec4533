//! A destination in memory, with the behavior of real buckets as options.
//!
//! Owns the backend and the controls for tests. `bucket.rs` has the content and the clock, `memory_store.rs` the data
//! plane. Invariant: every change is made under one lock, so puts are atomic and conditions exact, unless they are to
//! be ignored.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStore, PutMode, PutResult};

use super::bucket::{MemoryOptions, MemoryVersion, Shared};
use super::memory_store::MemoryStore;
use crate::contract::archive::{Restore, Restoring};
use crate::contract::backend::{Backend, Stretch};
use crate::contract::capabilities::Capabilities;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::fence;
use crate::contract::held::{Held, Refused};
use crate::contract::initialize::{Did, InitMode, Initialize, Rights, Setting, for_directories, on_off, settle};
use crate::contract::listing::{Depth, Listed, Scope, Space, State};
use crate::contract::location::Location;
use crate::contract::meter::{Class, Meter};

/// A bucket in memory. Clones are the same bucket, as two programs would see it.
///
/// # Examples
///
/// ```
/// use object_store::ObjectStoreExt;
/// use offsite_backends::Backend;
/// use offsite_backends::testing::MemoryBackend;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let bucket = MemoryBackend::new("site")?;
/// bucket.plant("robots.txt", "from another program");
/// bucket.store().put(&"index.html".into(), "<h1>hello</h1>".into()).await?;
/// assert_eq!(bucket.keys(), ["index.html", "robots.txt"]);
/// assert_eq!(bucket.content("index.html").as_deref(), Some(&b"<h1>hello</h1>"[..]));
/// assert_eq!(bucket.meter().requests().total(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MemoryBackend {
    location: Location,
    shared: Arc<Shared>,
}

impl MemoryBackend {
    /// An empty bucket, `s3://memory/<name>`, with the default options.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a name that cannot be in a URL.
    pub fn new(name: &str) -> Result<Self> {
        Self::with(name, MemoryOptions::default())
    }

    /// An empty bucket.
    ///
    /// # Errors
    /// As [`MemoryBackend::new`].
    pub fn with(name: &str, options: MemoryOptions) -> Result<Self> {
        let shared = Shared { options: Mutex::new(options), bucket: Mutex::default(), meter: Meter::default(), offset: AtomicI64::new(0) };
        Ok(Self { location: Location::parse(&format!("s3://memory/{name}"))?, shared: Arc::new(shared) })
    }

    /// Changes the options from now on.
    pub fn set(&self, change: impl FnOnce(&mut MemoryOptions)) -> &Self {
        change(&mut self.shared.options());
        self
    }

    /// See [`MemoryOptions::ignore_conditions`].
    pub fn ignore_conditions(&self, on: bool) -> &Self {
        self.set(|options| options.ignore_conditions = on)
    }

    /// See [`MemoryOptions::change_keys`].
    pub fn change_keys(&self, on: bool) -> &Self {
        self.set(|options| options.change_keys = on)
    }

    /// See [`MemoryOptions::unordered_listing`].
    pub fn unordered_listing(&self, on: bool) -> &Self {
        self.set(|options| options.unordered_listing = on)
    }

    /// See [`MemoryOptions::versions`].
    pub fn versions(&self, on: bool) -> &Self {
        self.set(|options| options.versions = on)
    }

    /// Sets the difference of the bucket's clock to this machine's. Existing objects keep their times.
    pub fn set_clock_offset(&self, offset: TimeDelta) {
        self.shared.offset.store(offset.num_milliseconds(), Relaxed);
    }

    /// The keys of all current objects, in byte order.
    pub fn keys(&self) -> Vec<String> {
        let bucket = self.shared.bucket();
        let all = bucket.objects.keys();
        all.filter(|key| bucket.current(key).is_some()).cloned().collect()
    }

    /// The current content of an object; `None` if it does not exist.
    pub fn content(&self, key: &str) -> Option<Bytes> {
        self.shared.bucket().current(key).map(|(_, data)| data.clone())
    }

    /// Puts an object as if another program had, and counts no request.
    pub fn plant(&self, key: &str, data: impl Into<Bytes>) -> PutResult {
        let mut bucket = self.shared.bucket();
        self.shared.insert(&mut bucket, key, Some(data.into()))
    }

    /// Removes an object with all its versions as if another program had. Returns whether it existed.
    pub fn lose(&self, key: &str) -> bool {
        self.shared.bucket().objects.remove(key).is_some()
    }

    /// The number of versions of `key`, delete markers included.
    pub fn version_count(&self, key: &str) -> usize {
        self.shared.bucket().objects.get(key).map_or(0, Vec::len)
    }

    /// Places a legal hold on all versions of `key`, or removes it.
    pub fn hold(&self, key: &str, on: bool) {
        let mut bucket = self.shared.bucket();
        match on {
            true => bucket.held.insert(key.to_owned()),
            false => bucket.held.remove(key),
        };
    }

    /// Moves all versions of `key` to an archive. They cannot be read until they were requested and
    /// [`MemoryBackend::thaw`] was called.
    pub fn archive(&self, key: &str) {
        self.shared.bucket().archived.insert(key.to_owned(), false);
    }

    /// Makes all archived objects readable that were requested so far.
    pub fn thaw(&self) {
        self.shared.bucket().archived.retain(|_, asked| !*asked);
    }

    /// Drops all uploads in parts, as a lifecycle rule of a bucket does.
    pub fn lose_uploads(&self) {
        self.shared.bucket().uploads.clear();
    }

    /// The number of uploads in parts that are neither finished nor aborted.
    pub fn unfinished_uploads(&self) -> usize {
        self.shared.bucket().uploads.len()
    }

    fn everything(&self) -> Vec<Listed> {
        let bucket = self.shared.bucket();
        let versions = bucket.objects.iter().flat_map(|(key, all)| all.iter().rev().enumerate().map(move |(i, v)| listed(key, v, i == 0)));
        let unfinished = bucket.uploads.iter().map(|(id, upload)| Listed {
            key: upload.key.clone().into_bytes(),
            size: upload.parts.values().map(|(_, data)| data.len() as u64).sum(),
            etag: None,
            modified: self.shared.now(),
            state: State::Unfinished,
            version: Some(id.clone()),
            class: None,
        });
        versions.chain(unfinished).collect()
    }

    fn refusal(&self, kind: ErrorKind, key: &str, message: &str) -> Error {
        Error::new(kind, self.location.at(key), message)
    }
}

fn listed(key: &str, version: &MemoryVersion, newest: bool) -> Listed {
    Listed {
        key: key.as_bytes().to_vec(),
        size: version.data.as_ref().map_or(0, |data| data.len() as u64),
        etag: Some(version.etag.trim_matches('"').to_owned()),
        modified: version.modified,
        state: match (&version.data, newest) {
            (None, _) => State::Marker,
            (Some(_), true) => State::Current,
            (Some(_), false) => State::Old,
        },
        version: version.id.clone(),
        class: None,
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    fn location(&self) -> &Location {
        &self.location
    }

    fn capabilities(&self) -> Capabilities {
        self.shared.options().capabilities
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(MemoryStore::new(self.shared.clone()))
    }

    fn multipart(&self) -> Option<Arc<dyn MultipartStore>> {
        Some(Arc::new(MemoryStore::new(self.shared.clone())))
    }

    fn meter(&self) -> &Meter {
        &self.shared.meter
    }

    fn error(&self, key: &str, error: &object_store::Error) -> Error {
        Error::from_store(self.location(), key, error)
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        let now = self.shared.now();
        self.shared.count(Class::Head);
        self.shared.meter.note_clock(now);
        Ok(now)
    }

    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn copy_exact(&self, from: &Path, to: &Path, _size: u64, etag: Option<&str>, over: PutMode) -> Result<PutResult> {
        self.shared.count(Class::Copy);
        fence::check(&self.location)?;
        let (source, target) = (self.shared.key(from), self.shared.key(to));
        let mut bucket = self.shared.bucket();
        let found = bucket.current(&source);
        let Some((version, data)) = found.map(|(v, d)| (v.clone(), d.clone())) else {
            return Err(self.refusal(ErrorKind::NotFound, from.as_ref(), "no such object"));
        };
        let plain = |tag: &str| tag.trim_matches('"').to_owned();
        if etag.is_some_and(|wanted| plain(wanted) != plain(&version.etag)) {
            let message = "the object is not the one that was to be copied";
            return Err(self.refusal(ErrorKind::Precondition, from.as_ref(), message));
        }
        self.shared.may_replace(&bucket, &target, &over).map_err(|error| self.error(to.as_ref(), &error))?;
        Ok(self.shared.insert(&mut bucket, &target, Some(data)))
    }

    async fn complete_upload(&self, to: &Path, id: &MultipartId, parts: Vec<PartId>, over: PutMode) -> object_store::Result<PutResult> {
        MemoryStore::new(self.shared.clone()).complete(to, id, &parts, &over)
    }

    async fn copy_part(&self, to: &Path, id: &MultipartId, index: usize, from: &Stretch<'_>) -> Result<PartId> {
        MemoryStore::new(self.shared.clone()).copy_part(to, id, index, from).map_err(|error| self.error(from.from.as_ref(), &error))
    }

    fn list(&self, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>> {
        self.shared.count(Class::List);
        let mut listed = match depth {
            Depth::Current => {
                MemoryStore::new(self.shared.clone()).found(None).into_iter().map(|(key, v)| listed(&key, &v, true)).collect()
            }
            Depth::Everything => self.everything(),
            Depth::Unfinished => self.everything().into_iter().filter(|one| one.state == State::Unfinished).collect(),
        };
        if scope == Scope::Bucket {
            for found in &mut listed {
                found.key = [self.location.path(), b"/", &found.key].concat();
            }
        }
        stream::iter(listed.into_iter().map(Ok)).boxed()
    }

    /// As on GCS: while this is off, replaced objects are lost, even if it was on before.
    async fn keeps_versions(&self) -> Result<bool> {
        Ok(self.shared.options().versions)
    }

    async fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }

    /// Only versioning can be set; everything else needs a real bucket.
    async fn initialize(&self, want: &Initialize, mode: InitMode) -> Result<Vec<Setting>> {
        let rights = Rights { look: "the right to look", make: "the right to change" };
        let mut rows = vec![settle("bucket", mode, &rights, Ok("there"), "there", |_| true, async || Ok(())).await];
        if let Some(on) = want.versioning {
            let make = async || {
                self.versions(on);
                Ok(())
            };
            let was = Ok(on_off(self.shared.options().versions));
            rows.push(settle("versioning", mode, &rights, was, on_off(on), |was| *was == on_off(on), make).await);
        }
        let others = for_directories(&Initialize { versioning: None, ..want.clone() });
        rows.extend(others.into_iter().map(|row| Setting { did: Did::Cannot("this bucket is only in memory".into()), ..row }));
        Ok(rows)
    }

    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>> {
        self.shared.count(Class::Delete);
        fence::check(&self.location)?;
        let (now, locks) = (self.shared.now(), self.shared.options().locks);
        let mut bucket = self.shared.bucket();
        let mut refused = Vec::new();
        for (path, id) in versions {
            let key = self.shared.key(&path);
            let held = bucket.held.contains(&key);
            let Some(all) = bucket.objects.get_mut(&key) else { continue };
            if all.iter().any(|version| version.id.as_deref() == Some(&id) && (held || version.held(locks).holds(now))) {
                let error = Error::new(ErrorKind::Denied, self.location.at(path.as_ref()), "it is locked");
                refused.push(Refused { path, version: id, error });
                continue;
            }
            all.retain(|version| version.id.as_deref() != Some(&id));
            if all.is_empty() {
                bucket.objects.remove(&key);
            }
        }
        Ok(refused)
    }

    async fn restore(&self, path: &Path, version: Option<&str>, etag: Option<&str>, _want: Restore) -> Result<Restoring> {
        self.shared.count(Class::Head);
        let key = self.shared.key(path);
        let mut bucket = self.shared.bucket();
        let found = match version {
            Some(id) => bucket.version(&key, id),
            None => bucket.current(&key),
        };
        let plain = |tag: &str| tag.trim_matches('"').to_owned();
        match found {
            None => return Err(self.refusal(ErrorKind::NotFound, path.as_ref(), "it is not there")),
            Some((there, _)) if etag.is_some_and(|wanted| plain(wanted) != plain(&there.etag)) => {
                return Err(self.refusal(ErrorKind::Precondition, path.as_ref(), "it was replaced"));
            }
            Some(_) => {}
        }
        match bucket.archived.get_mut(&key) {
            None => Ok(Restoring::Readable),
            Some(true) => Ok(Restoring::UnderWay),
            Some(asked) => {
                *asked = true;
                Ok(Restoring::Asked { hours: 5 })
            }
        }
    }

    async fn held(&self, path: &Path, version: Option<&str>) -> Result<Held> {
        self.shared.count(Class::Head);
        let locks = self.shared.options().locks;
        let (bucket, key) = (self.shared.bucket(), self.shared.key(path));
        let found = match version {
            Some(id) => bucket.version(&key, id),
            None => bucket.current(&key),
        };
        let missing = || Error::new(ErrorKind::NotFound, self.location.at(path.as_ref()), "it is not there");
        let by_hand = bucket.held.contains(&key);
        found.map(|(version, _)| Held { by_hand, ..version.held(locks) }).ok_or_else(missing)
    }
}
