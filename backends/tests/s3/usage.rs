//! Listings of everything that takes up room: versions, markers, unfinished uploads, over several pages.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use offsite_backends::s3::S3Backend;
use offsite_backends::usage::{Gaps, survey};
use offsite_backends::{Backend, Depth, Listed, Scope, State, Usage};

use super::{Server, body, key, unique};

async fn everything(backend: &S3Backend) -> Vec<Listed> {
    backend.list(Scope::Prefix, Depth::Everything).try_collect().await.unwrap()
}

/// How many of each state a key has.
fn states(listed: &[Listed]) -> BTreeMap<String, BTreeMap<State, usize>> {
    let mut found = BTreeMap::<String, BTreeMap<State, usize>>::new();
    for one in listed {
        *found.entry(String::from_utf8(one.key.clone()).unwrap()).or_default().entry(one.state).or_default() += 1;
    }
    found
}

#[tokio::test]
async fn versions_markers_and_uploads_are_listed() {
    let Some(server) = Server::find() else { return };
    let backend = server.open_in(&server.versioned, &format!("all-{}", unique()), "").await;
    let store = backend.store();
    let odd = ["a b+c%2Bd", "ümläut/日本語 €.txt", "q?x=1&y=#frag", "plus+plus", "%", "gone/x"];
    for name in odd {
        store.put(&key(name), body("one")).await.unwrap();
        store.put(&key(name), body("second")).await.unwrap();
    }
    store.delete(&key("gone/x")).await.unwrap();
    let parts = backend.multipart().unwrap();
    let id = parts.create_multipart(&key("big +ü.bin")).await.unwrap();
    parts.put_part(&key("big +ü.bin"), &id, 0, vec![7; 5 << 20].into()).await.unwrap();

    let listed = everything(&backend).await;
    let found = states(&listed);
    for name in &odd[..5] {
        assert_eq!(found[*name], BTreeMap::from([(State::Current, 1), (State::Old, 1)]), "{name}");
    }
    assert_eq!(found["gone/x"], BTreeMap::from([(State::Old, 2), (State::Marker, 1)]));
    assert_eq!((&found["big +ü.bin"], found.len()), (&BTreeMap::from([(State::Unfinished, 1)]), odd.len() + 1));
    for one in &listed {
        let size = match one.state {
            State::Current => 6,
            State::Old if one.key == b"gone/x" => one.size,
            State::Old => 3,
            State::Marker | State::Unfinished => 0,
        };
        assert_eq!(one.size, size, "{one:?}");
        assert!(one.version.is_some(), "{one:?}");
    }
    // What it names can be read and removed.
    let old = listed.iter().find(|one| one.state == State::Old && one.key == b"plus+plus").unwrap();
    backend.delete_versions(vec![(key("plus+plus"), old.version.clone().unwrap())]).await.unwrap();
    parts.abort_multipart(&key("big +ü.bin"), &id).await.unwrap();
    let found = states(&everything(&backend).await);
    assert_eq!((found["plus+plus"].get(&State::Old), found.contains_key("big +ü.bin")), (None, false));
}

#[tokio::test]
async fn versions_over_several_pages_are_complete_and_one_request_a_page() {
    let Some(server) = Server::find() else { return };
    let backend = server.open_in(&server.versioned, &format!("pages-{}", unique()), "").await;
    let store = backend.store();
    let names: Vec<String> = (0..700).map(|n| format!("d{:02}/f {n}+%é", n % 40)).collect();
    for round in 0..2 {
        let puts = futures::stream::iter(names.clone()).map(|name| {
            let store = store.clone();
            async move { store.put(&key(&name), body(&format!("round {round}"))).await }
        });
        puts.buffer_unordered(16).try_collect::<Vec<_>>().await.unwrap();
    }
    // All versions of one key do not fit on a page with its neighbours: pages break between versions too.
    let before = backend.meter().requests().list;
    let mut usage = Usage::default();
    let mut seen = BTreeMap::<Vec<u8>, usize>::new();
    let gaps = survey(&backend, Scope::Prefix, |listed| {
        usage.add(listed);
        *seen.entry(listed.key.clone()).or_default() += 1;
        Ok(())
    });
    assert_eq!(gaps.await.unwrap(), Gaps::default());
    assert_eq!((usage.current.objects, usage.old.objects, usage.markers), (700, 700, 0));
    assert_eq!((usage.current.bytes, usage.old.bytes), (4900, 4900));
    assert!(seen.len() == 700 && seen.values().all(|count| *count == 2), "a version was listed twice or left out");
    // Two pages of versions, one of uploads.
    assert_eq!(backend.meter().requests().list - before, 3);
}

#[tokio::test]
async fn a_bucket_without_versions_lists_what_is_there() {
    let Some(server) = Server::find() else { return };
    let backend = server.open("plain").await;
    let store = backend.store();
    for name in ["a", "b/c"] {
        store.put(&key(name), body("one")).await.unwrap();
        store.put(&key(name), body("second")).await.unwrap();
    }
    store.put(&key("gone"), body("x")).await.unwrap();
    store.delete(&key("gone")).await.unwrap();
    let found = states(&everything(&backend).await);
    let once = BTreeMap::from([(State::Current, 1)]);
    assert_eq!(found, BTreeMap::from([("a".to_owned(), once.clone()), ("b/c".to_owned(), once)]));
    // A place where nothing lies is empty, and no error.
    assert_eq!(everything(&server.open("none").await).await.len(), 0);
}
