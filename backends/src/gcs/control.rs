//! The control plane: Google's gRPC client for the requests that `object_store` does not have.
//!
//! Owns that client, exact copies, deletes by generation, and whether the bucket keeps versions. Listings and
//! settings use it. Invariants: every request is counted in the data plane's meter, retries too. Every request ends,
//! even if the server does not speak gRPC.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use chrono::DateTime;
use futures::{StreamExt, TryStreamExt, stream};
use google_cloud_gax::error::Error as RpcError;
use google_cloud_gax::exponential_backoff::ExponentialBackoffBuilder;
use google_cloud_gax::options::RequestOptionsBuilder;
use google_cloud_gax::retry_policy::{RetryPolicy, RetryPolicyExt};
use google_cloud_gax::retry_result::RetryResult;
use google_cloud_gax::retry_state::RetryState;
use google_cloud_storage::client::StorageControl;
use google_cloud_storage::model::{Bucket, Object};
use google_cloud_storage::retry_policy::RetryableErrors;
use object_store::path::Path;
use object_store::{PutMode, PutResult};
use tokio::sync::{Mutex, OnceCell};

use super::error::{from_rpc, speaks_no_grpc};
use super::settings::GcsSettings;
use super::tag::{Tag, quoted};
use super::tokens::Tokens;
use crate::contract::error::{self, Error, ErrorKind, Result};
use crate::contract::held::{Held, Refused};
use crate::contract::location::Location;
use crate::contract::meter::Class;
use crate::contract::trace::TracedCall;
use crate::wire::probe::Probe;

/// How long a failed look at the bucket is remembered. Without it, the many puts in flight would wait one
/// after the other.
const UNKNOWN_FOR: Duration = Duration::from_mins(1);

/// Deletes in flight.
const DELETES: usize = 16;

/// The gRPC client, with the names that its requests and errors need.
pub(super) struct GcsControl {
    pub location: Location,
    pub settings: GcsSettings,
    pub prefix: Path,
    pub tokens: Arc<Tokens>,
    pub probe: Arc<Probe>,
    client: OnceCell<StorageControl>,
    keeps: OnceCell<bool>,
    /// When the last attempt to read the bucket's versioning failed, and why.
    unknown: Mutex<Option<(Instant, Error)>>,
}

impl GcsControl {
    pub(super) fn new(location: Location, settings: GcsSettings, prefix: Path, tokens: Arc<Tokens>, probe: Arc<Probe>) -> Self {
        Self { location, settings, prefix, tokens, probe, client: OnceCell::new(), keeps: OnceCell::new(), unknown: Mutex::new(None) }
    }

    /// The client. It is made when it is first needed, because many runs never need it.
    pub(super) async fn client(&self) -> Result<&StorageControl> {
        self.client
            .get_or_try_init(|| async {
                let backoff = ExponentialBackoffBuilder::new()
                    .with_initial_delay(Duration::from_millis(100))
                    .with_maximum_delay(Duration::from_secs(10))
                    .clamp();
                let mut builder = StorageControl::builder()
                    .with_credentials(self.tokens.credentials().await?)
                    .with_backoff_policy(backoff)
                    // The server answers a large copy in steps, each well within this time.
                    .with_attempt_timeout(Duration::from_mins(2));
                if let Some(endpoint) = &self.settings.control {
                    builder = builder.with_endpoint(endpoint);
                }
                builder.build().await.map_err(|error| Error::new(ErrorKind::Other, &self.location, error::chain(&error)))
            })
            .await
    }

    /// Counts a request and its repetitions, and marks it as repeatable.
    pub(super) fn counted<B: RequestOptionsBuilder>(&self, class: Class, request: B) -> B {
        let counted = Counted {
            probe: self.probe.clone(),
            class,
            place: self.location.to_string(),
            call: std::sync::Mutex::new(TracedCall::untold()),
        };
        counted.begin();
        request.with_retry_policy(counted).with_idempotency(true)
    }

    pub(super) fn error(&self, key: &str, error: &RpcError) -> Error {
        from_rpc(&self.location, key, error)
    }

    /// The bucket's name in the form of the API.
    pub(super) fn bucket(&self) -> String {
        format!("projects/_/buckets/{}", self.settings.bucket)
    }

