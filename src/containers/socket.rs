//! The engine's API over its unix socket.
//!
//! Owns two requests, their time limits, the bound on a response, and the messages for failures.
//! Invariant: a response is untrusted. offsite reads it up to a bound, and anything that is not a volume is an error.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{StatusCode, Url};
use serde::de::DeserializeOwned;

use super::volume::{Volume, VolumeJson, VolumeListJson, Volumes};

/// Time limit of one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Maximum length of a response, in bytes. It is enough for some ten thousand volumes.
const LONGEST: usize = 16 << 20;
/// Maximum length of an engine's own message in an error, in characters.
const REPEATED: usize = 200;

/// The engine at the first of some sockets that exists.
#[derive(Debug, Clone)]
pub struct Engine {
    sockets: Vec<PathBuf>,
}

impl Engine {
    /// `sockets` are paths, in the order in which to try them. Connects to none of them.
    pub fn new(sockets: Vec<PathBuf>) -> Self {
        Self { sockets }
    }

    /// The first socket that exists. One that cannot be examined counts as existing, because its error helps more than
    /// the next socket.
    fn socket(&self) -> Option<&Path> {
        self.sockets.iter().map(PathBuf::as_path).find(|path| path.try_exists().unwrap_or(true))
    }

    /// Sends a request and waits for the response. None if the engine says that the object does not exist.
    fn ask<T: DeserializeOwned + Send>(&self, url: Url) -> Result<Option<T>, String> {
        let Some(socket) = self.socket() else {
            let places = self.sockets.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
            return Err(format!("no socket at {places}; start the engine, or name its socket in DOCKER_HOST=unix:///…"));
        };
        // Resolving a config is not async and may happen on a thread of the runtime, so this uses a thread of its own.
        let asking = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
            runtime.block_on(answer(socket, url))
        };
        let done = std::thread::scope(|scope| scope.spawn(asking).join());
        let said = done.unwrap_or_else(|_| Err("the request was interrupted".to_owned()));
        said.map_err(|why| format!("{}: {why}", socket.display()))
    }
}

impl Volumes for Engine {
    fn named(&self, name: &str) -> Result<Option<Volume>, String> {
        let mut url = url()?;
        url.path_segments_mut().map_err(|()| "no URL".to_owned())?.push(name);
        let found: Option<VolumeJson> = self.ask(url)?;
        match found {
            Some(found) if found.name != name => {
                Err(format!("{}: it answered the request for the volume `{name}` with another volume", self.shown()))
            }
            found => Ok(found.map(Volume::from)),
        }
    }

    fn labelled(&self, label: &str) -> Result<Vec<Volume>, String> {
        let mut url = url()?;
        url.query_pairs_mut().append_pair("filters", &serde_json::json!({ "label": [label] }).to_string());
        let list: Option<VolumeListJson> = self.ask(url)?;
        let all = list.and_then(|list| list.volumes).unwrap_or_default().into_iter().map(Volume::from);
        let mut found: Vec<Volume> = all.filter(|volume| volume.labels.contains_key(label)).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found.dedup_by(|a, b| a.name == b.name);
        Ok(found)
    }

    fn shown(&self) -> String {
        self.socket().map_or_else(|| "no socket".to_owned(), |socket| socket.display().to_string())
    }
}

/// The URL of the list of volumes. Its host has no meaning, because the request goes to the socket.
fn url() -> Result<Url, String> {
    Url::parse("http://localhost/volumes").map_err(|e| e.to_string())
}

async fn answer<T: DeserializeOwned>(socket: &Path, url: Url) -> Result<Option<T>, String> {
    // This uses no TLS, so the system's certificates are not loaded.
    let client = reqwest::Client::builder().unix_socket(socket).tls_certs_only([]).timeout(PATIENCE);
    let client = client.redirect(reqwest::redirect::Policy::none()).build().map_err(|_| "could not create an HTTP client".to_owned())?;
    let mut said = client.get(url).send().await.map_err(|e| why(&e))?;
    let status = said.status();
    let mut body = Vec::new();
    while let Some(part) = said.chunk().await.map_err(|e| why(&e))? {
        if body.len() + part.len() > LONGEST {
            return Err("its response does not end; is this a Docker or Podman socket?".to_owned());
        }
        body.extend_from_slice(&part);
    }
    match status {
        StatusCode::OK => {
            let parsed = serde_json::from_slice(&body);
            parsed.map(Some).map_err(|_| "unexpected response to GET /volumes; is this a Docker or Podman socket?".to_owned())
        }
        // Only an engine sends a message with a 404. Another server just does not know the path.
        StatusCode::NOT_FOUND if message(&body).is_some() => Ok(None),
        status => {
            let words = message(&body).map_or(String::new(), |words| format!(": {words}"));
            Err(format!("it answered {status}{words}; see `docker volume ls` or the engine's log"))
        }
    }
}

/// The engine's own message in an error response.
fn message(body: &[u8]) -> Option<String> {
    let parsed: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(parsed.get("message")?.as_str()?.chars().take(REPEATED).collect())
}

fn why(error: &reqwest::Error) -> String {
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
    let kind = chain.filter_map(|e| e.downcast_ref::<io::Error>()).map(io::Error::kind).next();
    match kind {
        _ if error.is_timeout() => format!("no response within {} s; is the engine running?", PATIENCE.as_secs()),
        Some(io::ErrorKind::PermissionDenied) => {
            "permission denied; run offsite as root, or as a user with access to the engine (for Docker: the group docker)".to_owned()
        }
        Some(io::ErrorKind::ConnectionRefused) => "the connection was refused; start the engine".to_owned(),
        _ => format!("{}; is this a Docker or Podman socket?", offsite_backends::error::chain(error)),
    }
}
