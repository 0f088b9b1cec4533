//! The S3 backend against a real server, named by `OFFSITE_TEST_S3_ENDPOINT` (see
//! `integration/servers`). Without that variable every test passes without doing anything, unless
//! `OFFSITE_PROMISED` names `s3`: a server that was promised and is missing fails.
//! `OFFSITE_TEST_S3_MAKE` says which make of server it is, for what one of them cannot do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod control;
mod data;
mod fake;
mod init;
mod refusals;
mod usage;

use std::collections::BTreeMap;
use std::env::var;

use futures::TryStreamExt;
use object_store::PutPayload;
use object_store::path::Path;
use offsite_backends::s3::S3Backend;
use offsite_backends::{Backend, Listed, Location};

pub struct Server {
    pub endpoint: String,
    pub bucket: String,
    pub versioned: String,
    pub make: String,
}

impl Server {
    pub fn find() -> Option<Self> {
        let Ok(endpoint) = var("OFFSITE_TEST_S3_ENDPOINT") else {
            let promised = var("OFFSITE_PROMISED").unwrap_or_default();
            assert!(!promised.contains("s3"), "an S3 server was promised and OFFSITE_TEST_S3_ENDPOINT is not set");
            return None;
        };
        let or = |name: &str, default: &str| var(name).unwrap_or_else(|_| default.to_owned());
        Some(Self {
            endpoint,
            bucket: or("OFFSITE_TEST_S3_BUCKET", "offsite-test"),
            versioned: or("OFFSITE_TEST_S3_VERSIONED_BUCKET", "offsite-versioned"),
            make: or("OFFSITE_TEST_S3_MAKE", "other"),
        })
    }

    /// A fresh prefix of the bucket.
    pub async fn open(&self, prefix: &str) -> S3Backend {
        self.open_in(&self.bucket, &format!("{prefix}-{}", unique()), "").await
    }

    pub async fn open_in(&self, bucket: &str, prefix: &str, more: &str) -> S3Backend {
        let url = format!("s3://{bucket}/{prefix}?endpoint={}{more}", self.endpoint);
        S3Backend::open(Location::parse(&url).unwrap()).await.unwrap()
    }
}

pub fn unique() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}-{}", std::process::id(), now.as_nanos())
}

pub fn key(text: &str) -> Path {
    let path = Path::parse(text).unwrap();
    assert_eq!(path.as_ref(), text);
    path
}

pub fn body(text: &str) -> PutPayload {
    PutPayload::from(text.as_bytes().to_vec())
}

pub async fn listing(backend: &S3Backend) -> BTreeMap<String, Listed> {
    let listed: Vec<Listed> = backend.list_keys().try_collect().await.unwrap();
    let count = listed.len();
    let map: BTreeMap<_, _> = listed.into_iter().map(|l| (String::from_utf8(l.key.clone()).unwrap(), l)).collect();
    assert_eq!(map.len(), count, "a key was listed twice");
    map
}

pub fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}
