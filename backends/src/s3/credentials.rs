//! AWS's credential chain, asked once and shared by the data plane and the control plane.
//!
//! Owns the cache and its refresh. Invariants: no credential is requested before the first request. Only one task
//! asks at a time. A failed refresh never discards a credential that is still valid. No error or `Debug` text
//! contains a secret.

use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;

use crate::contract::error::{Error, ErrorKind, chain};

/// How long before its expiry a credential is replaced, unless its whole lifetime is short.
const REFRESH_BEFORE: Duration = Duration::from_mins(5);

/// How long a failure is remembered. The many requests in flight fail together and not one after the other,
/// each with its own timeout.
const FAILED_FOR: Duration = Duration::from_secs(5);

/// The credential chain and its last answer.
pub(super) struct Chain {
    /// None if the configuration was loaded without credentials.
    source: Option<SharedCredentialsProvider>,
    held: RwLock<Option<HeldCredentials>>,
    failed: Mutex<Option<(Instant, Error)>>,
}

/// One answer of the chain, in the form that each library needs.
#[derive(Clone)]
struct HeldCredentials {
    sdk: Credentials,
    store: Arc<AwsCredential>,
    refresh: Option<SystemTime>,
}

impl HeldCredentials {
    fn new(sdk: Credentials) -> Self {
        let store = Arc::new(AwsCredential {
            key_id: sdk.access_key_id().to_owned(),
            secret_key: sdk.secret_access_key().to_owned(),
            token: sdk.session_token().map(str::to_owned),
        });
        let now = SystemTime::now();
        let refresh = sdk.expiry().map(|end| {
            let life = end.duration_since(now).unwrap_or_default();
            now + life.saturating_sub(REFRESH_BEFORE).max(life / 2)
        });
        Self { sdk, store, refresh }
    }

    fn is_fresh(&self) -> bool {
        self.refresh.is_none_or(|at| SystemTime::now() < at)
    }

    fn holds(&self) -> bool {
        self.sdk.expiry().is_none_or(|end| SystemTime::now() < end)
    }
}

impl Chain {
    pub(super) fn new(source: Option<SharedCredentialsProvider>) -> Self {
        Self { source, held: RwLock::new(None), failed: Mutex::new(None) }
    }

    /// The credential to sign with now.
    async fn get(&self) -> Result<HeldCredentials, Error> {
        let held = self.peek();
        match held {
            Some(held) if held.is_fresh() => return Ok(held),
            // Another task is already replacing it, and this one is still valid.
            Some(held) if held.holds() && self.failed.try_lock().is_err() => return Ok(held),
            _ => {}
        }
        let mut failed = self.failed.lock().await;
        let held = self.peek();
        match (&*failed, held) {
            (_, Some(held)) if held.is_fresh() => return Ok(held),
            (Some((at, _)), Some(held)) if at.elapsed() < FAILED_FOR && held.holds() => {
                return Ok(held);
            }
            (Some((at, error)), _) if at.elapsed() < FAILED_FOR => return Err(error.clone()),
            _ => {}
        }
        let answer = match &self.source {
            Some(source) => source.provide_credentials().await,
            None => Err(CredentialsError::not_loaded_no_source()),
        };
        match answer {
            Ok(found) => {
                let held = HeldCredentials::new(found);
                *failed = None;
                *self.held.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(held.clone());
                Ok(held)
            }
            Err(error) => {
                let error = explain(&error);
                *failed = Some((Instant::now(), error.clone()));
                self.peek().filter(HeldCredentials::holds).ok_or(error)
            }
        }
    }

    fn peek(&self) -> Option<HeldCredentials> {
        self.held.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chain")
    }
}

#[async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        match self.get().await {
            Ok(held) => Ok(held.store),
            Err(error) => Err(object_store::Error::Unauthenticated { path: String::new(), source: Box::new(error) }),
        }
    }
}

impl ProvideCredentials for Chain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.get().await.map(|held| held.sdk).map_err(CredentialsError::provider_error) })
    }
}

/// Joins lines: the chain lists what it tried on separate lines, and a message has one line.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ").replace(":; ", ": ")
}

/// Says what to do, in terms for the person who set up the machine.
fn explain(error: &CredentialsError) -> Error {
    const WHERE: &str = "AWS credentials";
    let why = std::error::Error::source(error).map_or_else(String::new, |source| format!(" ({})", one_line(&chain(source))));
    // The chain ends at the instance's metadata service. On other machines, or behind a proxy
    // that answers for the service, its failure only means that no earlier source had a credential.
    let nothing = matches!(error, CredentialsError::CredentialsNotLoaded(_)) || why.contains("IMDS");
    match error {
        _ if nothing => Error::login(
            WHERE,
            format!(
                "no AWS credentials found{why}: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
                 write a profile to ~/.aws/credentials, or give this machine a role; a public bucket needs none: \
                 add ?anonymous=true"
            ),
        ),
        CredentialsError::ProviderTimedOut(_) => Error::new(ErrorKind::Transient, WHERE, format!("getting AWS credentials timed out{why}")),
        _ => Error::login(WHERE, format!("cannot get AWS credentials{why}: check AWS_PROFILE and ~/.aws/config, or sign in again")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn what_was_tried_is_told_on_one_line() {
        assert_eq!(
            one_line("no credentials found. Attempted:\n  Environment: not set\n  Profile: none"),
            "no credentials found. Attempted: Environment: not set; Profile: none"
        );
    }

    /// Answers with credentials of the given lifetime, or fails without one, and counts the calls.
    #[derive(Debug)]
    struct Source(Option<Duration>, Arc<AtomicUsize>);

    impl ProvideCredentials for Source {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            self.1.fetch_add(1, Ordering::Relaxed);
            let answer = match self.0 {
                Some(life) => Ok(Credentials::new("id", "hush", None, Some(SystemTime::now() + life), "test")),
                None => Err(CredentialsError::not_loaded("nothing")),
            };
            future::ProvideCredentials::ready(answer)
        }
    }

    fn source(life: Option<Duration>) -> (Chain, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        (Chain::new(Some(SharedCredentialsProvider::new(Source(life, calls.clone())))), calls)
    }

    #[tokio::test]
    async fn an_answer_is_kept_until_shortly_before_its_end() {
        let (chain, calls) = source(Some(Duration::from_hours(1)));
        for _ in 0..5 {
            assert_eq!(chain.get_credential().await.unwrap().key_id, "id");
            chain.provide_credentials().await.unwrap();
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        let (chain, calls) = source(Some(Duration::ZERO));
        chain.get_credential().await.unwrap();
        chain.get_credential().await.unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_failure_is_said_clearly_and_once() {
        let (chain, calls) = source(None);
        for _ in 0..5 {
            let error = chain.get_credential().await.unwrap_err().to_string();
            assert!(error.contains("set AWS_PROFILE"), "{error}");
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert_eq!(format!("{chain:?}"), "Chain");
    }
}
