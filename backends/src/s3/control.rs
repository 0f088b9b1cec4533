//! The control plane: the vendor's SDK for what the data plane cannot say.
//!
//! Owns the SDK client and exact copies. Not the data plane, listings and single versions, nor the mapping
//! of errors. Invariants: every request the SDK sends is counted in the same
//! meter as the data plane's; and a listing is complete or ends in an error.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Config, IdentityCache, ProvideCredentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{PutMode, PutResult};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::answers::Learned;
use super::credentials::Chain;
use super::error::{from_sdk, is_collision};
use super::over::{COLLISION_WAIT, COLLISIONS};
use super::requests::{Again, Counter, Md5, Payer};
use super::settings::S3Settings;
use crate::contract::error::Result;
use crate::contract::location::Location;
use crate::wire::probe::Probe;

/// What stands for itself in `x-amz-copy-source`.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Copies of parts in flight; each moves up to [`CopyLimits::part`] on the server.
const COPIES: usize = 8;

/// From which size on a copy is made in parts, and how large the parts are; bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct CopyLimits {
    pub whole: u64,
    pub part: u64,
}

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

    /// Copies on the server; see [`crate::Backend::copy_exact`].
    pub(super) async fn copy(
        &self,
        from: &Path,
        to: &Path,
        size: u64,
        etag: Option<&str>,
        over: &PutMode,
        limits: CopyLimits,
    ) -> Result<PutResult> {
        let source = utf8_percent_encode(&format!("{}/{}", self.bucket, self.key(from)), PLAIN).to_string();
        let etag = etag.map(quoted);
        if size > limits.whole {
            return self.copy_parts(source, from, to, (size, limits.part), etag, over).await;
        }
        let request = self
            .client
            .copy_object()
            .bucket(&self.bucket)
            .key(self.key(to))
            .copy_source(source)
            .set_copy_source_if_match(etag)
            .set_if_none_match(nothing_there(over))
            .set_if_match(this_there(over));
        let mut wait = COLLISION_WAIT;
        let mut tries = 0;
        let answer = loop {
            tries += 1;
            match request.clone().send().await {
                Err(error) if tries < COLLISIONS && is_collision(&error) => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                answer => break answer.map_err(|error| from_sdk(&self.location, from.as_ref(), &error))?,
            }
        };
        let e_tag = answer.copy_object_result().and_then(|result| result.e_tag()).map(quoted);
        Ok(PutResult { e_tag, version: version(answer.version_id()), extensions: Default::default() })
    }

    /// The same for what one request cannot copy. Nothing appears at `to` before the last step.
    async fn copy_parts(
        &self,
        source: String,
        from: &Path,
        to: &Path,
        (size, part): (u64, u64),
        etag: Option<String>,
        over: &PutMode,
    ) -> Result<PutResult> {
        let key = self.key(to);
        let started = self.client.create_multipart_upload().bucket(&self.bucket).key(&key).send().await;
        let started = started.map_err(|error| from_sdk(&self.location, to.as_ref(), &error))?;
        let id = started.upload_id().unwrap_or_default().to_owned();
        let done = async {
            let parts = self.copy_ranges(&source, from, &key, &id, size, etag, part).await?;
            self.client
                .complete_multipart_upload()
                .bucket(&self.bucket)
                .key(&key)
                .upload_id(&id)
                .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
                .set_if_none_match(nothing_there(over))
                .set_if_match(this_there(over))
                .send()
                .await
                .map_err(|error| from_sdk(&self.location, to.as_ref(), &error))
        };
        match done.await {
            Ok(answer) => {
                Ok(PutResult { e_tag: answer.e_tag().map(quoted), version: version(answer.version_id()), extensions: Default::default() })
            }
            Err(error) => {
                // The parts are billed until they are gone; the first error is the one to tell.
                let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(&key).upload_id(&id);
                let _ = abort.send().await;
                Err(error)
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one request's fields, used in one place")]
    async fn copy_ranges(
        &self,
        source: &str,
        from: &Path,
        key: &str,
        id: &str,
        size: u64,
        etag: Option<String>,
        part: u64,
    ) -> Result<Vec<CompletedPart>> {
        let starts = (0..size).step_by(usize::try_from(part.max(1)).unwrap_or(usize::MAX)).zip(1_i32..);
        let etag = &etag;
        stream::iter(starts.map(|(start, number)| async move {
            let end = start.saturating_add(part).min(size) - 1;
            let answer = self
                .client
                .upload_part_copy()
                .bucket(&self.bucket)
                .key(key)
                .upload_id(id)
                .part_number(number)
                .copy_source(source)
                .copy_source_range(format!("bytes={start}-{end}"))
                .set_copy_source_if_match(etag.clone())
                .send()
                .await
                .map_err(|error| from_sdk(&self.location, from.as_ref(), &error))?;
            let etag = answer.copy_part_result().and_then(|result| result.e_tag()).map(str::to_owned);
            Ok(CompletedPart::builder().part_number(number).set_e_tag(etag).build())
        }))
        .buffered(COPIES)
        .try_collect()
        .await
    }
}

/// `If-None-Match`: that nothing is there.
fn nothing_there(over: &PutMode) -> Option<String> {
    matches!(over, PutMode::Create).then(|| "*".to_owned())
}

/// `If-Match`: that this one is there.
fn this_there(over: &PutMode) -> Option<String> {
    match over {
        PutMode::Update(there) => there.e_tag.as_deref().map(quoted),
        PutMode::Create | PutMode::Overwrite => None,
    }
}

/// Entity tags leave here as `object_store` gives them, in quotes, whatever form a server chose.
fn quoted(etag: &str) -> String {
    format!("\"{}\"", etag.trim_matches('"'))
}

/// A version that lasts. `null` is the one of buckets whose versioning is off or suspended: the next
/// write replaces it.
pub(super) fn version(id: Option<&str>) -> Option<String> {
    id.filter(|id| !id.is_empty() && *id != "null").map(str::to_owned)
}
