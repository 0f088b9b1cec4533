//! The B2 backend against the emulator that `OFFSITE_TEST_B2_ENDPOINT` names (see `integration/servers`).
//! Without that variable every test passes without doing anything, unless `OFFSITE_PROMISED` names
//! `b2`: a server that was promised and is missing fails.
//!
//! Each test makes an application key of its own: the emulator counts and breaks the calls of one key.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod keys;
mod large;
mod make;
mod races;
mod reads;
mod writes;

use std::collections::BTreeMap;
use std::env::var;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use object_store::path::Path;
use object_store::{PutMode, PutOptions, PutPayload};
use offsite_backends::b2::B2Backend;
use offsite_backends::{Backend, Error, Location, Result};
use serde_json::{Value, json};

/// What a key can do that may do everything a destination needs.
pub const ENOUGH: [&str; 5] = ["listBuckets", "listFiles", "readFiles", "writeFiles", "deleteFiles"];

pub struct Emulator {
    pub endpoint: String,
    pub bucket: String,
    pub bucket_id: String,
    http: reqwest::Client,
    token: String,
}

/// An application key in a file.
pub struct Key {
    pub id: String,
    pub secret: String,
    pub file: tempfile::NamedTempFile,
}

impl Emulator {
    pub async fn find() -> Option<Self> {
        let Ok(endpoint) = var("OFFSITE_TEST_B2_ENDPOINT") else {
            let promised = var("OFFSITE_PROMISED").unwrap_or_default();
            assert!(!promised.split([',', ' ']).any(|word| word == "b2"), "B2 was promised and OFFSITE_TEST_B2_ENDPOINT is not set");
            return None;
        };
        let bucket = var("OFFSITE_TEST_B2_BUCKET").unwrap_or_else(|_| "offsite-test".into());
        let http = reqwest::Client::new();
        let (id, key) = (var("B2_APPLICATION_KEY_ID").unwrap(), var("B2_APPLICATION_KEY").unwrap());
        let url = format!("{endpoint}/b2api/v4/b2_authorize_account");
        let answer = http.get(url).basic_auth(id, Some(key)).send().await.unwrap();
        let session: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let token = session["authorizationToken"].as_str().unwrap().to_owned();
        let mut emulator = Self { endpoint, bucket, bucket_id: String::new(), http, token };
        let listed = emulator.call("b2_list_buckets", json!({"accountId": session["accountId"], "bucketName": emulator.bucket})).await;
        emulator.bucket_id = text(&listed["buckets"][0]["bucketId"]);
        Some(emulator)
    }

    /// A call under the master key.
    pub async fn call(&self, name: &str, body: Value) -> Value {
        let url = format!("{}/b2api/v4/{name}", self.endpoint);
        let answer = self.http.post(url).header("authorization", &self.token).body(body.to_string()).send().await.unwrap();
        let bytes = answer.bytes().await.unwrap();
        serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{name}: {}", String::from_utf8_lossy(&bytes)))
    }

    /// A key limited to the bucket, and to names that begin with `prefix` where it is given.
    pub async fn key(&self, capabilities: &[&str], prefix: Option<&str>) -> Key {
        let body = json!({"capabilities": capabilities, "bucketIds": [self.bucket_id], "namePrefix": prefix, "keyName": "test"});
        self.made(body).await
    }

    pub async fn made(&self, body: Value) -> Key {
        let made = self.call("b2_create_key", body).await;
        let (id, secret) = (text(&made["applicationKeyId"]), text(&made["applicationKey"]));
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut open = std::fs::OpenOptions::new().write(true).mode(0o600).open(file.path()).unwrap();
        write!(open, "{id}\n{secret}\n").unwrap();
        Key { id, secret, file }
    }

    /// The usual key, and a fresh prefix opened with it.
    pub async fn place(&self, name: &str) -> (Key, B2Backend) {
        let key = self.key(&ENOUGH, None).await;
        let backend = self.open(&format!("{name}-{}", unique()), &key);
        (key, backend)
    }

    /// Opens a place as another process would.
    pub fn open(&self, prefix: &str, key: &Key) -> B2Backend {
        self.open_in(&self.bucket, prefix, key)
    }

    pub fn open_in(&self, bucket: &str, prefix: &str, key: &Key) -> B2Backend {
        let url = format!("b2://{bucket}/{prefix}?endpoint={}&key_file={}", self.endpoint, key.file.path().display());
        B2Backend::open(Location::parse(&url).unwrap()).unwrap()
    }

    /// Lets calls of a key go wrong; see `control` in `b2_http.py`.
    pub async fn fault(&self, key: &Key, fault: Value) {
        self.control(json!({"key": key.id, "fault": fault})).await;
    }

    pub async fn control(&self, wish: Value) {
        let answer = self.http.post(format!("{}/control", self.endpoint)).body(wish.to_string()).send().await.unwrap();
        assert!(answer.status().is_success());
    }

    /// The calls of a key so far, counted at the server.
    pub async fn counts(&self, key: &Key) -> BTreeMap<String, u64> {
        let answer = self.http.get(format!("{}/control?key={}", self.endpoint, key.id)).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// All versions of a name: id and action, newest first.
    pub async fn versions(&self, backend: &B2Backend, path: &str) -> Vec<(String, String)> {
        let name = format!("{}/{path}", String::from_utf8_lossy(backend.location().path()));
        let listed = self.call("b2_list_file_versions", json!({"bucketId": self.bucket_id, "prefix": name})).await;
        let versions = listed["files"].as_array().unwrap();
        versions.iter().map(|version| (text(&version["fileId"]), text(&version["action"]))).collect()
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

pub fn counted(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

pub fn unique() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}-{}", std::process::id(), now.as_nanos())
}

pub fn key(text: &str) -> Path {
    Path::parse(text).unwrap()
}

pub fn body(text: &str) -> PutPayload {
    PutPayload::from(text.as_bytes().to_vec())
}

pub fn mode(mode: PutMode) -> PutOptions {
    PutOptions { mode, ..PutOptions::default() }
}

/// An answer of the data plane with the kinds of this crate.
pub(crate) fn plain<T>(backend: &B2Backend, answer: object_store::Result<T>) -> Result<T> {
    answer.map_err(|error| Error::from_store(backend.location(), "", &error))
}

pub async fn read(backend: &B2Backend, path: &str) -> String {
    let got = backend.store().get_opts(&key(path), Default::default()).await.unwrap();
    String::from_utf8(got.bytes().await.unwrap().to_vec()).unwrap()
}
