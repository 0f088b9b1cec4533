//! S3 on the server that `OFFSITE_TEST_S3_ENDPOINT` names (see `integration/servers`).

use std::env::var;
use std::sync::Arc;

use async_trait::async_trait;
use offsite_backends::conformance::{PlaceKind, TestedPlace};
use offsite_backends::s3::S3Backend;
use offsite_backends::{Backend, Location, Result};

use super::{is_promised, judge};

struct Bucket {
    endpoint: String,
    make: String,
    name: String,
}

#[async_trait]
impl TestedPlace for Bucket {
    fn name(&self) -> &str {
        &self.name
    }

    async fn open(&self, kind: PlaceKind, name: &str) -> Result<Option<Arc<dyn Backend>>> {
        let bucket = |variable: &str, default: &str| var(variable).unwrap_or_else(|_| default.to_owned());
        let (plain, versioned) = ("OFFSITE_TEST_S3_BUCKET", "OFFSITE_TEST_S3_VERSIONED_BUCKET");
        let (bucket, more) = match kind {
            PlaceKind::Versioned if self.make == "rclone-s3" => return Ok(None),
            PlaceKind::Plain => (bucket(plain, "offsite-test"), ""),
            PlaceKind::Versioned => (bucket(versioned, "offsite-versioned"), ""),
            PlaceKind::Missing => ("offsite-is-not-there".to_owned(), ""),
            PlaceKind::Unmade => (name.to_owned(), ""),
            PlaceKind::WrongCredentials => (bucket(plain, "offsite-test"), "&profile=offsite-wrong-secret"),
        };
        let url = format!("s3://{bucket}/{name}?endpoint={}{more}", self.endpoint);
        Ok(Some(Arc::new(S3Backend::open(Location::parse(&url)?).await?)))
    }

    fn not_here(&self) -> Vec<(&'static str, &'static str)> {
        match self.make.as_str() {
            "seaweedfs" => vec![(
                "a backslash in a key",
                "it stores `a\\b` as `a/b`; offsite finds that out and keeps such names under `.offsite/odd`",
            )],
            "moto" => vec![
                ("an upload that is aborted leaves nothing", "it answers 500 to the end of an upload that was aborted"),
                ("a copy of another etag is refused", "it ignores the condition on the source and copies"),
            ],
            "rclone-s3" => {
                let conditions = "it ignores conditions; the probe of the first run finds that out";
                vec![
                    ("a get of another etag is refused", conditions),
                    ("create-only: the second is refused", conditions),
                    ("create-only: of eight at once one wins", conditions),
                    ("compare-and-swap: only what was seen is replaced", conditions),
                    ("compare-and-swap: what is not there is not made", conditions),
                    ("compare-and-swap: of eight at once one wins", conditions),
                    ("a copy of another etag is refused", conditions),
                    (
                        "a key and a key below it",
                        "a file and a directory cannot have one name; where one became the other, a run without either comes between",
                    ),
                    ("an empty place lists nothing", "it cannot list versions; offsite then lists what is there now"),
                    ("unfinished uploads are listed", "it cannot list versions, which a listing of everything begins with"),
                    (
                        "an upload in parts",
                        "the tag in its answer is another than the one that the object has from then on; offsite asks for that one where the probe found something lacking",
                    ),
                    ("initialize: what is made is there, and twice is once", "a bucket has no settings there; each is said to have failed"),
                ]
            }
            _ => Vec::new(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_conforms() {
    let Ok(endpoint) = var("OFFSITE_TEST_S3_ENDPOINT") else {
        assert!(!is_promised("s3"), "an S3 server was promised and OFFSITE_TEST_S3_ENDPOINT is not set");
        return;
    };
    let make = var("OFFSITE_TEST_S3_MAKE").unwrap_or_else(|_| "other".into());
    let name = match make.as_str() {
        "seaweedfs" => "S3 (SeaweedFS 4.48)".to_owned(),
        "moto" => "S3 (moto 5.2.5)".to_owned(),
        "rclone-s3" => "S3 (rclone serve 1.75.2)".to_owned(),
        other => format!("S3 ({other})"),
    };
    judge(Arc::new(Bucket { endpoint, make, name })).await;
}
