//! Amazon S3 and servers that speak its protocol.
//!
//! Owns [`S3Backend`] and the data plane's client. `object_store` moves contents. AWS's SDK makes the requests that
//! `object_store` does not have (`control.rs`, `list.rs`). Both share one configuration (`settings.rs`), one set of
//! credentials (`credentials.rs`) and one meter (`crate::wire`).
//! Invariants: keys are never encoded again (`Path::parse`, never `Path::from`). Opening a backend sends no request
//! to the bucket.

mod answers;
mod archive;
mod control;
mod copy;
mod credentials;
mod encryption;
mod error;
mod init;
mod lifecycle;
mod list;
mod over;
mod planes;
mod policy;
mod requests;
mod settings;
mod shown;
mod store;
mod through;
mod versions;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStore, ObjectStoreExt, PutMode, PutResult};

use self::control::S3Control;
use self::copy::CopyLimits;
use self::error::SdkRefusal;
use self::planes::Planes;
pub(crate) use self::policy::writer_policy;
pub(crate) use self::settings::KNOWN as SETTINGS;
use self::settings::S3Settings;
use self::store::S3Store;
use crate::contract::archive::{Restore, Restoring};
use crate::contract::backend::{Backend, Stretch};
use crate::contract::capabilities::Capabilities;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::held::{Held, Refused};
use crate::contract::initialize::{InitMode, Initialize, Setting};
use crate::contract::listing::{Depth, Listed, Scope, Space};
use crate::contract::location::Location;
use crate::contract::meter::Meter;
use crate::contract::missing_features::MissingFeature;
use crate::wire::probe::Probe;

const GIB: u64 = 1 << 30;

/// The key to ask for when only the answer's `Date` matters. Most prefixes have it.
const CLOCK_KEY: &str = ".offsite/format.json";

/// A bucket, or a prefix in one.
///
/// Errors name `s3://bucket/prefix/key`, what the server said, and what to do about it.
pub struct S3Backend {
    location: Location,
    planes: Arc<Planes>,
    copy: CopyLimits,
}

impl S3Backend {
    /// Opens a bucket by its URL. Settings in the query: `endpoint`, `region`, `profile`, `path_style`
    /// (`true`/`false`), `checksum` (`sha256`, `crc64nvme`, `none`; default `sha256`), `anonymous` and
    /// `requester_pays` (`true`). All other settings come from AWS's own variables and files. Sends no
    /// request to the bucket and reads no credential.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a setting, bucket name or prefix that is not valid.
    pub async fn open(location: Location) -> Result<Self> {
        let prefix = location.prefix()?;
        let settings = S3Settings::load(&location).await?;
        let shown = location.served_by(settings.endpoint.as_ref().map_or("", |url| url.as_str()));
        let planes = Planes::new(shown.clone(), prefix, settings, Arc::new(Probe::default()))?;
        Ok(Self { location: shown, planes: Arc::new(planes), copy: CopyLimits { whole: 5 * GIB, part: GIB } })
    }

    /// Sets the size above which a copy is made in parts (default: S3's own 5 GiB) and the size of those
    /// parts (default: 1 GiB), both in bytes. For servers with other limits, and for tests.
    #[must_use]
    pub fn with_copy_limits(mut self, whole: u64, part: u64) -> Self {
        self.copy = CopyLimits { whole, part: part.max(1) };
        self
    }

    /// Makes one call of the control plane, in the region where the bucket is.
    async fn go<T, E, F>(&self, call: impl Fn(S3Control) -> F + Send + Sync) -> std::result::Result<T, E>
    where
        F: Future<Output = std::result::Result<T, E>> + Send,
    {
        loop {
            let plane = self.planes.current();
            match call(self.planes.control(&plane)).await {
                Err(_) if self.planes.follow(&plane) => {}
                done => return done,
            }
        }
    }
}

/// Shows only the location: the `Debug` texts of the libraries may contain credentials.
impl fmt::Debug for S3Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Backend({})", self.location)
    }
}

#[async_trait]
impl Backend for S3Backend {
    fn location(&self) -> &Location {
        &self.location
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { checksum: Some("sha256 or crc64nvme"), part_copies: true, ..Capabilities::BUCKET }
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(S3Store(self.planes.clone()))
    }

    fn multipart(&self) -> Option<Arc<dyn MultipartStore>> {
        Some(Arc::new(S3Store(self.planes.clone())))
    }

    fn meter(&self) -> &Meter {
        &self.planes.probe.meter
    }

