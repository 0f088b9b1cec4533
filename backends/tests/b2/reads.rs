//! Downloads: broken off, damaged, in part, of one version.

use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use offsite_backends::{Backend, ErrorKind};
use serde_json::json;

use crate::*;

#[tokio::test]
async fn a_content_that_breaks_off_is_read_on_from_there() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("broken").await;
    let content: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    backend.store().put(&key("a"), content.clone().into()).await.unwrap();
    emulator.fault(&key_of, json!({"call": "body", "bytes": 100_000})).await;
    emulator.fault(&key_of, json!({"call": "body", "bytes": 50_000})).await;
    let got = backend.store().get(&key("a")).await.unwrap();
    // Replaced meanwhile: what is read stays what it was.
    backend.store().put(&key("a"), body("other")).await.unwrap();
    assert!(got.bytes().await.unwrap() == content);
    assert_eq!(emulator.counts(&key_of).await["b2_download_file_by_id"], 2);
}

#[tokio::test]
async fn a_content_that_arrives_damaged_is_no_content() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("damaged").await;
    backend.store().put(&key("a"), body("content")).await.unwrap();
    emulator.fault(&key_of, json!({"call": "damage"})).await;
    let got = backend.store().get(&key("a")).await.unwrap();
    let error = plain(&backend, got.bytes().await).unwrap_err();
    assert!(error.message.contains("SHA-1"), "{error}");
    assert_eq!(read(&backend, "a").await, "content");
}

#[tokio::test]
async fn ranges_of_now_and_of_a_version() {
    let Some(emulator) = Emulator::find().await else { return };
    let (_key, backend) = emulator.place("ranges").await;
    let old = backend.store().put(&key("a"), body("0123456789")).await.unwrap();
    backend.store().put(&key("a"), body("abcdefghij")).await.unwrap();
    for (range, wanted, before) in [
        (GetRange::Bounded(2..5), "cde", "234"),
        (GetRange::Offset(7), "hij", "789"),
        (GetRange::Suffix(2), "ij", "89"),
        (GetRange::Bounded(8..99), "ij", "89"),
    ] {
        let options = GetOptions { range: Some(range), ..GetOptions::default() };
        let now = backend.store().get_opts(&key("a"), options.clone()).await.unwrap();
        assert_eq!(now.meta.size, 10);
        assert_eq!(now.bytes().await.unwrap(), wanted);
        let then = backend.store().get_opts(&key("a"), GetOptions { version: old.version.clone(), ..options }).await.unwrap();
        assert_eq!(then.bytes().await.unwrap(), before);
    }
    let beyond = GetOptions { range: Some(GetRange::Offset(99)), ..GetOptions::default() };
    assert!(backend.store().get_opts(&key("a"), beyond).await.is_err());
}

#[tokio::test]
async fn a_version_is_only_read_under_its_own_name() {
    let Some(emulator) = Emulator::find().await else { return };
    let (_key, backend) = emulator.place("own-name").await;
    let put = backend.store().put(&key("a"), body("x")).await.unwrap();
    backend.store().put(&key("b"), body("y")).await.unwrap();
    for (path, version) in [("b", put.version.as_deref()), ("a", Some("4_znonsense")), ("a", Some("nonsense"))] {
        for head in [false, true] {
            let options = GetOptions { version: version.map(str::to_owned), head, ..GetOptions::default() };
            let error = plain(&backend, backend.store().get_opts(&key(path), options).await.map(drop)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
        }
    }
    let options = GetOptions { if_match: put.e_tag, ..GetOptions::default() };
    backend.store().get_opts(&key("a"), options.clone()).await.unwrap();
    backend.store().put(&key("a"), body("z")).await.unwrap();
    assert!(matches!(backend.store().get_opts(&key("a"), options).await, Err(object_store::Error::Precondition { .. })));
}

#[tokio::test]
async fn a_server_that_is_away_for_a_moment_is_waited_for() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("moment").await;
    backend.store().put(&key("a"), body("x")).await.unwrap();
    for call in ["b2_download_file_by_name", "b2_list_file_versions", "b2_hide_file"] {
        emulator.fault(&key_of, json!({"call": call, "status": 500, "code": "internal_error", "times": 2})).await;
    }
    assert_eq!(read(&backend, "a").await, "x");
    use futures::TryStreamExt;
    assert_eq!(backend.store().list(None).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    backend.store().delete(&key("a")).await.unwrap();
    assert!(backend.store().head(&key("a")).await.is_err());
}
