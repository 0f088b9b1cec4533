//! The control plane: the vendor's SDK for what the data plane cannot say.
//!
//! Owns the SDK's client. Not the data plane, nor what is asked of the client (`copy.rs`, `list.rs`, `versions.rs`, …).
//! Invariant: every request the SDK sends is counted in the same meter as the data plane's.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Config, IdentityCache, ProvideCredentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
};
use object_store::path::Path;

use super::answers::Learned;
use super::credentials::Chain;
use super::requests::{Again, Counter, Md5, Payer};
use super::settings::S3Settings;
use crate::contract::location::Location;
use crate::wire::probe::Probe;

/// The SDK's client with what it needs to name things.
#[derive(Clone)]
pub(super) struct S3Control {
    pub client: Client,
    pub location: Location,
    pub bucket: String,
    pub prefix: Path,
}

impl S3Control {
    pub(super) fn new(
        location: &Location,
        prefix: &Path,
        settings: &S3Settings,
        chain: &Arc<Chain>,
        probe: &Arc<Probe>,
        learned: &Arc<Learned>,
    ) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(10))
            // A copy of gigabytes answers only when it is done.
            .read_timeout(Duration::from_secs(900))
            .build();
        let mut config = aws_sdk_s3::config::Builder::from(&settings.sdk)
            .region(Region::new(settings.region.clone()))
            .force_path_style(settings.path_style)
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(8)
                    .with_initial_backoff(Duration::from_millis(100))
                    .with_max_backoff(Duration::from_secs(10)),
            )
            .timeout_config(timeouts)
            // Servers that are not AWS's often do not know the trailing checksums of newer SDKs.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .retry_classifier(Again)
            .interceptor(Md5)
            .interceptor(Counter { probe: probe.clone(), learned: learned.clone() });
        if settings.requester_pays {
            config = config.interceptor(Payer);
        }
        if let Some(endpoint) = &settings.endpoint {
            config = config.endpoint_url(endpoint.as_str().trim_end_matches('/'));
        }
        config = if settings.anonymous {
            config.allow_no_auth()
        } else {
            let provider: Arc<dyn ProvideCredentials> = chain.clone();
            // The chain keeps its answer itself, for both planes.
            config.credentials_provider(SharedCredentialsProvider::new(provider)).identity_cache(IdentityCache::no_cache())
        };
        let config: Config = config.build();
        Self { client: Client::from_conf(config), location: location.clone(), bucket: settings.bucket.clone(), prefix: prefix.clone() }
    }

    /// The same, asking another region.
    pub(super) fn in_region(&self, region: &str) -> Self {
        let config = self.client.config().to_builder().region(Region::new(region.to_owned())).build();
        Self { client: Client::from_conf(config), ..self.clone() }
    }

    /// The whole key of a path under the prefix.
    pub(super) fn key(&self, path: &Path) -> String {
        match (self.prefix.as_ref(), path.as_ref()) {
            ("", path) => path.to_owned(),
            (prefix, path) => format!("{prefix}/{path}"),
        }
    }
}

/// A version that lasts. `null` is the one of buckets whose versioning is off or suspended: the next
/// write replaces it.
pub(super) fn version(id: Option<&str>) -> Option<String> {
    id.filter(|id| !id.is_empty() && *id != "null").map(str::to_owned)
}
