//! The data plane: races, conditions, listings, the missing root.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{Error as StoreError, GetOptions, ObjectStoreExt, PutMode, UpdateVersion};
use offsite_backends::file::FileBackend;
use offsite_backends::{Backend, ErrorKind, FileMeta, Location};

use crate::place::{key, keys, mode, place};

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_creators_one_wins() {
    let place = place().await;
    for round in 0..10 {
        let name = key(&format!("lease/{round}.json"));
        let tries = (0..20).map(|i| {
            let other = FileBackend::open(place.backend.location().clone()).unwrap().store();
            let name = name.clone();
            tokio::spawn(async move {
                let body = format!("writer {i}").into();
                other.put_opts(&name, body, mode(PutMode::Create)).await.map(|_| i)
            })
        });
        let done = futures::future::join_all(tries.collect::<Vec<_>>()).await;
        let (won, lost): (Vec<_>, Vec<_>) = done.into_iter().map(Result::unwrap).partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        assert!(lost.iter().all(|e| matches!(e, Err(StoreError::AlreadyExists { .. }))));
        let body = place.store.get(&name).await.unwrap().bytes().await.unwrap();
        assert_eq!(body, format!("writer {}", won[0].as_ref().unwrap()));
    }
    assert_eq!(place.staged(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwrite_is_seen_whole_or_not_at_all() {
    let place = place().await;
    let name = key("a/b");
    let body = |byte: u8| Bytes::from(vec![byte; 3 << 20]);
    place.store.put(&name, body(0).into()).await.unwrap();
    let (store, target) = (place.store.clone(), name.clone());
    let writer = tokio::spawn(async move {
        for byte in 1..20 {
            store.put(&target, body(byte).into()).await.unwrap();
        }
    });
    while !writer.is_finished() {
        let got = place.store.get(&name).await.unwrap().bytes().await.unwrap();
        assert_eq!(got.len(), 3 << 20);
        assert!(got.iter().all(|b| *b == got[0]));
    }
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_updates_of_one_version_one_wins() {
    let place = place().await;
    let name = key("lease.json");
    let first = place.store.put(&name, "0".into()).await.unwrap();
    let mut current: UpdateVersion = first.into();
    for _ in 0..10 {
        let tries = (0..12).map(|i| {
            let other = FileBackend::open(place.backend.location().clone()).unwrap().store();
            let (name, current) = (name.clone(), current.clone());
            tokio::spawn(async move { other.put_opts(&name, format!("{i}").into(), mode(PutMode::Update(current))).await })
        });
        let done = futures::future::join_all(tries.collect::<Vec<_>>()).await;
        let (won, lost): (Vec<_>, Vec<_>) = done.into_iter().map(Result::unwrap).partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        assert!(lost.iter().all(|e| matches!(e, Err(StoreError::Precondition { .. }))));
        current = won.into_iter().next().unwrap().unwrap().into();
        let head = place.store.head(&name).await.unwrap();
        assert_eq!(head.e_tag, current.e_tag);
    }
    let gone = place.store.put_opts(&key("none"), "x".into(), mode(PutMode::Update(current))).await;
    assert!(matches!(gone, Err(StoreError::Precondition { .. })));
    assert!(!place.path("none").exists());
}

#[tokio::test]
async fn listing_is_in_the_order_of_keys() {
    let place = place().await;
    for name in ["a/b", "a.b", "a-b", "a0", "a/b.c/d", "a/b-", "z", ".offsite/format.json"] {
        place.store.put(&key(name), "x".into()).await.unwrap();
    }
    let all = keys(&place, None).await;
    assert_eq!(all, [".offsite/format.json", "a-b", "a.b", "a/b", "a/b-", "a/b.c/d", "a0", "z"]);
    assert_eq!(keys(&place, Some("a")).await, ["a/b", "a/b-", "a/b.c/d"]);
    assert_eq!(keys(&place, Some("a/b")).await, [""; 0]);
    assert_eq!(keys(&place, Some("none")).await, [""; 0]);
    let rest = place.store.list_with_offset(None, &key("a/b-"));
    let rest: Vec<_> = rest.try_collect().await.unwrap();
    assert_eq!(rest.len(), 3);
    let level = place.store.list_with_delimiter(Some(&key("a"))).await.unwrap();
    assert_eq!((level.objects.len(), level.common_prefixes), (2, vec![key("a/b.c")]));
}

#[tokio::test]
async fn the_data_plane() {
    let place = place().await;
    let big: Bytes = (0..(3 << 20) + 5).map(|i| (i % 251) as u8).collect::<Vec<_>>().into();
    let mut upload = place.store.put_multipart(&key("big")).await.unwrap();
    let parts: Vec<_> = big.chunks(1 << 20).map(|p| upload.put_part(Bytes::copy_from_slice(p).into())).collect();
    futures::future::try_join_all(parts).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(place.store.get(&key("big")).await.unwrap().bytes().await.unwrap(), big);
    assert_eq!(place.store.get_range(&key("big"), 7..2_000_000).await.unwrap(), big.slice(7..2_000_000));
    let stale = GetOptions { if_match: Some("x".into()), ..GetOptions::default() };
    assert!(matches!(place.store.get_opts(&key("big"), stale).await, Err(StoreError::Precondition { .. })));
}

#[tokio::test]
async fn copies_renames_and_deletes() {
    let place = place().await;
    let put = place.store.put(&key("big"), "content".into()).await.unwrap();
    let (from, to) = (key("big"), key("copies/big"));
    let wrong = place.backend.copy_exact(&from, &to, 0, Some("x")).await.unwrap_err();
    assert_eq!(wrong.kind, ErrorKind::Precondition);
    assert!(!place.path("copies").exists());
    let copied = place.backend.copy_exact(&from, &to, 0, put.e_tag.as_deref()).await.unwrap();
    assert_ne!(copied.e_tag, put.e_tag);
    let missing = place.backend.copy_exact(&key("none"), &to, 0, None).await.unwrap_err();
    assert_eq!(missing.kind, ErrorKind::NotFound);
    assert!(place.store.copy_if_not_exists(&from, &to).await.is_err());
    assert!(place.store.rename_if_not_exists(&from, &to).await.is_err());
    place.store.rename(&from, &to).await.unwrap();
    assert_eq!(place.store.head(&to).await.unwrap().e_tag, put.e_tag);
    place.store.delete(&to).await.unwrap();
    place.store.delete(&to).await.unwrap();
    assert!(matches!(place.store.head(&to).await, Err(StoreError::NotFound { .. })));
    let skew = chrono::Utc::now() - place.backend.now().await.unwrap();
    assert!(skew.num_seconds().abs() < 2);
    place.tree.clear_staging().await.unwrap();
    let requests = place.backend.meter().requests();
    assert_eq!((requests.delete, requests.head, place.backend.meter().sent()), (2, 2, 7));
}

#[tokio::test]
async fn a_missing_root_is_an_error_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("not/there");
    let backend = FileBackend::open(Location::from_dir(root.clone()).unwrap()).unwrap();
    let (store, tree) = (backend.store(), backend.tree().unwrap());
    let not_found = |e: StoreError| assert!(matches!(e, StoreError::NotFound { .. }), "{e}");
    not_found(store.get(&key("a")).await.unwrap_err());
    not_found(store.put(&key("a"), "x".into()).await.unwrap_err());
    not_found(store.delete(&key("a")).await.unwrap_err());
    not_found(store.list(None).try_collect::<Vec<_>>().await.unwrap_err());
    not_found(store.list_with_delimiter(None).await.unwrap_err());
    let error = backend.list_keys().try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.kind == ErrorKind::NotFound && error.message.contains("does not exist"), "{error}");
    assert_eq!(tree.remove_file(b"a", None).await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(tree.remove_dir(b"a").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(tree.clear_staging().await.unwrap_err().kind, ErrorKind::NotFound);
    assert!(tree.stage("x".into(), FileMeta::default()).await.is_err());
    assert!(tree.stat(b"a").await.is_err() && tree.sync().await.is_err());
    backend.now().await.unwrap();
    assert!(!root.exists());
    backend.prepare().await.unwrap();
    backend.prepare().await.unwrap();
    store.put(&key("a"), "x".into()).await.unwrap();
    assert!(Location::parse("file:///x?y=z").and_then(FileBackend::open).is_err());
}
