//! The clients of a bucket, and the change from one to another.
//!
//! Owns how requests are sent to the bucket: in which region, with which checksum, with or without bulk deletes. If
//! the server's answers show that another way works better, a new plane is made and used from then on. Invariants: a
//! plane keeps one way for its whole life. A plane that did not work better is never adopted. The number of followed
//! redirects is limited.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::prefix::PrefixStore;

use super::answers::{Learned, S3Connector};
use super::control::S3Control;
use super::credentials::Chain;
use super::settings::S3Settings;
use crate::contract::error::{Error, ErrorKind, Result, chain};
use crate::contract::location::Location;
use crate::contract::missing_features::MissingFeature;
use crate::wire::client::{client_options, retries};
use crate::wire::probe::Probe;

/// Most moves to another region in the life of a backend. One move is usual; two servers that name each other
/// are not.
const MOVES: u8 = 3;

/// How requests are sent to a bucket.
#[derive(Clone)]
struct Ways {
    settings: S3Settings,
    bulk_delete: bool,
}

/// The clients of both planes for one way.
pub(super) struct Plane {
    ways: Ways,
    pub store: PrefixStore<AmazonS3>,
    control: OnceLock<S3Control>,
}

/// The plane in use, and what is needed to make another.
pub(super) struct Planes {
    pub location: Location,
    prefix: Path,
    chain: Arc<Chain>,
    pub probe: Arc<Probe>,
    pub learned: Arc<Learned>,
    current: RwLock<Arc<Plane>>,
    moves: AtomicU8,
}

impl Planes {
    /// # Errors
    /// [`ErrorKind::Invalid`] for settings with which no client can be made.
    pub(super) fn new(location: Location, prefix: Path, settings: S3Settings, probe: Arc<Probe>) -> Result<Self> {
        let chain = Arc::new(Chain::new(settings.sdk.credentials_provider()));
        let learned = Arc::new(Learned::default());
        let plane = plane(&location, &prefix, Ways { settings, bulk_delete: true }, &chain, &probe, &learned)?;
        let current = RwLock::new(Arc::new(plane));
        Ok(Self { location, prefix, chain, probe, learned, current, moves: AtomicU8::new(0) })
    }

    /// The plane to use now.
    pub(super) fn current(&self) -> Arc<Plane> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The SDK's client. It is made when it is first needed, because many runs never need it.
    pub(super) fn control(&self, plane: &Plane) -> S3Control {
        let make = || S3Control::new(&self.location, &self.prefix, &plane.ways.settings, &self.chain, &self.probe, &self.learned);
        plane.control.get_or_init(make).clone()
    }

    /// Called after a request over `failed` was refused. Returns true if another plane may succeed, because
    /// the server named another region for the bucket.
    pub(super) fn follow(&self, failed: &Arc<Plane>) -> bool {
        let now = self.current();
        if now.ways.settings.region != failed.ways.settings.region {
            return true;
        }
        let Some(region) = self.learned.region().filter(|region| *region != now.ways.settings.region) else { return false };
        if self.moves.fetch_add(1, Relaxed) >= MOVES {
            return false;
        }
        let settings = S3Settings { region, ..now.ways.settings.clone() };
        self.make(Ways { settings, ..now.ways.clone() }).is_some_and(|plane| {
            self.adopt(plane);
            true
        })
    }

    /// A plane without checksums for the same bucket; none if the current one has none.
    pub(super) fn without_checksums(&self) -> Option<Arc<Plane>> {
        let ways = self.current().ways.clone();
        ways.settings.checksum?;
        self.make(Ways { settings: S3Settings { checksum: None, ..ways.settings }, ..ways })
    }

    /// A plane with one request for each deletion for the same bucket; none if the current one works that
    /// way.
    pub(super) fn with_single_deletes(&self) -> Option<Arc<Plane>> {
        let ways = self.current().ways.clone();
        ways.bulk_delete.then_some(())?;
        self.make(Ways { bulk_delete: false, ..ways })
    }

    /// Uses `plane` from now on: it succeeded where the plane before it was refused.
    pub(super) fn adopt_for(&self, feature: MissingFeature, plane: Arc<Plane>) {
        self.learned.missing.note(feature);
        self.adopt(plane);
    }

    /// Trusts an earlier run about what the store does not do.
    pub(super) fn assume_missing(&self, feature: MissingFeature) {
        let other = match feature {
            MissingFeature::Checksums => self.without_checksums(),
            MissingFeature::BulkDelete => self.with_single_deletes(),
            MissingFeature::Ranges | MissingFeature::Copies | MissingFeature::CopyConditions | MissingFeature::UploadConditions => None,
        };
        self.learned.missing.note(feature);
        if let Some(plane) = other {
            self.adopt(plane);
        }
    }

    fn adopt(&self, plane: Arc<Plane>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = plane;
    }

    fn make(&self, ways: Ways) -> Option<Arc<Plane>> {
        plane(&self.location, &self.prefix, ways, &self.chain, &self.probe, &self.learned).ok().map(Arc::new)
    }
}

impl Plane {
    /// The settings in force.
    pub(super) fn settings(&self) -> &S3Settings {
        &self.ways.settings
    }
}

fn plane(location: &Location, prefix: &Path, ways: Ways, chain_: &Arc<Chain>, probe: &Arc<Probe>, learned: &Arc<Learned>) -> Result<Plane> {
    let store = data_plane(
        &ways,
        chain_,
        S3Connector { probe: probe.clone(), learned: learned.clone(), authorities: ways.settings.authorities.clone() },
    )
    .map_err(|error| Error::new(ErrorKind::Invalid, location, chain(&error)))?;
    Ok(Plane { ways, store: PrefixStore::new(store, prefix.clone()), control: OnceLock::new() })
}

fn data_plane(ways: &Ways, chain: &Arc<Chain>, connector: S3Connector) -> object_store::Result<AmazonS3> {
    let settings = &ways.settings;
    let https = settings.is_https();
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&settings.bucket)
        .with_region(&settings.region)
        // Pass the bucket's whole URL: the builder would get China, FIPS and dual-stack hosts wrong.
        .with_endpoint(settings.bucket_url())
        .with_virtual_hosted_style_request(true)
        .with_skip_signature(settings.anonymous)
        .with_credentials(chain.clone())
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_disable_bulk_delete(!ways.bulk_delete)
        .with_request_payer(settings.requester_pays)
        // TLS protects the content in transit. The checksum is still sent.
        .with_unsigned_payload(https)
        .with_retry(retries())
        .with_client_options(client_options(https))
        .with_http_connector(connector);
    if let Some(checksum) = settings.checksum {
        builder = builder.with_checksum_algorithm(checksum);
    }
    builder.build()
}
