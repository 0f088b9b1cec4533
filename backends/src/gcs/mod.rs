//! Google Cloud Storage.
//!
//! Owns [`GcsBackend`] and the data plane's client. `object_store` moves contents over the XML API (`store.rs`).
//! Google's gRPC client makes the requests that `object_store` does not have (`control.rs`, `list.rs`, `init.rs`).
//! Both share one configuration (`settings.rs`), one source of tokens (`tokens.rs`) and one meter (`crate::wire`).
//! Invariants: keys are never encoded again (`Path::parse`, never `Path::from`). Opening a backend sends no request.

mod control;
mod error;
mod init;
mod lifecycle;
mod list;
mod policy;
mod settings;
mod store;
mod tag;
mod tokens;
mod uploads;
mod wire;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutResult};

use self::control::GcsControl;
pub(crate) use self::policy::writer_policy;
pub(crate) use self::settings::KNOWN as SETTINGS;
use self::settings::{GcsSettings, TokenSource};
use self::store::GcsStore;
use self::tokens::Tokens;
use self::uploads::Uploads;
use self::wire::GcsConnector;
use crate::contract::backend::Backend;
use crate::contract::capabilities::Capabilities;
use crate::contract::error::{Error, ErrorKind, Result, chain};
use crate::contract::held::{Held, Refused};
use crate::contract::initialize::{InitMode, Initialize, Setting};
use crate::contract::listing::{Depth, Listed, Scope, Space};
use crate::contract::location::Location;
use crate::contract::meter::Meter;
use crate::wire::client::{client_options, retries};
use crate::wire::probe::Probe;

/// The key to ask for when only the answer's `Date` matters. Most prefixes have it.
const CLOCK_KEY: &str = ".offsite/format.json";

/// A bucket, or a prefix in one.
///
/// Errors name `gs://bucket/prefix/key`, what the server said, and what to do about it. The entity tag of an
/// object is its generation, with the MD5 before it if the store has one. A put answers with a version only
/// if the bucket keeps replaced objects. A put of a record with a condition never does. One request in the
/// life of this value finds out whether the bucket keeps them. It needs `storage.buckets.get`; without that
/// permission no put answers with a version.
pub struct GcsBackend {
    location: Location,
    control: Arc<GcsControl>,
    uploads: Arc<Uploads>,
    store: Arc<GcsStore>,
}

impl GcsBackend {
    /// Opens a bucket by its URL. Settings in the query: `endpoint` (an emulator or a private endpoint),
    /// `control_endpoint` (the same for gRPC; default: `endpoint`), `credentials` (a file), `anonymous`
    /// (`true`), `project` (in which a bucket is created). All other settings come from Google's own
    /// variables and files. Sends no request and reads no credential.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a setting, bucket name or prefix that is not valid.
    pub fn open(location: Location) -> Result<Self> {
        let prefix = location.prefix()?;
        let settings = GcsSettings::load(&location)?;
        let tokens = Arc::new(Tokens::new(settings.source.clone()));
        let probe = Arc::new(Probe::default());
        let connector = || GcsConnector { probe: probe.clone(), anonymous: settings.source == TokenSource::Anonymous };
        let bad = |error: object_store::Error| Error::new(ErrorKind::Invalid, &location, chain(&error));
        let plain = data_plane(&settings, &tokens, connector()).map_err(bad)?;
        let served = location.clone().served_by(&settings.endpoint);
        let control = Arc::new(GcsControl::new(location.clone(), settings.clone(), prefix.clone(), tokens, probe.clone()));
        let uploads = Arc::new(Uploads::new(control.clone(), &connector()).map_err(bad)?);
        let store = Arc::new(GcsStore::new(PrefixStore::new(plain, prefix), control.clone()));
        Ok(Self { location: served, control, uploads, store })
    }
}

/// Shows only the location: the `Debug` texts of the libraries may contain credentials.
impl fmt::Debug for GcsBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GcsBackend({})", self.location)
    }
}

fn data_plane(settings: &GcsSettings, tokens: &Arc<Tokens>, connector: GcsConnector) -> object_store::Result<GoogleCloudStorage> {
    GoogleCloudStorageBuilder::new()
        .with_bucket_name(&settings.bucket)
        .with_base_url(&settings.endpoint)
        .with_credentials(tokens.clone())
        .with_skip_signature(connector.anonymous)
        .with_retry(retries())
        .with_client_options(client_options(settings.is_https()))
        .with_http_connector(connector)
        .build()
}

#[async_trait]
impl Backend for GcsBackend {
    fn location(&self) -> &Location {
        &self.location
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { checksum: Some("crc32c"), ..Capabilities::BUCKET }
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        self.store.clone()
    }

    fn multipart(&self) -> Option<Arc<dyn MultipartStore>> {
        Some(self.store.clone())
    }

    fn meter(&self) -> &Meter {
        &self.control.probe.meter
    }

    fn error(&self, key: &str, error: &object_store::Error) -> Error {
        error::from_store(&self.location, key, error)
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        if let Some(now) = self.meter().clock() {
            return Ok(now);
        }
        // Every answer tells the time, even a refusal.
        let key = Path::parse(CLOCK_KEY).map_err(|error| Error::invalid(&self.location, error))?;
        let answer = self.store.head(&key).await;
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

    async fn keeps_versions(&self) -> Result<bool> {
        self.control.keeps_versions().await
    }

    async fn copy_exact(&self, from: &Path, to: &Path, _size: u64, etag: Option<&str>, over: PutMode) -> Result<PutResult> {
        self.control.copy(from, to, etag, &over).await
    }

    fn list(&self, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>> {
        list::list(self.control.clone(), self.uploads.clone(), scope, depth)
    }

    /// A bucket has no size limit.
    async fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }

    async fn initialize(&self, want: &Initialize, mode: InitMode) -> Result<Vec<Setting>> {
        Ok(init::initialize(&self.control, want, mode).await)
    }

    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>> {
        self.control.delete_versions(versions).await
    }

    async fn held(&self, path: &Path, version: Option<&str>) -> Result<Held> {
        self.control.held(path, version).await
    }
}