    fn error(&self, key: &str, error: &object_store::Error) -> Error {
        error::from_store(&self.location, key, error)
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        if let Some(now) = self.meter().clock() {
            return Ok(now);
        }
        // Every answer tells the time, even a refusal.
        let answer = S3Store(self.planes.clone()).head(&parse_key(&self.location, CLOCK_KEY)?).await;
        match (self.meter().clock(), answer) {
            (Some(now), _) => Ok(now),
            (None, Err(error)) => Err(self.error(CLOCK_KEY, &error)),
            (None, Ok(_)) => {
                Err(Error::new(ErrorKind::Unsupported, &self.location, "the server's responses have no Date, so its clock is unknown"))
            }
        }
    }

    /// Sends nothing: if the bucket does not exist, the first write fails and says so.
    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn copy_exact(&self, from: &Path, to: &Path, size: u64, etag: Option<&str>, over: PutMode) -> Result<PutResult> {
        let missing = &self.planes.learned.missing;
        if !missing.has(MissingFeature::Copies) {
            let copy = |over: PutMode| async move {
                let over = &over;
                self.go(|control| async move { control.copy(from, to, size, etag, over, self.copy).await }).await
            };
            match over::with_condition(missing, MissingFeature::CopyConditions, over.clone(), copy).await.map_err(SdkRefusal::into_error) {
                Err(error) if error.kind == ErrorKind::Unsupported => {}
                done => return done,
            }
        }
        let done = through::copy(&self.location, &S3Store(self.planes.clone()), from, to, etag, over).await?;
        missing.note(MissingFeature::Copies);
        Ok(done)
    }

    async fn complete_upload(&self, to: &Path, id: &MultipartId, parts: Vec<PartId>, over: PutMode) -> object_store::Result<PutResult> {
        S3Store(self.planes.clone()).complete(to, id, parts, over).await
    }

    async fn copy_part(&self, to: &Path, id: &MultipartId, index: usize, from: &Stretch<'_>) -> Result<PartId> {
        let learned = &self.planes.learned;
        if learned.missing.has(MissingFeature::Copies) || learned.no_part_copies.load(Relaxed) {
            return Err(Error::new(ErrorKind::Unsupported, self.location.at(to.as_ref()), "the server cannot copy parts of objects"));
        }
        let copied = self.go(|control| async move { control.copy_part(to, id, index, from).await }).await;
        if copied.as_ref().is_err_and(SdkRefusal::is_not_implemented) {
            learned.no_part_copies.store(true, Relaxed);
        }
        copied.map_err(SdkRefusal::into_error)
    }

    fn missing_features(&self) -> Vec<MissingFeature> {
        self.planes.learned.missing.list()
    }

    fn assume_missing(&self, missing: &[MissingFeature]) {
        missing.iter().for_each(|feature| self.planes.assume_missing(*feature));
    }

    fn list(&self, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>> {
        list::list(self.planes.clone(), scope, depth)
    }

    /// A bucket has no size limit.
    async fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }

    async fn initialize(&self, want: &Initialize, mode: InitMode) -> Result<Vec<Setting>> {
        let plane = self.planes.current();
        let control = match &want.region {
            // If the bucket must be created in another region, the request is sent to that region.
            Some(region) if *region != plane.settings().region => self.planes.control(&plane).in_region(region),
            _ => self.planes.control(&plane),
        };
        let rows = init::initialize(&control, want, mode).await;
        // The bucket is in another region, so nothing was changed: repeat everything there.
        match self.planes.follow(&plane) {
            true => Ok(init::initialize(&self.planes.control(&self.planes.current()), want, mode).await),
            false => Ok(rows),
        }
    }

    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>> {
        let single = self.planes.learned.missing.has(MissingFeature::BulkDelete);
        if !single {
            let versions = &versions;
            match self.go(|control| async move { control.delete_versions(versions).await }).await {
                Err(error) if error.kind == ErrorKind::Unsupported => {}
                done => return done,
            }
        }
        let versions = &versions;
        let done = self.go(|control| async move { control.delete_each_version(versions).await }).await?;
        self.planes.assume_missing(MissingFeature::BulkDelete);
        Ok(done)
    }

    async fn held(&self, path: &Path, version: Option<&str>) -> Result<Held> {
        self.go(|control| async move { control.held(path, version).await }).await
    }

    async fn restore(&self, path: &Path, version: Option<&str>, etag: Option<&str>, want: Restore) -> Result<Restoring> {
        self.go(|control| async move { control.restore(path, version, etag, want).await }).await
    }
}

fn parse_key(location: &Location, key: &str) -> Result<Path> {
    Path::parse(key).map_err(|error| Error::invalid(location, error))
}
