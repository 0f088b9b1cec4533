//! Google's credentials, asked once and shared by the data plane and the control plane.
//!
//! Owns the source of tokens and the error if there is none. `google-cloud-auth` caches tokens and renews them before
//! they expire. Invariants: no token is requested before the first request. A failure is remembered for a moment, so
//! that the many requests in flight fail together. No text contains a token.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use google_cloud_auth::credentials::{
    AccessTokenCredentials, Builder, Credentials, anonymous, external_account, impersonated, service_account, user_account,
};
use object_store::CredentialProvider;
use object_store::gcp::GcpCredential;
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};

use super::settings::TokenSource;
use crate::contract::error::{Error, ErrorKind, Reach, Result, chain};

const WHERE: &str = "Google credentials";

/// How long a token may take to arrive. A machine outside of Google's cloud has no metadata server, and its
/// user must not wait for minutes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a failure is remembered, before a token is requested again.
const FAILED_FOR: Duration = Duration::from_secs(5);

/// Tokens of one source.
pub(super) struct Tokens {
    source: TokenSource,
    built: OnceCell<AccessTokenCredentials>,
    failed: Mutex<Option<(Instant, Error)>>,
    /// The last token, shared by the many requests that carry it.
    last: std::sync::RwLock<Arc<GcpCredential>>,
}

impl Tokens {
    pub(super) fn new(source: TokenSource) -> Self {
        let none = Arc::new(GcpCredential { bearer: String::new() });
        Self { source, built: OnceCell::new(), failed: Mutex::new(None), last: std::sync::RwLock::new(none) }
    }

    /// Credentials for the gRPC client, which asks for headers itself.
    pub(super) async fn credentials(&self) -> Result<Credentials> {
        match self.source {
            TokenSource::Anonymous => Ok(anonymous::Builder::new().build()),
            _ => Ok(self.built().await?.clone().into()),
        }
    }

    /// A token that is valid now; empty without credentials.
    pub(super) async fn get(&self) -> Result<Arc<GcpCredential>> {
        if self.source == TokenSource::Anonymous {
            return Ok(self.peek());
        }
        if let Some((at, error)) = &*self.failed.lock().await
            && at.elapsed() < FAILED_FOR
        {
            return Err(error.clone());
        }
        let asked = async {
            let token = self.built().await?.access_token().await;
            token.map_err(|error| explain(&self.source, &chain(&error), error.is_transient()))
        };
        let late = || Error::new(ErrorKind::Transient, WHERE, format_args!("no token came within {} s", PATIENCE.as_secs()));
        match tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(late())) {
            Ok(token) => Ok(self.keep(token.token)),
            Err(error) => {
                *self.failed.lock().await = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn peek(&self) -> Arc<GcpCredential> {
        self.last.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn keep(&self, token: String) -> Arc<GcpCredential> {
        let last = self.peek();
        if last.bearer == token {
            return last;
        }
        let new = Arc::new(GcpCredential { bearer: token });
        *self.last.write().unwrap_or_else(std::sync::PoisonError::into_inner) = new.clone();
        new
    }

    async fn built(&self) -> Result<&AccessTokenCredentials> {
        self.built
            .get_or_try_init(|| async {
                match &self.source {
                    TokenSource::File(path) => from_file(path).await,
                    _ => Builder::default().build_access_token_credentials().map_err(|error| explain(&self.source, &chain(&error), false)),
                }
            })
            .await
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

#[async_trait]
impl CredentialProvider for Tokens {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        let failed = |error| object_store::Error::Unauthenticated { path: String::new(), source: Box::new(error) };
        self.get().await.map_err(failed)
    }
}

/// Credentials from a file in one of Google's formats. Errors never repeat the text of the file.
async fn from_file(path: &Path) -> Result<AccessTokenCredentials> {
    let shown = path.display().to_string();
    let bytes = tokio::fs::read(path).await.map_err(|error| {
        let error = Error::from_io(&shown, &error);
        Error::login(WHERE, format_args!("cannot read the file {shown} ({})", error.message))
    })?;
    let bad = |why: &str| Error::login(WHERE, format_args!("{shown} is not a file of Google credentials: {why}"));
    let json: Value = serde_json::from_slice(&bytes).map_err(|_| bad("it is not JSON"))?;
    let built = match json["type"].as_str() {
        Some("service_account") => service_account::Builder::new(json).build_access_token_credentials(),
        Some("authorized_user") => user_account::Builder::new(json).build_access_token_credentials(),
        Some("external_account") => external_account::Builder::new(json).build_access_token_credentials(),
        Some("impersonated_service_account") => impersonated::Builder::new(json).build_access_token_credentials(),
        Some(other) => return Err(bad(&format!("type `{other}` is not known"))),
        None => return Err(bad("it has no `type`")),
    };
    built.map_err(|error| bad(&chain(&error)))
}

/// Says what to do, in terms for the person who set up the machine.
fn explain(source: &TokenSource, why: &str, transient: bool) -> Error {
    let kind = if transient { ErrorKind::Transient } else { ErrorKind::Denied };
    let todo = match source {
        TokenSource::File(path) => format!("look at {}", path.display()),
        _ => "run `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS to a service account's file, \
              add ?credentials=FILE, or run where the metadata server gives this machine an account; a public bucket needs none: \
              add ?anonymous=true"
            .to_owned(),
    };
    // Each layer of the library repeats the same text before this. The last part says what is wrong.
    let why = why.rsplit("future attempts may succeed: ").next().unwrap_or(why);
    let why = why.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    Error::new(kind, WHERE, format!("no token: {todo} ({why})")).reaching(Reach::Destination)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_none_is_named_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.json");
        for (text, word) in [("hush", "not JSON"), ("{\"type\":\"hush2\"}", "not known"), ("{\"private_key\":\"hush\"}", "no `type`")] {
            std::fs::write(&file, text).unwrap();
            let error = Tokens::new(TokenSource::File(file.clone())).get().await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Denied);
            assert!(error.message.contains(word) && error.message.contains("key.json"), "{error}");
            assert!(!error.message.contains("hush\"") && !error.message.contains("hush "), "{error}");
        }
        let missing = Tokens::new(TokenSource::File(folder.path().join("none"))).get().await.unwrap_err();
        assert!(missing.message.contains("cannot read"), "{missing}");
    }

    #[tokio::test]
    async fn without_credentials_the_token_is_empty() {
        let none = Tokens::new(TokenSource::Anonymous);
        assert_eq!(none.get().await.unwrap().bearer, "");
        assert_eq!(format!("{none:?}"), "Tokens");
    }
}
