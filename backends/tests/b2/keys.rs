//! Application keys: limited ones work within their limits, and each refusal names what is missing.

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use offsite_backends::{Backend, Depth, Error, ErrorKind, Scope};
use serde_json::json;

use crate::*;

async fn everything(backend: &offsite_backends::b2::B2Backend) -> Result<(), Error> {
    let store = backend.store();
    plain(backend, store.put_opts(&key("a"), body("x"), mode(PutMode::Create)).await)?;
    let put = plain(backend, store.put(&key("dir/b"), body("y")).await)?;
    assert_eq!(read(backend, "a").await, "x");
    assert_eq!(backend.list(Scope::Prefix, Depth::Everything).try_collect::<Vec<_>>().await?.len(), 2);
    plain(backend, store.list_with_delimiter(None).await)?;
    backend.copy_exact(&key("dir/b"), &key("c"), 1, put.e_tag.as_deref(), object_store::PutMode::Overwrite).await?;
    plain(backend, store.delete(&key("c")).await)?;
    let refused = backend.delete_versions(vec![(key("dir/b"), put.version.unwrap())]).await?;
    refused.into_iter().next().map_or(Ok(()), |one| Err(one.error))
}

#[tokio::test]
async fn a_key_for_one_bucket_needs_no_look_at_the_buckets() {
    let Some(emulator) = Emulator::find().await else { return };
    let key_of = emulator.key(&ENOUGH[1..], None).await;
    let backend = emulator.open(&format!("one-bucket-{}", unique()), &key_of);
    everything(&backend).await.unwrap();
    assert!(!emulator.counts(&key_of).await.contains_key("b2_list_buckets"));
}

#[tokio::test]
async fn a_key_for_all_buckets_takes_one_look() {
    let Some(emulator) = Emulator::find().await else { return };
    let key_of = emulator.made(json!({"capabilities": ENOUGH, "keyName": "all"})).await;
    let backend = emulator.open(&format!("all-buckets-{}", unique()), &key_of);
    everything(&backend).await.unwrap();
    assert_eq!(emulator.counts(&key_of).await["b2_list_buckets"], 1);
}

#[tokio::test]
async fn a_key_for_one_beginning_of_names_works_below_it_and_nowhere_else() {
    let Some(emulator) = Emulator::find().await else { return };
    let top = format!("limited-{}", unique());
    let key_of = emulator.key(&ENOUGH, Some(&format!("{top}/"))).await;
    for prefix in [top.clone(), format!("{top}/site")] {
        everything(&emulator.open(&prefix, &key_of)).await.unwrap_or_else(|error| panic!("{prefix}: {error}"));
    }
    for prefix in ["", "limited", &format!("{top}x")] {
        let error = everything(&emulator.open(prefix, &key_of)).await.unwrap_err();
        assert!(error.kind == ErrorKind::Denied && error.message.contains(&format!("begin with `{top}/`")), "{prefix}: {error}");
    }
    let listed = emulator.open(&top, &key_of).list(Scope::Bucket, Depth::Current).try_collect::<Vec<_>>().await;
    assert_eq!(listed.unwrap_err().kind, ErrorKind::Denied);
}

#[tokio::test]
async fn a_key_for_another_bucket_says_so() {
    let Some(emulator) = Emulator::find().await else { return };
    let key_of = emulator.key(&ENOUGH, None).await;
    let error = everything(&emulator.open_in("somebody-elses", "x", &key_of)).await.unwrap_err();
    assert!(error.kind == ErrorKind::Denied && error.message.contains(&format!("limited to the bucket {}", emulator.bucket)), "{error}");
}

#[tokio::test]
async fn a_capability_that_is_missing_is_named() {
    let Some(emulator) = Emulator::find().await else { return };
    for missing in ["listFiles", "readFiles", "writeFiles", "deleteFiles"] {
        let rest: Vec<&str> = ENOUGH.into_iter().filter(|own| *own != missing).collect();
        let key_of = emulator.key(&rest, None).await;
        let backend = emulator.open(&format!("lacks-{}", unique()), &key_of);
        let store = backend.store();
        let error = match missing {
            "listFiles" => backend.list_keys().try_collect::<Vec<_>>().await.unwrap_err(),
            "readFiles" => {
                store.put(&key("a"), body("x")).await.unwrap();
                plain(&backend, store.get(&key("a")).await.map(drop)).unwrap_err()
            }
            "writeFiles" => plain(&backend, store.put(&key("a"), body("x")).await).unwrap_err(),
            _ => plain(&backend, store.put_opts(&key("a"), body("x"), mode(PutMode::Create)).await).unwrap_err(),
        };
        assert!(
            error.kind == ErrorKind::Denied && error.message.contains(&format!("lacks the capability `{missing}`")),
            "{missing}: {error}"
        );
        assert!(!error.to_string().contains(&key_of.secret));
    }
}

