//! Backblaze B2 on the emulator that `OFFSITE_TEST_B2_ENDPOINT` names (see `integration/servers`).

use std::env::var;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use async_trait::async_trait;
use offsite_backends::b2::B2Backend;
use offsite_backends::conformance::{PlaceKind, TestedPlace};
use offsite_backends::{Backend, Location, Result};

use super::{is_promised, judge};

struct Bucket {
    endpoint: String,
    bucket: String,
    /// Holds a key that nobody has.
    wrong_key: tempfile::NamedTempFile,
}

#[async_trait]
impl TestedPlace for Bucket {
    fn name(&self) -> &str {
        "B2 (emulator)"
    }

    async fn open(&self, kind: PlaceKind, name: &str) -> Result<Option<Arc<dyn Backend>>> {
        let more = match kind {
            PlaceKind::WrongCredentials => format!("&key_file={}", self.wrong_key.path().display()),
            _ => String::new(),
        };
        let bucket = match kind {
            PlaceKind::Missing => "offsite-is-not-there",
            PlaceKind::Unmade => name,
            _ => &self.bucket,
        };
        let url = format!("b2://{bucket}/{name}?endpoint={}{more}", self.endpoint);
        Ok(Some(Arc::new(B2Backend::open(Location::parse(&url)?)?)))
    }

    fn not_here(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("a backslash in a key", "Backblaze takes none; offsite finds that out and keeps such names under `.offsite/odd`"),
            ("a segment of 255 bytes", "Backblaze takes 250 at most; offsite finds that out and keeps longer ones under `.offsite/odd`"),
            ("requests and bytes are counted", "an upload takes a URL for it first, and all of it an authorization; both are counted too"),
        ]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b2_conforms() {
    let Ok(endpoint) = var("OFFSITE_TEST_B2_ENDPOINT") else {
        assert!(!is_promised("b2"), "the B2 emulator was promised and OFFSITE_TEST_B2_ENDPOINT is not set");
        return;
    };
    let bucket = var("OFFSITE_TEST_B2_BUCKET").unwrap_or_else(|_| "offsite-test".into());
    let wrong_key = tempfile::NamedTempFile::new().unwrap();
    let mut file = std::fs::OpenOptions::new().write(true).mode(0o600).open(wrong_key.path()).unwrap();
    write!(file, "00{:024}\nnot-a-key\n", std::process::id()).unwrap();
    judge(Arc::new(Bucket { endpoint, bucket, wrong_key })).await;
}
