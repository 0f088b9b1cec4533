//! SFTP on the server that `OFFSITE_TEST_SFTP_URL` names (see `integration/servers`).

use std::env::var;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use offsite_backends::conformance::{PlaceKind, TestedPlace};
use offsite_backends::sftp::SftpBackend;
use offsite_backends::{Backend, Location, Result};

use super::{is_promised, judge};

struct Server {
    url: String,
    config: String,
    /// Where this machine sees what the URL names.
    dir: PathBuf,
    make: String,
    name: String,
}

#[async_trait]
impl TestedPlace for Server {
    fn name(&self) -> &str {
        &self.name
    }

    async fn open(&self, kind: PlaceKind, name: &str) -> Result<Option<Arc<dyn Backend>>> {
        let (path, more) = match kind {
            PlaceKind::Plain => (name.to_owned(), ""),
            PlaceKind::Missing => (format!("missing/{name}"), ""),
            PlaceKind::Unmade => (format!("unmade/{name}"), ""),
            PlaceKind::WrongCredentials if self.make == "openssh" => (name.to_owned(), "-wrong-key"),
            PlaceKind::WrongCredentials | PlaceKind::Versioned => return Ok(None),
        };
        let url = format!("{}/{path}?ssh_config={}{more}", self.url.trim_end_matches('/'), self.config);
        let backend = SftpBackend::open(Location::parse(&url)?)?;
        if kind == PlaceKind::Plain {
            backend.prepare().await?;
        }
        Ok(Some(Arc::new(backend)))
    }

    fn not_here(&self) -> Vec<(&'static str, &'static str)> {
        let mut quirks = vec![("tree: times in nanoseconds", "version 3 of SFTP has whole seconds; the manifest keeps the rest")];
        if self.make == "rclone" {
            let links = "it has no symlinks";
            quirks.extend([
                (
                    "a reader sees one put or the other, whole",
                    "its cache moves under a reader, whose read can then fail; what it gives is whole, and offsite says what failed",
                ),
                (
                    "a get of another etag is refused",
                    "it keeps no access time, so what is replaced by as many bytes within a second has the same tag",
                ),
                ("a copy on the server", "it cannot copy: the content goes through this machine"),
                ("tree: times in whole seconds", links),
                ("tree: links", links),
                ("tree: what is in the way", links),
                ("tree: no symlink on the way is followed", links),
                ("tree: modes", "it keeps no modes"),
                ("tree: names that are too long are refused", "it refuses them without saying why"),
            ]);
        }
        quirks
    }

    fn seen_at(&self, name: &str) -> Option<PathBuf> {
        Some(self.dir.join(name))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_conforms() {
    let Ok(url) = var("OFFSITE_TEST_SFTP_URL") else {
        assert!(!is_promised("sftp"), "an SFTP server was promised and OFFSITE_TEST_SFTP_URL is not set");
        return;
    };
    let set = |name: &str| var(name).unwrap_or_else(|_| panic!("{name} is not set, and OFFSITE_TEST_SFTP_URL is"));
    let make = set("OFFSITE_TEST_SFTP_MAKE");
    let name = match make.as_str() {
        "openssh" => "SFTP (OpenSSH)".to_owned(),
        "rclone" => "SFTP (rclone serve 1.75.2)".to_owned(),
        other => format!("SFTP ({other})"),
    };
    let (config, dir) = (set("OFFSITE_TEST_SFTP_CONFIG"), set("OFFSITE_TEST_SFTP_DIR").into());
    judge(Arc::new(Server { url, config, dir, make, name })).await;
}
