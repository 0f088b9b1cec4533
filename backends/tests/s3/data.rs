//! Puts, gets, conditions, uploads in parts, and what the meter says of them.

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use offsite_backends::{Backend, Error, ErrorKind, Requests};

use super::{Server, bare, body, key, listing, sorted, unique};

fn mode(mode: PutMode) -> PutOptions {
    PutOptions { mode, ..PutOptions::default() }
}

/// Names that were seen to break one client or server or another.
const ODD: [&str; 14] = [
    "plain.txt",
    "a b+c%2Bd%20e",
    "ümläut/日本語 €.txt",
    "q?x=1&y=#frag",
    "quotes'\"`<>&;",
    "star*[x]{y}|~^",
    "...",
    "..hidden/.dot",
    "deep/er/and/deeper/still",
    "tail ",
    "%",
    "=@:,$!()",
    "nul%00",
    "a#12",
];

#[tokio::test]
async fn odd_keys_go_there_and_back() {
    let Some(server) = Server::find() else { return };
    let backend = server.open("odd keys+%25").await;
    let store = backend.store();
    for name in ODD {
        let put = store.put(&key(name), body(name)).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        let head = store.head(&key(name)).await.unwrap();
        assert_eq!((head.location.as_ref(), head.size), (name, name.len() as u64));
        assert_eq!(head.e_tag, put.e_tag, "{name}");
        assert!(put.e_tag.unwrap().starts_with('"'), "object_store keeps the quotes of an etag");
        assert_eq!(store.get(&key(name)).await.unwrap().bytes().await.unwrap(), name.as_bytes());
    }
    let listed = listing(&backend).await;
    assert_eq!(listed.keys().map(String::as_str).collect::<Vec<_>>(), sorted(&ODD));
    for (name, listed) in &listed {
        let head = store.head(&key(name)).await.unwrap();
        assert_eq!((listed.size, listed.etag.as_deref()), (head.size, bare(head.e_tag.as_deref())));
        assert_eq!(listed.modified.timestamp(), head.last_modified.timestamp(), "{name}");
    }
    let keys = futures::stream::iter(ODD.map(|name| Ok(key(name)))).boxed();
    let gone: Vec<Path> = store.delete_stream(keys).try_collect().await.unwrap();
    assert_eq!(gone.len(), ODD.len());
    assert_eq!(listing(&backend).await.len(), 0);
    let error = store.head(&key(ODD[0])).await.unwrap_err();
    assert_eq!(Error::from_store(backend.location(), ODD[0], &error).kind, ErrorKind::NotFound);
    // Deleting what is not there is no error, and neither is an empty file.
    store.delete(&key(ODD[0])).await.unwrap();
    store.put(&key("empty"), PutPayload::new()).await.unwrap();
    assert_eq!(store.get(&key("empty")).await.unwrap().bytes().await.unwrap().len(), 0);
}

#[tokio::test]
async fn create_only_has_one_winner() {
    let Some(server) = Server::find() else { return };
    let backend = server.open("create").await;
    let store = backend.store();
    store.put_opts(&key("a"), body("1"), mode(PutMode::Create)).await.unwrap();
    let error = store.put_opts(&key("a"), body("2"), mode(PutMode::Create)).await.unwrap_err();
    assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error}");
    assert_eq!(Error::from_store(backend.location(), "a", &error).kind, ErrorKind::Exists);
    assert_eq!(store.get(&key("a")).await.unwrap().bytes().await.unwrap(), "1");

    let tries = (0..10).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.put_opts(&key("race"), body(&n.to_string()), mode(PutMode::Create)).await })
    });
    let answers = futures::future::join_all(tries).await;
    let winners = answers.into_iter().filter(|answer| answer.as_ref().unwrap().is_ok()).count();
    assert_eq!(winners, 1);
}

