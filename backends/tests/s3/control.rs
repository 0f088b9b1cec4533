//! Copies, listings with raw keys, and versions.

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStoreExt};
use offsite_backends::s3::S3Backend;
use offsite_backends::{Backend, Error, ErrorKind};

use super::{Server, bare, body, key, listing, sorted, unique};

#[tokio::test]
async fn copies_are_exact() {
    let Some(server) = Server::find() else { return };
    let backend = server.open("copy").await;
    let store = backend.store();
    let from = key("sü ß/a+b%20c'\"&?");
    let put = store.put(&from, body("content")).await.unwrap();
    for etag in [None, put.e_tag.as_deref(), bare(put.e_tag.as_deref())] {
        let copy = backend.copy_exact(&from, &key("to/b"), 7, etag).await.unwrap();
        assert_eq!(copy.e_tag, put.e_tag, "a copy answers the same form of etag as a put");
        assert_eq!(copy.version, None);
        assert_eq!(store.get(&key("to/b")).await.unwrap().bytes().await.unwrap(), "content");
    }
    let error = backend.copy_exact(&key("none"), &key("to/c"), 7, None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    if server.make != "moto" {
        let wrong = Some("\"0123456789abcdef0123456789abcdef\"");
        let error = backend.copy_exact(&from, &key("to/d"), 7, wrong).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Precondition, "{error}");
        assert!(store.head(&key("to/d")).await.is_err());
    }
}

#[tokio::test]
async fn large_copies_are_made_in_parts() {
    const PART: u64 = 5 << 20;
    let Some(server) = Server::find() else { return };
    let backend = server.open("copy").await.with_copy_limits(PART, PART);
    let store = backend.store();
    let content: Vec<u8> = (0..PART * 2 + 3).map(|n| (n % 251) as u8).collect();
    let put = store.put(&key("big"), content.clone().into()).await.unwrap();
    let size = content.len() as u64;
    let copy = backend.copy_exact(&key("big"), &key("big2"), size, put.e_tag.as_deref()).await.unwrap();
    let requests = backend.meter().requests();
    assert_eq!((requests.copy, requests.multipart), (3, 2));
    assert_eq!(store.get(&key("big2")).await.unwrap().bytes().await.unwrap(), content);
    assert_eq!(store.head(&key("big2")).await.unwrap().e_tag, copy.e_tag);
    let error = backend.copy_exact(&key("none"), &key("big3"), size, None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    assert!(store.head(&key("big3")).await.is_err());
    if server.make != "moto" {
        let wrong = Some("0123456789abcdef0123456789abcdef");
        let error = backend.copy_exact(&key("big"), &key("big3"), size, wrong).await.unwrap_err();
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

#[tokio::test]
async fn versions_are_read_and_deleted_one_by_one() {
    let Some(server) = Server::find() else { return };
    let backend = server.open_in(&server.versioned, &format!("v-{}", unique()), "").await;
    let store = backend.store();
    let at = key("a b/ü");
    let first = store.put(&at, body("one")).await.unwrap().version.unwrap();
    let second = store.put(&at, body("two")).await.unwrap().version.unwrap();
    assert_eq!(read(&backend, &at, &first).await.unwrap(), "one");
    store.delete(&at).await.unwrap();
    assert!(store.head(&at).await.is_err());
    assert_eq!(read(&backend, &at, &second).await.unwrap(), "two");
    let copied = backend.copy_exact(&at, &key("copy"), 3, None).await;
    assert_eq!(copied.unwrap_err().kind, ErrorKind::NotFound, "a deleted object is no source");

    backend.delete_versions(vec![(at.clone(), first.clone()), (at.clone(), second.clone())]).await.unwrap();
    backend.delete_versions(vec![(at.clone(), first.clone())]).await.unwrap();
    let error = read(&backend, &at, &first).await.unwrap_err();
    assert_eq!(Error::from_store(backend.location(), "a", &error).kind, ErrorKind::NotFound, "{error}");
    store.put(&at, body("three")).await.unwrap();
    let copy = backend.copy_exact(&at, &key("copy"), 5, None).await.unwrap();
    assert_eq!(read(&backend, &key("copy"), &copy.version.unwrap()).await.unwrap(), "three");
}

async fn read(backend: &S3Backend, at: &Path, version: &str) -> object_store::Result<bytes::Bytes> {
    let options = GetOptions { version: Some(version.to_owned()), ..GetOptions::default() };
    backend.store().get_opts(at, options).await?.bytes().await
}
