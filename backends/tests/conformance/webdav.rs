//! WebDAV on the server that `OFFSITE_TEST_WEBDAV_URL` names (see `integration/servers`).

use std::env::var;
use std::sync::Arc;

use async_trait::async_trait;
use offsite_backends::conformance::{PlaceKind, TestedPlace};
use offsite_backends::opendal::OpendalBackend;
use offsite_backends::{Backend, Location, Result};

use super::{is_promised, judge};

struct Server {
    url: String,
}

#[async_trait]
impl TestedPlace for Server {
    fn name(&self) -> &str {
        "WebDAV (WsgiDAV 4.3.3)"
    }

    async fn open(&self, kind: PlaceKind, name: &str) -> Result<Option<Arc<dyn Backend>>> {
        let user = match kind {
            PlaceKind::Plain => "offsite",
            PlaceKind::WrongCredentials => "stranger",
            PlaceKind::Missing | PlaceKind::Unmade | PlaceKind::Versioned => return Ok(None),
        };
        let (place, query) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let url = format!("{place}/{name}?{query}&username={user}");
        Ok(Some(Arc::new(OpendalBackend::open(Location::parse(&url)?)?)))
    }

    fn not_here(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            (
                "a reader sees one put or the other, whole",
                "it writes in place; what offsite writes for itself is put beside and moved, an interrupted content is sent again",
            ),
            ("a get of another etag is refused", "what is replaced by as many bytes within a second has the same tag"),
            (
                "requests and bytes are counted",
                "a delete looks first whether it is a file: a server deletes a directory with all that lies in it",
            ),
            (
                "blanks and dots at the ends of names",
                "OpenDAL cuts blanks off; offsite finds that out and keeps such names under `.offsite/odd`",
            ),
            ("a backslash in a key", "some servers take it for a slash; offsite keeps such names under `.offsite/odd`"),
            (
                "a segment of 255 bytes",
                "250 at most, because servers add to the names of files; offsite keeps longer ones under `.offsite/odd`",
            ),
            (
                "a key and a key below it",
                "a file and a directory cannot have one name; a run that needs both is refused and says what to do",
            ),
            ("unfinished uploads are listed", "a content goes in one request, or is put together on this machine first"),
            ("an upload goes on in another process", "a content goes in one request; a later run sends it from its start"),
        ]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_conforms() {
    let Ok(url) = var("OFFSITE_TEST_WEBDAV_URL") else {
        assert!(!is_promised("webdav"), "a WebDAV server was promised and OFFSITE_TEST_WEBDAV_URL is not set");
        return;
    };
    judge(Arc::new(Server { url })).await;
}
