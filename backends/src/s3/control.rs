//! The control plane: AWS's SDK for the requests that `object_store` does not have.
//!
//! Owns the SDK's client. The requests are in `copy.rs`, `list.rs`, `versions.rs` and others.
//! Invariant: every request that the SDK sends is counted in the data plane's meter.

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

/// The SDK's client, with the names that its requests and errors need.
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
            // The server answers a copy of gigabytes only when the copy is done.
            .read_timeout(Duration::from_mins(15))
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
            // Many servers other than AWS's do not know the trailing checksums of newer SDKs.
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
            // The chain caches its answer itself, for both planes.
            config.credentials_provider(SharedCredentialsProvider::new(provider)).identity_cache(IdentityCache::no_cache())
        };
        let config: Config = config.build();
        Self { client: Client::from_conf(config), location: location.clone(), bucket: settings.bucket.clone(), prefix: prefix.clone() }
    }

    /// The same client for another region.
    pub(super) fn in_region(&self, region: &str) -> Self {
        let config = self.client.config().to_builder().region(Region::new(region.to_owned())).build();
        Self { client: Client::from_conf(config), ..self.clone() }
    }

    /// The full key of a path, including the prefix.
    pub(super) fn key(&self, path: &Path) -> String {
        match (self.prefix.as_ref(), path.as_ref()) {
            ("", path) => path.to_owned(),
            (prefix, path) => format!("{prefix}/{path}"),
        }
    }
}

/// A version that lasts. `null` is the version in a bucket whose versioning is off or suspended: the next
/// write replaces it.
pub(super) fn version(id: Option<&str>) -> Option<String> {
    id.filter(|id| !id.is_empty() && *id != "null").map(str::to_owned)
}
