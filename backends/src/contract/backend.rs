//! The interface between the engine and a destination, whatever its store is.
//!
//! Owns [`Backend`]. Knows no store: each store's folder implements it. Invariant: [`Capabilities`] says what differs
//! between stores, and no caller tests the scheme.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use md5::Digest;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStore, ObjectStoreExt, PutMode, PutResult};

use crate::contract::archive::{Restore, Restoring};
use crate::contract::capabilities::Capabilities;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::fence;
use crate::contract::held::{Held, Refused};
use crate::contract::initialize::{InitMode, Initialize, Setting};
use crate::contract::listing::{Depth, Listed, Scope, Space};
use crate::contract::location::Location;
use crate::contract::meter::Meter;
use crate::contract::missing_features::MissingFeature;
use crate::contract::tree::Tree;

/// A stretch of an object that exists.
#[derive(Debug, Clone)]
pub struct Stretch<'a> {
    /// The object.
    pub from: &'a Path,
    /// Its entity tag, with or without quotes. Only this content is meant.
    pub etag: &'a str,
    /// Where it begins, in bytes from 0.
    pub start: u64,
    /// The bytes that must be there.
    pub bytes: Bytes,
}

impl Stretch<'_> {
    /// Its place in the object, in bytes.
    pub fn range(&self) -> Range<u64> {
        self.start..self.start + self.bytes.len() as u64
    }

    /// The digest of its bytes. Blocks a thread of its own.
    pub(crate) async fn digest<D: Digest>(&self) -> Vec<u8> {
        let bytes = self.bytes.clone();
        tokio::task::spawn_blocking(move || D::digest(&bytes).to_vec()).await.unwrap_or_default()
    }

    /// The answer if nothing proves that the right bytes were copied.
    pub(crate) fn unproved(&self, location: &Location) -> Error {
        let why = "nothing in the server's answer proves that the right bytes were copied";
        Error::new(ErrorKind::Precondition, location.at(self.from.as_ref()), why)
    }
}