#[tokio::test]
async fn a_key_that_was_deleted_is_refused_with_a_question() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("deleted-key").await;
    backend.store().put(&key("a"), body("x")).await.unwrap();
    emulator.call("b2_delete_key", json!({"applicationKeyId": key_of.id})).await;
    let error = backend.list_keys().try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.kind == ErrorKind::Denied && error.message.contains("is it mistyped, or deleted?"), "{error}");
    assert!(!error.to_string().contains(&key_of.secret));
}

#[tokio::test]
async fn many_requests_under_a_refused_key_ask_once() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("refused").await;
    let refusal = json!({"call": "b2_authorize_account", "status": 401, "code": "unauthorized", "times": 99});
    emulator.fault(&key_of, refusal).await;
    let gets = (0..16).map(|n| {
        let store = backend.store();
        async move { store.get(&key(&format!("f{n}"))).await.map(drop) }
    });
    for answer in futures::future::join_all(gets).await {
        assert_eq!(plain(&backend, answer).unwrap_err().kind, ErrorKind::Denied);
    }
    assert_eq!(emulator.counts(&key_of).await, counted(&[("b2_authorize_account", 1)]));
}

#[tokio::test]
async fn a_bucket_that_is_missing_is_named_as_the_bucket() {
    let Some(emulator) = Emulator::find().await else { return };
    let key_of = emulator.made(json!({"capabilities": ENOUGH, "keyName": "all"})).await;
    let backend = emulator.open_in("nobody-made-it", "x", &key_of);
    let error = backend.list_keys().try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.kind == ErrorKind::NotFound && error.url == "b2://nobody-made-it/x", "{error}");
    let put = plain(&backend, backend.store().put(&key("a"), body("x")).await).unwrap_err();
    assert!(put.kind == ErrorKind::NotFound && put.message.contains("no bucket `nobody-made-it`"), "{put}");
}

/// In append-only mode conditions are judged as ever, and an upload that lost stays without counting.
#[tokio::test]
async fn a_key_that_may_not_delete_is_enough_in_append_only_mode() {
    let Some(emulator) = Emulator::find().await else { return };
    let rest: Vec<&str> = ENOUGH.into_iter().filter(|own| *own != "deleteFiles").collect();
    let key_of = emulator.key(&rest, None).await;
    let backend = emulator.open(&format!("append-only-{}", unique()), &key_of);
    backend.assume_append_only();
    assert!(backend.is_append_only() && backend.deletes());
    let store = backend.store();
    let first = store.put_opts(&key("a"), body("first"), mode(PutMode::Create)).await.unwrap();
    let error = plain(&backend, store.put_opts(&key("a"), body("late"), mode(PutMode::Create)).await).unwrap_err();
    assert_eq!((error.kind, read(&backend, "a").await.as_str()), (ErrorKind::Exists, "first"));
    let over = |put: &object_store::PutResult| {
        PutMode::Update(object_store::UpdateVersion { e_tag: put.e_tag.clone(), version: put.version.clone() })
    };
    store.put_opts(&key("a"), body("second"), mode(over(&first))).await.unwrap();
    let error = plain(&backend, store.put_opts(&key("a"), body("stale"), mode(over(&first))).await).unwrap_err();
    assert_eq!((error.kind, read(&backend, "a").await.as_str()), (ErrorKind::Precondition, "second"));
    // To delete is to hide, and all four uploads stay.
    store.delete(&key("a")).await.unwrap();
    assert_eq!(emulator.versions(&backend, "a").await.iter().filter(|(_, action)| action == "upload").count(), 4);
    store.put_opts(&key("a"), body("again"), mode(PutMode::Create)).await.unwrap();
    assert_eq!(read(&backend, "a").await, "again");
    assert_eq!(emulator.counts(&key_of).await.get("b2_delete_file_version"), None);
}
