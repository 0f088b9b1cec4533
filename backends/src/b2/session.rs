//! The authorization of an account, and every call that needs one.
//!
//! Owns the token, what the key may do, and the bucket's id. One task gets the token when it is first needed, and
//! gets a new one once if the server asks for that. Invariants: a key that does not cover the destination is refused
//! before any request to the bucket. No error contains a token or key.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::credentials::KeySource;
use super::error::Failure;
use super::wire::{TRIES, Wire, json as read_json, pause};
use crate::contract::error::ErrorKind;
use crate::contract::location::Location;
use crate::contract::meter::Class;

pub(super) const HOME: &str = "https://api.backblazeb2.com";

/// How long a refusal is remembered, so that the many requests in flight fail together.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// The answer to an account's authorization.
#[derive(Debug)]
pub(super) struct B2Session {
    pub account: String,
    pub api: String,
    pub download: String,
    pub token: String,
    pub capabilities: Vec<String>,
    /// The buckets to which the key is limited, by name and id.
    buckets: Option<Vec<(String, String)>>,
    name_prefix: String,
}

impl B2Session {
    pub(super) fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|own| own == capability)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorized {
    account_id: String,
    authorization_token: String,
    api_info: ApiInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiInfo {
    storage_api: StorageApi,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StorageApi {
    api_url: String,
    download_url: String,
    allowed: Allowed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Allowed {
    #[serde(default)]
    buckets: Option<Vec<AllowedBucket>>,
    capabilities: Vec<String>,
    #[serde(default)]
    name_prefix: Option<String>,
}

#[derive(Deserialize)]
struct AllowedBucket {
    id: String,
    /// Null for a bucket that was deleted.
    name: Option<String>,
}

/// The account behind a destination.
#[derive(Debug)]
pub(super) struct Account {
    pub location: Location,
    /// The destination's prefix, without slashes at its ends.
    pub prefix: String,
    pub wire: Wire,
    source: KeySource,
    home: String,
    held: RwLock<Option<Arc<B2Session>>>,
    /// Lets one task ask at a time. Holds the last refusal, so that tasks that waited for it need not ask
    /// again.
    gate: Mutex<Option<(Instant, Failure)>>,
    bucket: RwLock<Option<String>>,
    append_only: AtomicBool,
}

impl Account {
    pub(super) fn new(location: Location, prefix: String, wire: Wire, home: String) -> Self {
        let source = KeySource::of(&location);
        let (held, gate, bucket, append_only) = (RwLock::new(None), Mutex::default(), RwLock::new(None), AtomicBool::new(false));
        Self { location, prefix, wire, source, home, held, gate, bucket, append_only }
    }

    /// Whether no version may be deleted, not even an upload of this program that lost.
    pub(super) fn is_append_only(&self) -> bool {
        self.append_only.load(Relaxed)
    }

    pub(super) fn assume_append_only(&self) {
        self.append_only.store(true, Relaxed);
    }

    /// The authorization. Requests one if there is none, or only the one that is `stale`.
    pub(super) async fn session(&self, stale: Option<&Arc<B2Session>>) -> Result<Arc<B2Session>, Failure> {
        let usable = || {
            let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
            held.clone().filter(|held| stale.is_none_or(|stale| !Arc::ptr_eq(held, stale)))
        };
        if let Some(session) = usable() {
            return Ok(session);
        }
        let mut refused = self.gate.lock().await;
        if let Some(session) = usable() {
            return Ok(session);
        }
        if let Some((when, failure)) = refused.as_ref()
            && when.elapsed() < REFUSED_FOR
        {
            return Err(failure.clone());
        }
        let asked = match self.authorize().await {
            Ok(session) => self.covers(&session).map(|()| session),
            Err(failure) => Err(failure),
        };
        let session = Arc::new(asked.inspect_err(|failure| *refused = Some((Instant::now(), failure.clone())))?);
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());
        Ok(session)
    }

    async fn authorize(&self) -> Result<B2Session, Failure> {
        let credentials = self.source.read(&self.location).map_err(|error| Failure::new(error.kind, error.message))?;
        let url = format!("{}/b2api/v4/b2_authorize_account", self.home);
        let mut tried = 0;
        let answer: Authorized = loop {
            let request = self.wire.http.get(&url).basic_auth(&credentials.id, Some(&credentials.key));
            let failure = match self.wire.send(Class::Head, request, 0).await {
                Ok(response) => break read_json(response).await?,
                Err(failure) => failure,
            };
            tried += 1;
            match failure.is_transient() && tried < TRIES {
                true => pause(tried, &failure).await,
                false => return Err(refused_key(failure)),
            }
        };
        let storage = answer.api_info.storage_api;
        let named = |buckets: Vec<AllowedBucket>| buckets.into_iter().filter_map(|b| Some((b.name?, b.id))).collect();
        Ok(B2Session {
            account: answer.account_id,
            api: storage.api_url,
            download: storage.download_url,
            token: answer.authorization_token,
            capabilities: storage.allowed.capabilities,
            buckets: storage.allowed.buckets.map(named),
            name_prefix: storage.allowed.name_prefix.unwrap_or_default(),
        })
    }

    /// Refuses a key that is limited to other buckets or names.
    fn covers(&self, session: &B2Session) -> Result<(), Failure> {
        let bucket = self.location.host();
        let denied = |text: String| Err(Failure::new(ErrorKind::Denied, text));
        if let Some(buckets) = &session.buckets
            && !buckets.iter().any(|(name, _)| name == bucket)
        {
            let names: Vec<&str> = buckets.iter().map(|(name, _)| name.as_str()).collect();
            return denied(format!("the application key is limited to the bucket {}, not `{bucket}`", names.join(", ")));
        }
        let ours = if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) };
        if !ours.starts_with(&session.name_prefix) {
            return denied(format!(
                "the application key is limited to names that begin with `{}`, and this destination's begin with `{ours}`; \
                 use a prefix below it, or another key",
                session.name_prefix
            ));
        }
        Ok(())
    }

    /// The bucket's id. Takes one request if the key is not limited to this bucket.
    pub(super) async fn bucket(&self) -> Result<String, Failure> {
        let known = || self.bucket.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(id) = known() {
            return Ok(id);
        }
        let session = self.session(None).await?;
        let name = self.location.host();
        let allowed = session.buckets.iter().flatten().find(|(own, _)| own == name).map(|(_, id)| id.clone());
        let id = match allowed {
            Some(id) => id,
            None => {
                let found: Option<Value> = self.find_bucket().await?;
                let id = found.as_ref().and_then(|bucket| bucket["bucketId"].as_str()).map(str::to_owned);
                id.ok_or_else(|| no_bucket(name))?
            }
        };
        *self.bucket.write().unwrap_or_else(PoisonError::into_inner) = Some(id.clone());
        Ok(id)
    }

    /// What the server says about the bucket; none if this account has no bucket of that name.
    pub(super) async fn find_bucket<T: DeserializeOwned>(&self) -> Result<Option<T>, Failure> {
        #[derive(Deserialize)]
        struct Answer<T> {
            buckets: Vec<T>,
        }
        let account = self.session(None).await?.account.clone();
        let body = json!({"accountId": account, "bucketName": self.location.host(), "bucketTypes": ["all"]});
        let answer: Answer<T> = self.call(Class::List, "b2_list_buckets", &body).await?;
        Ok(answer.buckets.into_iter().next())
    }

    /// One call of the API, tried again if that can help.
    pub(super) async fn call<T: DeserializeOwned>(&self, class: Class, name: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::new(ErrorKind::Invalid, error.to_string()))?;
        let response = self
            .authorized(class, name, |session| {
                let request = self.wire.http.post(format!("{}/b2api/v4/{name}", session.api)).header("authorization", &session.token);
                request.header("content-type", "application/json").body(body.clone())
            })
            .await?;
        read_json(response).await
    }

    /// One request with the account's token. An expired token is replaced once, and a transient failure is
    /// tried again. `name` is the API's name of the call, which decides the capability that it needs.
    pub(super) async fn authorized(
        &self,
        class: Class,
        name: &str,
        make: impl Fn(&B2Session) -> reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, Failure> {
        let mut session = self.session(None).await?;
        let (mut tried, mut renewed) = (0, false);
        loop {
            let failure = match self.wire.send(class, make(&session), 0).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            if failure.wants_authorize() && !renewed {
                renewed = true;
                session = self.session(Some(&session)).await?;
                continue;
            }
            tried += 1;
            if !failure.is_transient() || tried >= TRIES {
                return Err(lacking(failure, &session, name));
            }
            pause(tried, &failure).await;
        }
    }
}

