//! Azure Blob Storage on the server that `OFFSITE_TEST_AZURE_URL` names (see `integration/servers`).

use std::env::var;
use std::sync::Arc;

use async_trait::async_trait;
use offsite_backends::conformance::{PlaceKind, TestedPlace};
use offsite_backends::opendal::OpendalBackend;
use offsite_backends::{Backend, Location, Result};

use super::{is_promised, judge};

struct Container {
    url: String,
    /// One that nobody reads without credentials.
    closed: String,
}

#[async_trait]
impl TestedPlace for Container {
    fn name(&self) -> &str {
        "Azure Blob Storage (Azurite 3.35.0)"
    }

    async fn open(&self, kind: PlaceKind, name: &str) -> Result<Option<Arc<dyn Backend>>> {
        let (place, query) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let url = match kind {
            PlaceKind::Plain => format!("{place}/{name}?{query}"),
            PlaceKind::Missing => format!("azblob://offsite-is-not-there/{name}?{query}"),
            // An account of that name would have another key.
            PlaceKind::WrongCredentials => {
                self.closed.replacen('?', &format!("/{name}?"), 1).replace("account_name=offsite", "account_name=stranger")
            }
            PlaceKind::Unmade | PlaceKind::Versioned => return Ok(None),
        };
        Ok(Some(Arc::new(OpendalBackend::open(Location::parse(&url)?)?)))
    }

    fn not_here(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            (
                "blanks and dots at the ends of names",
                "OpenDAL cuts blanks off and Azure dots; offsite finds that out and keeps such names under `.offsite/odd`",
            ),
            ("a backslash in a key", "Azure takes it for a slash; offsite keeps such names under `.offsite/odd`"),
            ("unfinished uploads are listed", "OpenDAL does not list blocks that wait; Azure removes them after a week"),
            (
                "an upload goes on in another process",
                "OpenDAL does not say how Azure calls the blocks; a later run sends the content from its start",
            ),
        ]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_conforms() {
    let Ok(url) = var("OFFSITE_TEST_AZURE_URL") else {
        assert!(!is_promised("azure"), "a server of Azure's was promised and OFFSITE_TEST_AZURE_URL is not set");
        return;
    };
    let closed = var("OFFSITE_TEST_AZURE_TOKEN_URL").unwrap_or_else(|_| url.clone());
    judge(Arc::new(Container { url, closed })).await;
}
