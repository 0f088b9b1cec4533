//! Large copies, and listings with raw keys. What every store does is in the conformance suite.

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use offsite_backends::{Backend, ErrorKind};

use super::{Server, body, key, listing, sorted, unique};

#[tokio::test]
async fn large_copies_are_made_in_parts() {
    const PART: u64 = 5 << 20;
    let Some(server) = Server::find() else { return };
    let backend = server.open("copy").await.with_copy_limits(PART, PART);
    let store = backend.store();
    let content: Vec<u8> = (0..PART * 2 + 3).map(|n| (n % 251) as u8).collect();
    let put = store.put(&key("big"), content.clone().into()).await.unwrap();
    let size = content.len() as u64;
    let copy = backend.copy_exact(&key("big"), &key("big2"), size, put.e_tag.as_deref(), object_store::PutMode::Overwrite).await.unwrap();
    let requests = backend.meter().requests();
    assert_eq!((requests.copy, requests.multipart), (3, 2));
    assert_eq!(store.get(&key("big2")).await.unwrap().bytes().await.unwrap(), content);
    assert_eq!(store.head(&key("big2")).await.unwrap().e_tag, copy.e_tag);
    let error = backend.copy_exact(&key("none"), &key("big3"), size, None, object_store::PutMode::Overwrite).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    assert!(store.head(&key("big3")).await.is_err());
    if server.make != "moto" {
        let wrong = Some("0123456789abcdef0123456789abcdef");
        let error = backend.copy_exact(&key("big"), &key("big3"), size, wrong, object_store::PutMode::Overwrite).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Precondition, "{error}");
    }
}

#[tokio::test]
async fn listings_are_complete() {
    let Some(server) = Server::find() else { return };
    let backend = server.open("list").await;
    let store = backend.store();
    let names: Vec<String> = (0..1203).map(|n| format!("d{:02}/f {n}+%é", n % 40)).collect();
    let puts = futures::stream::iter(names.clone()).map(|name| {
        let store = store.clone();
        async move { store.put(&key(&name), body(&name)).await }
    });
    puts.buffer_unordered(16).try_collect::<Vec<_>>().await.unwrap();
    let listed = listing(&backend).await;
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(listed.keys().map(String::as_str).collect::<Vec<_>>(), sorted(&wanted));
    assert_eq!(backend.meter().requests().list, 2);
    // A prefix that begins the same is another place.
    let prefix = std::str::from_utf8(backend.location().path()).unwrap();
    let beside = &prefix[..prefix.len() - 1];
    assert_eq!(listing(&server.open_in(&server.bucket, beside, "").await).await.len(), 0);
    let keys: Vec<_> = names.iter().map(|name| Ok(key(name))).collect();
    let gone = store.delete_stream(futures::stream::iter(keys).boxed()).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!((gone.len(), backend.meter().requests().delete), (names.len(), 2));
}

#[tokio::test]
async fn keys_that_object_store_cannot_parse_are_listed() {
    let Some(server) = Server::find() else { return };
    if server.make == "seaweedfs" {
        return; // it merges `a//b` into `a/b` and refuses `.`
    }
    let prefix = format!("raw-{}", unique());
    let backend = server.open_in(&server.bucket, &prefix, "").await;
    let shared = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let config = aws_sdk_s3::config::Builder::from(&shared).endpoint_url(&server.endpoint).force_path_style(true);
    let client = aws_sdk_s3::Client::from_conf(config.build());
    let names = ["a//b", "./x", "tab\there", "dir/", "a", "a/b", "one\u{1}"];
    for name in names {
        let put = client.put_object().bucket(&server.bucket).key(format!("{prefix}/{name}"));
        put.body(name.as_bytes().to_vec().into()).send().await.unwrap();
    }
    let listed: Vec<String> = listing(&backend).await.into_keys().collect();
    assert_eq!(listed, sorted(&names));
}