    /// The full key of a path, including the prefix.
    fn key(&self, path: &Path) -> String {
        match (self.prefix.as_ref(), path.as_ref()) {
            ("", path) => path.to_owned(),
            (prefix, path) => format!("{prefix}/{path}"),
        }
    }

    /// The bucket's metadata. Needs the permission `storage.buckets.get`.
    pub(super) async fn get_bucket(&self) -> Result<Bucket> {
        let request = self.client().await?.get_bucket().set_name(self.bucket());
        self.counted(Class::Get, request).send().await.map_err(|error| self.error("", &error))
    }

    /// Whether the bucket keeps a replaced object as a version. Asked once. Without the permission the answer
    /// is no, which costs copies and loses no data. Objects that soft deletion keeps cannot be read, so they
    /// do not count.
    pub(super) async fn keeps_versions(&self) -> Result<bool> {
        let asked = self.keeps.get_or_try_init(|| async {
            let mut unknown = self.unknown.lock().await;
            if let Some((at, error)) = &*unknown
                && at.elapsed() < UNKNOWN_FOR
            {
                return Err(error.clone());
            }
            match self.get_bucket().await {
                Ok(bucket) => Ok(bucket.versioning.is_some_and(|versioning| versioning.enabled)),
                Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::Unsupported) => Ok(false),
                Err(error) => {
                    *unknown = Some((Instant::now(), error.clone()));
                    Err(error)
                }
            }
        });
        asked.await.copied()
    }

    /// The same without a request; false until the answer is known.
    pub(super) fn keeps_versions_as_known(&self) -> bool {
        self.keeps.get().copied().unwrap_or(false)
    }

    /// Copies on the server; see [`crate::Backend::copy_exact`]. An object that was copied here from another
    /// bucket has its own generation. Then its MD5 decides whether it is the requested content.
    pub(super) async fn copy(&self, from: &Path, to: &Path, etag: Option<&str>, over: &PutMode) -> Result<PutResult> {
        let wanted = etag.map(Tag::parse);
        let Some(Tag { md5, generation }) = wanted else { return self.rewrite(from, to, None, over).await };
        let refused = match generation {
            Some(generation) => match self.rewrite(from, to, Some(generation), over).await {
                Err(error) if error.kind == ErrorKind::Precondition => error,
                other => return other,
            },
            None => Error::new(ErrorKind::Precondition, self.location.at(from.as_ref()), "it is not the expected content"),
        };
        let Some(md5) = md5 else { return Err(refused) };
        let request = self.client().await?.get_object().set_bucket(self.bucket()).set_object(self.key(from));
        let there = self.counted(Class::Head, request).send().await.map_err(|error| self.error(from.as_ref(), &error))?;
        match md5_of(&there).as_deref() == Some(md5) {
            true => self.rewrite(from, to, Some(there.generation), over).await,
            false => Err(refused),
        }
    }

    /// One copy, in as many steps as the server needs. Nothing appears at `to` before the last step.
    async fn rewrite(&self, from: &Path, to: &Path, generation: Option<i64>, over: &PutMode) -> Result<PutResult> {
        let replaces = match over {
            PutMode::Overwrite => None,
            // No object has generation 0: it means that no object exists.
            PutMode::Create => Some(0),
            PutMode::Update(there) => there.e_tag.as_deref().and_then(|tag| Tag::parse(tag).generation),
        };
        let (source, target) = (self.key(from), self.key(to));
        let mut token = String::new();
        loop {
            let request = self
                .client()
                .await?
                .rewrite_object()
                .set_destination_bucket(self.bucket())
                .set_destination_name(&target)
                .set_source_bucket(self.bucket())
                .set_source_object(&source)
                .set_or_clear_if_source_generation_match(generation)
                .set_or_clear_if_generation_match(replaces)
                .set_rewrite_token(&token);
            let answer = self.counted(Class::Copy, request).send().await.map_err(|error| self.error(from.as_ref(), &error))?;
            if answer.done {
                let made = answer.resource.map(|object| (object.generation.to_string(), md5_of(&object)));
                let e_tag = made.as_ref().map(|(generation, md5)| quoted(md5.as_deref(), generation));
                let kept = self.keeps_versions().await.unwrap_or(false);
                let version = made.map(|(generation, _)| generation).filter(|_| kept);
                return Ok(PutResult { e_tag, version, extensions: Default::default() });
            }
            token = answer.rewrite_token;
        }
    }

    /// Deletes generations permanently; see [`crate::Backend::delete_versions`].
    pub(super) async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>> {
        let delete = async |(path, version): (Path, String)| {
            let request = self.client().await?.delete_object().set_bucket(self.bucket());
            let request = request.set_object(self.key(&path)).set_generation(self.generation(&path, &version)?);
            match self.counted(Class::Delete, request).send().await.map_err(|error| self.error(path.as_ref(), &error)) {
                Err(error) if error.kind == ErrorKind::NotFound && error.url != self.location.to_string() => Ok(None),
                Err(error) if error.kind == ErrorKind::Denied => Ok(Some(Refused { path, version, error })),
                other => other.map(|()| None),
            }
        };
        let done = stream::iter(versions.into_iter().map(delete)).buffer_unordered(DELETES);
        done.try_filter_map(|refused| async { Ok(refused) }).try_collect().await
    }

    /// What holds a generation; see [`crate::Backend::held`].
    pub(super) async fn held(&self, path: &Path, version: Option<&str>) -> Result<Held> {
        let generation = version.map(|version| self.generation(path, version)).transpose()?;
        let request = self.client().await?.get_object().set_bucket(self.bucket()).set_object(self.key(path));
        let request = request.set_generation(generation.unwrap_or_default());
        let found = self.counted(Class::Head, request).send().await.map_err(|error| self.error(path.as_ref(), &error))?;
        // The later of the bucket's policy and the object's own retention.
        let own = found.retention.and_then(|own| own.retain_until_time);
        let until = [found.retention_expire_time, own].into_iter().flatten();
        let until = until.filter_map(|until| DateTime::from_timestamp(until.seconds(), u32::try_from(until.nanos()).unwrap_or(0))).max();
        let by_hand = found.temporary_hold || found.event_based_hold.unwrap_or(false);
        Ok(Held { version: Some(found.generation.to_string()), until, by_hand })
    }

    fn generation(&self, path: &Path, version: &str) -> Result<i64> {
        version.parse().map_err(|_| Error::invalid(self.location.at(path.as_ref()), format_args!("`{version}` is not a generation")))
    }
}