/// One destination: a data plane, and everything that the data plane cannot express.
///
/// Several tasks may call any method at once. Errors contain the URL and never a credential.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Scheme, bucket and prefix; safe to print.
    fn location(&self) -> &Location;

    /// What this store can do; constant for the life of the value.
    fn capabilities(&self) -> Capabilities;

    /// The data plane, rooted at the prefix. Puts are atomic: a reader sees the old object or the new one. A
    /// create-only put that was retried may answer `AlreadyExists` because its own first try succeeded. Compare the
    /// object before you trust that answer.
    fn store(&self) -> Arc<dyn ObjectStore>;

    /// Uploads in parts that another process can resume, rooted at the prefix; `None` where the store has no such
    /// uploads.
    fn multipart(&self) -> Option<Arc<dyn MultipartStore>>;

    /// Requests and bytes so far. A store on a network counts on the wire, so that retries are included.
    fn meter(&self) -> &Meter;

    /// Translates an error of the data plane about the object at `key`: its kind, its reach, and what to do. If a
    /// server says more than the kinds of `object_store` can express, its store reads that here. All other stores use
    /// [`Error::from_store`].
    fn error(&self, key: &str, error: &object_store::Error) -> Error;

    /// Nanoseconds since this machine started, sleep included (`CLOCK_BOOTTIME`). A lease expires by this clock here.
    /// Only tests advance it.
    fn boot_clock(&self) -> u64 {
        fence::boot_clock()
    }

    /// The time in UTC by the store's clock. Costs at most one request.
    async fn now(&self) -> Result<DateTime<Utc>>;

    /// Prepares the destination for its first write: a directory is created with its parents, a bucket must exist.
    /// Idempotent.
    async fn prepare(&self) -> Result<()>;

    /// Whether an object that is replaced or deleted from now on stays readable by the version id that its put
    /// answered. Most stores that keep versions do so for good. If a bucket setting can revoke this, the method asks
    /// the store, with at most one request in the life of the value.
    async fn keeps_versions(&self) -> Result<bool> {
        Ok(true)
    }

    /// Copies one object on the server, replacing `to`. With `etag`, only exactly that content is copied, even if it
    /// was replaced and is kept as a version. If that content no longer exists, the answer is
    /// [`ErrorKind::Precondition`]; without any source it is [`ErrorKind::NotFound`]. `size` is the size in bytes that
    /// the manifest has, so that large objects can be copied in parts. Atomic: `to` is the old object or the whole new
    /// one.
    ///
    /// `over` says what may be at `to`. If something else is there, a store that can compare (S3, GCS) answers
    /// [`ErrorKind::Precondition`] or [`ErrorKind::Exists`] and leaves it unchanged. All other stores replace any
    /// object.
    async fn copy_exact(&self, from: &Path, to: &Path, size: u64, etag: Option<&str>, over: PutMode) -> Result<PutResult>;

    /// Completes an upload in parts: `to` becomes the content of the parts, in order. Atomic. `over` says what may be
    /// at `to`. If something else is there, a store that can compare (S3) refuses with `Precondition`, `AlreadyExists`
    /// or `NotFound`, and the upload stays. All other stores replace any object.
    async fn complete_upload(&self, to: &Path, id: &MultipartId, parts: Vec<PartId>, over: PutMode) -> object_store::Result<PutResult> {
        let _ = over;
        match self.multipart() {
            Some(store) => store.complete_multipart(to, id, parts).await,
            None => Err(object_store::Error::NotSupported { source: "this store has no uploads in parts".into() }),
        }
    }

    /// Makes a stretch of an object that exists the part `index` (from 0 on) of an upload, without moving content through
    /// this machine. Only exactly the content with the tag of `from` is copied. Nothing that a reader sees changes. The
    /// id is one for [`complete_upload`](Self::complete_upload), as the id of a part that was sent. It is answered only if
    /// the store has proved by a digest that the part has the bytes of `from`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the store has no such copies; see [`Capabilities::part_copies`].
    /// [`ErrorKind::Precondition`] or [`ErrorKind::NotFound`] if that content is no longer there, and
    /// [`ErrorKind::Precondition`] if nothing proves that the right bytes were copied. After any error the part can still
    /// be sent.
    async fn copy_part(&self, to: &Path, _id: &MultipartId, _index: usize, _from: &Stretch<'_>) -> Result<PartId> {
        Err(Error::new(ErrorKind::Unsupported, self.location().at(to.as_ref()), "this store cannot copy parts of objects"))
    }

    /// The features that the store turned out to lack so far, in a fixed order. The backend works around each of them
    /// already.
    fn missing_features(&self) -> Vec<MissingFeature> {
        Vec::new()
    }

    /// Assumes what an earlier run found, which saves the requests that the store would refuse. Sends
    /// nothing.
    fn assume_missing(&self, missing: &[MissingFeature]) {
        let _ = missing;
    }

    /// From now on this program deletes nothing here: the credentials may lack the right (`append_only`). Sends
    /// nothing. Only a backend that is opened for a run ([`crate::Fenced`]) enforces it; a store notes it if it has to
    /// work in another way then.
    fn assume_append_only(&self) {}

    /// Whether [`assume_append_only`](Self::assume_append_only) was called.
    fn is_append_only(&self) -> bool {
        false
    }

    /// Whether this program may remove a name. In append-only mode it may not, unless to delete is to hide.
    fn deletes(&self) -> bool {
        !self.is_append_only() || self.capabilities().hides
    }

    /// Lists objects with raw keys, in the order of the store. Callers must not rely on that order. The stream ends in
    /// an error or is complete. Costs one LIST a page. Unfinished uploads, where `depth` includes them, are listed by
    /// requests of their own. If only those cannot be listed, the error comes last and begins with
    /// [`crate::usage::NO_UPLOADS`].
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::TryStreamExt;
    /// use offsite_backends::{Depth, Scope};
    ///
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let dir = tempfile::tempdir()?;
    /// # std::fs::write(dir.path().join("index.html"), "hello")?;
    /// # std::fs::write(dir.path().join("robots.txt"), "")?;
    /// let backend = offsite_backends::open(&dir.path().display().to_string()).await?;
    /// let mut listing = backend.list(Scope::Prefix, Depth::Current);
    /// let (mut objects, mut bytes) = (0, 0);
    /// while let Some(listed) = listing.try_next().await? {
    ///     objects += 1;
    ///     bytes += listed.size;
    /// }
    /// assert_eq!((objects, bytes), (2, 5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn list(&self, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>>;

    /// Every object under the prefix that a reader sees.
    fn list_keys(&self) -> BoxStream<'static, Result<Listed>> {
        self.list(Scope::Prefix, Depth::Current)
    }

    /// Total and free space; `None` where the store does not know it. Costs at most one request.
    async fn space(&self) -> Result<Option<Space>>;

    /// Sets the store up as declared, or with [`InitMode::Check`] only compares. Idempotent. Merges with rules that
    /// others made and never removes them.
    ///
    /// Answers one row for the bucket or directory itself and one for each declared setting, in a fixed order. A
    /// setting that fails is a row, and does not stop the others. The call fails only if nothing at all can be said.
    ///
    /// # Examples
    ///
    /// ```
    /// use offsite_backends::Initialize;
    /// use offsite_backends::initialize::{Did, InitMode};
    ///
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let dir = tempfile::tempdir()?;
    /// let backend = offsite_backends::open(&dir.path().join("backup").display().to_string()).await?;
    /// let want = Initialize { versioning: Some(true), ..Initialize::default() };
    /// let rows = backend.initialize(&want, InitMode::Make).await?;
    /// assert_eq!((rows[0].name, &rows[0].did), ("directory", &Did::Changed));
    /// // A directory keeps no versions, and the row says so.
    /// assert!(rows[1].name == "versioning" && matches!(rows[1].did, Did::Cannot(_)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    async fn initialize(&self, want: &Initialize, mode: InitMode) -> Result<Vec<Setting>>;

    /// Deletes single versions for good, by key and version id. A version that does not exist is no error. Answers the
    /// versions that the store refused to delete; all others are deleted.
    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>>;

    /// What forbids the deletion of a version, or without `version` of the current one. Costs one request, or two if
    /// the store must be asked for the current version. [`ErrorKind::NotFound`] if the object does not exist.
    async fn held(&self, path: &Path, version: Option<&str>) -> Result<Held> {
        let Some(version) = version else {
            let found = self.store().head(path).await.map_err(|error| self.error(path.as_ref(), &error))?;
            return Ok(Held { version: found.version, ..Held::default() });
        };
        Ok(Held { version: Some(version.to_owned()), ..Held::default() })
    }

    /// Asks the store to make an archived object readable for some days: exactly this version, or the current one if it
    /// has this tag. Costs at most two requests, and what the store charges for the retrieval.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Precondition`] if that object does not exist. [`ErrorKind::Unsupported`]
    /// if the store has no archive that can be asked.
    async fn restore(&self, path: &Path, _version: Option<&str>, _etag: Option<&str>, _want: Restore) -> Result<Restoring> {
        let what = "offsite cannot ask this store's archive; make the object readable with the store's own tools, then run again";
        Err(Error::new(ErrorKind::Unsupported, self.location().at(path.as_ref()), what))
    }

    /// The destination as a real directory tree, where it is one and [`Self::use_objects_only`] was not called.
    fn tree(&self) -> Option<Arc<dyn Tree>> {
        None
    }

    /// Uses a directory as a store of objects like any other: from now on [`Self::tree`] answers `None`. Only
    /// [`crate::Fenced`] can do this. Sends nothing.
    fn use_objects_only(&self) {}
}
