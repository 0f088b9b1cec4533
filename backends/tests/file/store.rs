//! The data plane: the order of listings, copies, the missing root. What every store does is in the conformance suite.

use futures::TryStreamExt;
use object_store::{Error as StoreError, ObjectStoreExt};
use offsite_backends::file::FileBackend;
use offsite_backends::{Backend, ErrorKind, FileMeta, Location};

use crate::place::{key, keys, place};

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
async fn copies_renames_and_deletes() {
    let place = place().await;
    let put = place.store.put(&key("big"), "content".into()).await.unwrap();
    let (from, to) = (key("big"), key("copies/big"));
    let wrong = place.backend.copy_exact(&from, &to, 0, Some("x"), object_store::PutMode::Overwrite).await.unwrap_err();
    assert_eq!(wrong.kind, ErrorKind::Precondition);
    assert!(!place.path("copies").exists());
    let copied = place.backend.copy_exact(&from, &to, 0, put.e_tag.as_deref(), object_store::PutMode::Overwrite).await.unwrap();
    assert_ne!(copied.e_tag, put.e_tag);
    let missing = place.backend.copy_exact(&key("none"), &to, 0, None, object_store::PutMode::Overwrite).await.unwrap_err();
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
