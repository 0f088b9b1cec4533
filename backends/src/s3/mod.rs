//! Amazon S3 and what speaks its language.
//!
//! Owns [`S3Backend`] and the data plane's client. Contents go through `object_store`; what that
//! cannot say goes through AWS's SDK (`control.rs`, `list.rs`). Both share one configuration
//! (`settings.rs`), one set of credentials (`credentials.rs`) and one meter (`wire.rs`).
//! Invariants: keys are never re-encoded (`Path::parse`, never `Path::from`); opening sends nothing.

mod archive;
mod control;
mod credentials;
mod error;
mod init;
mod lifecycle;
mod list;
mod settings;
mod versions;
mod wire;

use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutResult};

use self::control::{Control, CopyLimits};
use self::credentials::Chain;
pub(crate) use self::error::Refusal;
use self::settings::Settings;
use crate::initialize::{Mode, Setting};
use crate::wire::{MeteredConnector, Probe, client_options, retries};
use crate::{
    Backend, Capabilities, Depth, Error, ErrorKind, Held, Initialize, Listed, Location, Meter, Refused, Restore, Restoring, Result, Scope,
    Space,
};

const GIB: u64 = 1 << 30;

/// What is asked for when only the answer's `Date` matters; it lies in most prefixes.
const CLOCK_KEY: &str = ".offsite/format.json";

/// A bucket, or a prefix in one.
///
/// Errors name `s3://bucket/prefix/key`, what the server said, and what to do about it.
pub struct S3Backend {
    location: Location,
    prefix: Path,
    settings: Settings,
    chain: Arc<Chain>,
    probe: Arc<Probe>,
    store: Arc<PrefixStore<AmazonS3>>,
    control: OnceLock<Control>,
    copy: CopyLimits,
}

impl S3Backend {
    /// Opens a bucket by its URL. Settings in the query: `endpoint`, `region`, `profile`,
    /// `path_style` (`true`/`false`), `checksum` (`sha256`, `crc64nvme`, `none`; default `sha256`),
    /// `anonymous` (`true`); all else comes from AWS's own variables and files. Sends no request to
    /// the bucket and reads no credential.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a setting, bucket name or prefix that cannot be.
    pub async fn open(location: Location) -> Result<Self> {
        let prefix = location.prefix()?;
        let settings = Settings::load(&location).await?;
        let chain = Arc::new(Chain::new(settings.sdk.credentials_provider()));
        let probe = Arc::new(Probe::default());
        let plain = data_plane(&settings, &chain, &probe)
            .map_err(|error| Error::new(ErrorKind::Invalid, &location, crate::error::chain(&error)))?;
        let store = Arc::new(PrefixStore::new(plain, prefix.clone()));
        let copy = CopyLimits { whole: 5 * GIB, part: GIB };
        let location = location.served_by(settings.endpoint.as_ref().map_or("", |url| url.as_str()));
        Ok(Self { location, prefix, settings, chain, probe, store, control: OnceLock::new(), copy })
    }

    /// Copies in parts from another size on than S3's own 5 GiB, with parts of another size than
    /// 1 GiB; both in bytes. For servers with other limits, and for tests.
    #[must_use]
    pub fn with_copy_limits(mut self, whole: u64, part: u64) -> Self {
        self.copy = CopyLimits { whole, part: part.max(1) };
        self
    }

    /// The SDK's client, made when it is first needed: many runs never do.
    fn control(&self) -> &Control {
        self.control.get_or_init(|| Control::new(&self.location, &self.prefix, &self.settings, &self.chain, &self.probe))
    }
}

/// The place only: the libraries' own texts are not sure to leave credentials out.
impl fmt::Debug for S3Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Backend({})", self.location)
    }
}

fn data_plane(settings: &Settings, chain: &Arc<Chain>, probe: &Arc<Probe>) -> object_store::Result<AmazonS3> {
    let https = settings.is_https();
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&settings.bucket)
        .with_region(&settings.region)
        // The bucket's whole URL: the builder would get China, FIPS and dual-stack hosts wrong.
        .with_endpoint(settings.bucket_url())
        .with_virtual_hosted_style_request(true)
        .with_skip_signature(settings.anonymous)
        .with_credentials(chain.clone())
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // TLS keeps the content whole and secret on its way; the checksum is sent all the same.
        .with_unsigned_payload(https)
        .with_retry(retries())
        .with_client_options(client_options(https))
        .with_http_connector(MeteredConnector(probe.clone(), wire::DIALECT));
    if let Some(checksum) = settings.checksum {
        builder = builder.with_checksum_algorithm(checksum);
    }
    builder.build()
}

#[async_trait]
impl Backend for S3Backend {
    fn location(&self) -> &Location {
        &self.location
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            create_only: true,
            compare_and_swap: true,
            server_copy: true,
            any_name: false,
            max_key: 1024,
            min_part: 5 << 20,
            max_parts: 10_000,
            max_object: 5 * 1024 * GIB,
            transfers: 64,
            versions: true,
            checksum: Some("sha256 or crc64nvme"),
            control: true,
        }
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        self.store.clone()
    }

    fn multipart(&self) -> Option<Arc<dyn MultipartStore>> {
        Some(self.store.clone())
    }

    fn meter(&self) -> &Meter {
        &self.probe.meter
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        if let Some(now) = self.meter().clock() {
            return Ok(now);
        }
        // Any answer tells the time, a refusal too.
        let answer = self.store.head(&parse_key(&self.location, CLOCK_KEY)?).await;
        match (self.meter().clock(), answer) {
            (Some(now), _) => Ok(now),
            (None, Err(error)) => Err(Error::from_store(&self.location, CLOCK_KEY, &error)),
            (None, Ok(_)) => {
                Err(Error::new(ErrorKind::Unsupported, &self.location, "the server's answers carry no Date, so its clock is unknown"))
            }
        }
    }

    /// Sends nothing: the first write to a bucket that is not there says so.
    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn copy_exact(&self, from: &Path, to: &Path, size: u64, etag: Option<&str>) -> Result<PutResult> {
        self.control().copy(from, to, size, etag, self.copy).await
    }

    fn list(&self, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>> {
        list::list(self.control().clone(), scope, depth)
    }

    /// A bucket has no end.
    async fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }

    async fn initialize(&self, want: &Initialize, mode: Mode) -> Result<Vec<Setting>> {
        let control = match &want.region {
            // Where a bucket is to be made, the request must go there too.
            Some(region) if *region != self.settings.region => self.control().in_region(region),
            _ => self.control().clone(),
        };
        Ok(init::initialize(&control, want, mode).await)
    }

    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>> {
        self.control().delete_versions(versions).await
    }

    async fn held(&self, path: &Path, version: Option<&str>) -> Result<Held> {
        self.control().held(path, version).await
    }

    async fn restore(&self, path: &Path, version: Option<&str>, etag: Option<&str>, want: Restore) -> Result<Restoring> {
        self.control().restore(path, version, etag, want).await
    }
}

fn parse_key(location: &Location, key: &str) -> Result<Path> {
    Path::parse(key).map_err(|error| Error::invalid(location, error))
}