/// The MD5 of an object in hex. Objects that were put in parts have none.
pub(super) fn md5_of(object: &Object) -> Option<String> {
    let md5 = &object.checksums.as_ref()?.md5_hash;
    (md5.len() == 16).then(|| hex::encode(md5))
}

/// Repeats what Google calls retryable, up to 9 times within 180 seconds, and counts each try. The delays are random. With
/// 6 tries, one call in ten gave up before the second had passed that Google wants between changes of one object.
#[derive(Debug)]
struct Counted {
    probe: Arc<Probe>,
    class: Class,
    place: String,
    /// The request in progress. It is reported when the next one begins, or when this value is dropped with the
    /// last one.
    call: std::sync::Mutex<TracedCall>,
}

impl Counted {
    fn begin(&self) {
        let mut call = self.probe.meter.begin(self.class, || (format!("gRPC {}", self.class.word()), self.place.clone()));
        // A failure replaces this before the call is dropped.
        call.ended("ok", false);
        *self.call.lock().unwrap_or_else(PoisonError::into_inner) = call;
    }

    fn failed(&self, error: &RpcError) {
        let status = error.status().map_or_else(|| "none".to_owned(), |status| format!("{:?}", status.code));
        self.call.lock().unwrap_or_else(PoisonError::into_inner).ended(status, error.is_transport() || error.is_timeout());
    }
}

impl RetryPolicy for Counted {
    fn on_error(&self, state: &RetryState, error: RpcError) -> RetryResult {
        self.failed(&error);
        if speaks_no_grpc(&error) {
            return RetryResult::Permanent(error);
        }
        let limited = RetryableErrors.with_attempt_limit(9).with_time_limit(Duration::from_mins(3));
        let result = limited.on_error(state, error);
        if matches!(result, RetryResult::Continue(_)) {
            self.begin();
        }
        result
    }
}
