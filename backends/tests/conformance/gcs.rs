//! Google Cloud Storage, on the fake that `OFFSITE_TEST_GCS_ENDPOINT` names (see `integration/servers`).

use std::env::var;
use std::sync::Arc;

use async_trait::async_trait;
use offsite_backends::conformance::{PlaceKind, TestedPlace};
use offsite_backends::gcs::GcsBackend;
use offsite_backends::{Backend, Location, Result};

use super::{is_promised, judge};

struct Bucket {
    endpoint: String,
}

#[async_trait]
impl TestedPlace for Bucket {
    fn name(&self) -> &str {
        "Google Cloud Storage (our fake)"
    }

    async fn open(&self, kind: PlaceKind, name: &str) -> Result<Option<Arc<dyn Backend>>> {
        let set = |variable: &str| var(format!("OFFSITE_TEST_GCS_{variable}")).unwrap_or_default();
        let (bucket, key) = match kind {
            PlaceKind::Plain => (set("BUCKET"), "admin"),
            PlaceKind::Versioned => (set("VERSIONED_BUCKET"), "admin"),
            PlaceKind::Missing => ("offsite-is-not-there".to_owned(), "admin"),
            PlaceKind::Unmade => (name.to_owned(), "admin"),
            PlaceKind::WrongCredentials => (set("BUCKET"), "stranger"),
        };
        let query = format!("endpoint={}&control_endpoint={}&credentials={}/{key}.json", self.endpoint, set("CONTROL"), set("KEYS"));
        Ok(Some(Arc::new(GcsBackend::open(Location::parse(&format!("gs://{bucket}/{name}?{query}"))?)?)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_conforms() {
    let Ok(endpoint) = var("OFFSITE_TEST_GCS_ENDPOINT") else {
        assert!(!is_promised("gcs"), "a GCS server was promised and OFFSITE_TEST_GCS_ENDPOINT is not set");
        return;
    };
    judge(Arc::new(Bucket { endpoint })).await;
}
