//! The stores for tests do what they claim.

use std::sync::Arc;

use chrono::TimeDelta;
use futures::TryStreamExt;
use object_store::{Error as StoreError, GetOptions, ObjectStoreExt, PutMode};
use offsite_backends::testing::{Faulty, MemoryBackend};
use offsite_backends::{Backend, ErrorKind, FileMeta, Publish};

use crate::place::{count_files, key, mode, place};

#[tokio::test]
async fn memory_has_the_habits_it_is_told() {
    let memory = MemoryBackend::new("bucket").unwrap();
    let store = memory.store();
    let put = store.put(&key("a/b"), "one".into()).await.unwrap();
    let again = store.put_opts(&key("a/b"), "x".into(), mode(PutMode::Create)).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists { .. })));
    memory.ignore_conditions(true);
    store.put_opts(&key("a/b"), "two".into(), mode(PutMode::Create)).await.unwrap();
    let tag = put.e_tag.as_deref();
    let stale = memory.copy_exact(&key("a/b"), &key("c"), 3, tag, object_store::PutMode::Overwrite).await.unwrap_err();
    assert_eq!(stale.kind, ErrorKind::Precondition);
    memory.change_keys(true);
    store.put(&key("x\\y"), "z".into()).await.unwrap();
    assert_eq!(memory.keys(), ["a/b", "x/y"]);

    memory.set_clock_offset(TimeDelta::hours(5));
    let now = memory.now().await.unwrap();
    let put = store.put(&key("late"), "x".into()).await;
    let late = store.head(&key("late")).await.unwrap().last_modified;
    assert!(put.is_ok() && (late - now).num_seconds() == 0);
    assert!((now - chrono::Utc::now()).num_hours() >= 4);

    memory.unordered_listing(true);
    for i in 0..50 {
        memory.plant(&format!("n/{i:02}"), "x");
    }
    let listed: Vec<_> = memory.list_keys().try_collect().await.unwrap();
    assert!(!listed.is_sorted_by_key(|found| found.key.clone()));
    let again: Vec<_> = memory.list_keys().try_collect().await.unwrap();
    assert_eq!(listed, again);
}

#[tokio::test]
async fn memory_keeps_versions_and_parts() {
    let memory = MemoryBackend::new("bucket").unwrap();
    memory.versions(true).set(|options| options.capabilities.min_part = 4);
    let (store, parts) = (memory.store(), memory.multipart().unwrap());
    let old = store.put(&key("a"), "old".into()).await.unwrap();
    store.put(&key("a"), "new".into()).await.unwrap();
    store.delete(&key("a")).await.unwrap();
    assert!(matches!(store.get(&key("a")).await, Err(StoreError::NotFound { .. })));
    let version = GetOptions { version: old.version.clone(), ..GetOptions::default() };
    let got = store.get_opts(&key("a"), version).await.unwrap();
    assert_eq!(got.bytes().await.unwrap(), "old");
    assert_eq!(memory.version_count("a"), 3);
    memory.delete_versions(vec![(key("a"), old.version.unwrap())]).await.unwrap();
    assert_eq!(memory.version_count("a"), 2);

    for (first, fine) in [("abc", false), ("abcd", true)] {
        let id = parts.create_multipart(&key("p")).await.unwrap();
        let two = parts.put_part(&key("p"), &id, 1, "e".into()).await.unwrap();
        let one = parts.put_part(&key("p"), &id, 0, first.into()).await.unwrap();
        let done = parts.complete_multipart(&key("p"), &id, vec![one, two]).await;
        assert_eq!(done.is_ok(), fine);
    }
    assert_eq!(memory.content("p").unwrap(), "abcde");
    assert_eq!(memory.unfinished_uploads(), 1);
}

#[tokio::test]
async fn faults_come_when_they_are_due() {
    let memory = MemoryBackend::new("bucket").unwrap();
    let faulty = Faulty::new(Arc::new(memory.clone()));
    let store = faulty.store();
    faulty.script().fail_at(2, ErrorKind::Denied).fail_verb("get", 2, ErrorKind::NotFound);
    faulty.script().cut_body(2, 3).end_listing_early(1).lose_answer("create", 1, ErrorKind::Transient);
    store.put(&key("a"), "content".into()).await.unwrap();
    let denied = store.put(&key("b"), "x".into()).await;
    assert!(matches!(denied, Err(StoreError::PermissionDenied { .. })));
    assert_eq!(memory.keys(), ["a"]);
    assert_eq!(store.get(&key("a")).await.unwrap().bytes().await.unwrap(), "content");
    assert!(matches!(store.get(&key("a")).await, Err(StoreError::NotFound { .. })));
    let cut = store.get(&key("a")).await.unwrap();
    assert!(cut.bytes().await.is_err());
    let lost = store.put_opts(&key("b"), "x".into(), mode(PutMode::Create)).await;
    assert!(lost.is_err() && memory.keys() == ["a", "b"]);
    let mut listing = faulty.list_keys();
    assert!(listing.try_next().await.unwrap().is_some() && listing.try_next().await.is_err());
    assert_eq!(faulty.calls().last().unwrap().verb, "list");

    faulty.script().stop_at(faulty.count() + 1);
    for _ in 0..3 {
        assert!(store.put(&key("c"), "x".into()).await.is_err());
        assert_eq!(faulty.now().await.unwrap_err().kind, ErrorKind::Transient);
    }
    assert_eq!(memory.keys(), ["a", "b"]);
}

#[tokio::test]
async fn a_publish_can_be_stopped_half_way() {
    let place = place().await;
    let faulty = Faulty::new(Arc::new(place.backend));
    let tree = faulty.tree().unwrap();
    let mut items = Vec::new();
    for i in 0..4 {
        let staged = tree.stage("x".into(), FileMeta::default()).await.unwrap();
        items.push(Publish { staged, path: vec![b'a' + i], keep: None });
    }
    faulty.script().stop_at(7);
    let done = tree.publish(items, true).await;
    let ok: Vec<_> = done.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, true, false, false]);
    assert!(tree.stat(b"a").await.is_err());
    let left = place.dir.path().join("root/.offsite/tmp");
    assert_eq!(count_files(&left), 2);
}
