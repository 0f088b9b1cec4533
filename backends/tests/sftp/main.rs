//! The SFTP backend beyond the conformance suite: against the server that `OFFSITE_TEST_SFTP_URL` names (see
//! `integration/servers`), and, in `words.rs`, against programs that only pretend to be `ssh`.
//! Without that variable the tests of a server pass without doing anything, unless `OFFSITE_PROMISED` names
//! `sftp`: a server that was promised and is missing fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod lost;
mod refusals;
mod tree;
mod words;

use std::env::var;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::TryStreamExt;
use offsite_backends::sftp::SftpBackend;
use offsite_backends::{Backend, FileMeta, Location, Publish, Result, Tree};

pub struct Server {
    url: String,
    pub config: String,
    pub dir: PathBuf,
    pub is_openssh: bool,
}

impl Server {
    pub fn find() -> Option<Self> {
        let Ok(url) = var("OFFSITE_TEST_SFTP_URL") else {
            let promised = var("OFFSITE_PROMISED").unwrap_or_default();
            assert!(!promised.contains("sftp"), "an SFTP server was promised and OFFSITE_TEST_SFTP_URL is not set");
            return None;
        };
        let set = |name: &str| var(name).unwrap_or_else(|_| panic!("{name} is not set, and OFFSITE_TEST_SFTP_URL is"));
        Some(Self {
            url,
            config: set("OFFSITE_TEST_SFTP_CONFIG"),
            dir: set("OFFSITE_TEST_SFTP_DIR").into(),
            is_openssh: set("OFFSITE_TEST_SFTP_MAKE") == "openssh",
        })
    }

    /// A directory there that nobody used, opened with more settings; and where this machine sees it.
    pub fn place(&self, more: &str) -> (SftpBackend, PathBuf) {
        let name = unique();
        let url = format!("{}/{name}?ssh_config={}{more}", self.url.trim_end_matches('/'), self.config);
        (open(&url), self.dir.join(name))
    }

    /// The same server, another of its settings files.
    pub fn with_config(&self, name: &str) -> SftpBackend {
        open(&format!("{}/x?ssh_config={}-{name}", self.url, self.config))
    }
}

pub fn open(url: &str) -> SftpBackend {
    SftpBackend::open(Location::parse(url).unwrap()).unwrap()
}

pub fn unique() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}-{}", std::process::id(), now.as_nanos())
}

/// A program that stands in for `ssh`.
pub fn program(dir: &Path, lines: &str) -> PathBuf {
    let path = dir.join("ssh");
    std::fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

pub(crate) async fn put(tree: &dyn Tree, path: &str, content: impl Into<Bytes>, meta: FileMeta) -> Result<()> {
    let staged = tree.stage(content.into(), meta).await?;
    let item = Publish { staged, path: path.into(), keep: None };
    tree.publish(vec![item], true).await.into_iter().collect()
}

pub(crate) async fn read(tree: &dyn Tree, path: &str) -> Result<Vec<u8>> {
    let length = tree.stat(path.as_bytes()).await?.map_or(0, |stat| stat.size);
    let blocks: Vec<Bytes> = tree.read_blocks(path.as_bytes(), length).await?.try_collect().await?;
    Ok(blocks.concat())
}

/// So many bytes that do not repeat soon.
pub fn content(size: usize) -> Vec<u8> {
    (0..size as u64).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

pub async fn ready(backend: &SftpBackend) -> std::sync::Arc<dyn Tree> {
    backend.prepare().await.unwrap();
    backend.tree().unwrap()
}
