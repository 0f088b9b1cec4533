//! What a user is told when the server or AWS's configuration refuses.

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use offsite_backends::{Backend, ErrorKind};

use super::{Server, body, key};

#[tokio::test]
async fn a_missing_bucket_says_what_to_do() {
    let Some(server) = Server::find() else { return };
    let missing = server.open_in("offsite-is-not-there", "p", "").await;
    missing.prepare().await.unwrap();
    let error = missing.store().put(&key("a"), body("x")).await.unwrap_err();
    let error = missing.error("a", &error);
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    let wanted = "s3://offsite-is-not-there/p: no such bucket: create it first";
    assert!(error.to_string().starts_with(wanted), "{error}");
    let error = missing.list_keys().try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.kind == ErrorKind::NotFound && error.message.contains("no such bucket"), "{error}");
    missing.now().await.unwrap();
}

#[tokio::test]
async fn wrong_credentials_are_denied_at_once() {
    let Some(server) = Server::find() else { return };
    for more in ["&profile=offsite-wrong-key", "&profile=offsite-wrong-secret", "&anonymous=true"] {
        if server.make == "moto" && more == "&anonymous=true" {
            continue; // it answers 500
        }
        let wrong = server.open_in(&server.bucket, "p", more).await;
        let error = wrong.store().get(&key("a")).await.unwrap_err();
        let error = wrong.error("a", &error);
        assert!(error.kind == ErrorKind::Denied && error.message.contains("AWS_PROFILE"), "{more}: {error}");
        let error = wrong.list_keys().try_collect::<Vec<_>>().await.unwrap_err();
        assert!(error.kind == ErrorKind::Denied && error.message.contains("AWS_PROFILE"), "{more}: {error}");
        let requests = wrong.meter().requests();
        assert_eq!((requests.list, requests.get), (1, 1), "a refusal is not tried again");
    }
    let none = server.open_in(&server.bucket, "p", "&profile=offsite-no-such-profile").await;
    let error = none.store().get(&key("a")).await.unwrap_err();
    let error = none.error("a", &error);
    assert!(error.kind == ErrorKind::Denied && error.message.contains("offsite-no-such-profile"), "{error}");
    let error = none.list_keys().try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.kind == ErrorKind::Denied && error.message.contains("offsite-no-such-profile"), "{error}");
    assert_eq!(none.meter().requests().total(), 0);
}