pub(super) fn no_bucket(name: &str) -> Failure {
    let text = format!("no bucket `{name}` in this account, or the key may not see it; `offsite init` creates it");
    Failure { is_bucket: true, ..Failure::new(ErrorKind::NotFound, text) }
}

fn refused_key(failure: Failure) -> Failure {
    match failure.kind {
        ErrorKind::Denied => {
            let message = format!("Backblaze refuses the application key ({}); is it mistyped, or deleted?", failure.message);
            Failure { message, ..failure }
        }
        _ => failure,
    }
}

/// Adds the name of the missing capability to a refusal.
pub(super) fn lacking(failure: Failure, session: &B2Session, name: &str) -> Failure {
    let right = right(name);
    if failure.kind != ErrorKind::Denied || right.is_empty() || session.can(right) {
        return failure;
    }
    let message = format!("the application key lacks the capability `{right}` ({})", failure.message);
    Failure { message, ..failure }
}

/// The capability that a call needs.
pub(super) fn right(name: &str) -> &'static str {
    match name {
        "b2_list_file_names" | "b2_list_file_versions" | "b2_list_unfinished_large_files" => "listFiles",
        "b2_download_file_by_name" | "b2_download_file_by_id" | "b2_get_file_info" => "readFiles",
        "b2_delete_file_version" => "deleteFiles",
        "b2_list_buckets" => "listBuckets",
        "b2_create_bucket" | "b2_update_bucket" => "writeBuckets",
        "b2_authorize_account" => "",
        _ => "writeFiles",
    }
}