#[tokio::test]
async fn compare_and_swap_swaps_only_what_it_saw() {
    let Some(server) = Server::find() else { return };
    let backend = server.open("swap").await;
    let store = backend.store();
    let first = store.put(&key("a"), body("1")).await.unwrap();
    let swap = |e_tag: Option<String>| mode(PutMode::Update(UpdateVersion { e_tag, version: None }));
    let second = store.put_opts(&key("a"), body("2"), swap(first.e_tag.clone())).await.unwrap();
    let error = store.put_opts(&key("a"), body("3"), swap(first.e_tag)).await.unwrap_err();
    assert_eq!(Error::from_store(backend.location(), "a", &error).kind, ErrorKind::Precondition);
    assert_eq!(store.head(&key("a")).await.unwrap().e_tag, second.e_tag);
}

#[tokio::test]
async fn an_upload_goes_on_in_another_process() {
    let Some(server) = Server::find() else { return };
    for more in ["", "&checksum=crc64nvme", "&checksum=none"] {
        let prefix = format!("parts-{}", unique());
        let (at, part) = (key("big ü.bin"), vec![7_u8; 5 << 20]);
        let first = server.open_in(&server.bucket, &prefix, more).await;
        let parts = first.multipart().unwrap();
        let id = parts.create_multipart(&at).await.unwrap();
        let one = parts.put_part(&at, &id, 0, part.clone().into()).await.unwrap();
        assert!(first.store().head(&at).await.is_err(), "nothing is there before the end");
        drop((first, parts));

        let second = server.open_in(&server.bucket, &prefix, more).await;
        let parts = second.multipart().unwrap();
        let two = parts.put_part(&at, &id, 1, body("the end")).await.unwrap();
        let put = parts.complete_multipart(&at, &id, vec![one, two]).await.unwrap();
        let head = second.store().head(&at).await.unwrap();
        assert_eq!((head.size, head.e_tag), ((5 << 20) + 7, put.e_tag));
        let requests = second.meter().requests();
        assert_eq!((requests.multipart, requests.put, requests.head), (2, 0, 1));

        let id = parts.create_multipart(&key("never")).await.unwrap();
        parts.abort_multipart(&key("never"), &id).await.unwrap();
    }
}

#[tokio::test]
async fn requests_and_bytes_are_counted_exactly() {
    let Some(server) = Server::find() else { return };
    let backend = server.open("meter").await;
    let meter = backend.meter();
    assert_eq!((meter.requests().total(), meter.clock()), (0, None), "opening sends nothing");
    let store = backend.store();
    store.put(&key("a"), body("12345")).await.unwrap();
    assert_eq!(meter.requests(), Requests { put: 1, ..Requests::default() });
    assert_eq!((meter.sent(), meter.received()), (5, 0));
    assert_eq!(store.get(&key("a")).await.unwrap().bytes().await.unwrap(), "12345");
    assert_eq!(meter.requests(), Requests { put: 1, get: 1, ..Requests::default() });
    assert_eq!((meter.sent(), meter.received()), (5, 5));
    backend.copy_exact(&key("a"), &key("b"), 5, None).await.unwrap();
    listing(&backend).await;
    store.head(&key("b")).await.unwrap();
    store.delete(&key("b")).await.unwrap();
    let all = Requests { put: 1, get: 1, copy: 1, list: 1, head: 1, delete: 1, ..Requests::default() };
    assert_eq!((meter.requests(), meter.sent(), meter.received()), (all, 5, 5));
    let off = (backend.now().await.unwrap() - chrono::Utc::now()).num_seconds();
    assert!(off.abs() <= 2, "{off}");
    assert_eq!(meter.requests(), all, "a clock that was seen costs nothing");
    let fresh = server.open("clock").await;
    fresh.now().await.unwrap();
    assert_eq!(fresh.meter().requests(), Requests { head: 1, ..Requests::default() });
}

#[tokio::test]
async fn a_bucket_without_a_prefix_is_a_place_too() {
    let Some(server) = Server::find() else { return };
    let root = server.open_in(&server.bucket, "", "").await;
    let name = format!("root-{}/a", unique());
    root.store().put(&key(&name), body("x")).await.unwrap();
    let copy = format!("{name}2");
    root.copy_exact(&key(&name), &key(&copy), 1, None).await.unwrap();
    let listed = listing(&root).await;
    assert!(listed.contains_key(&name) && listed.contains_key(&copy));
}
