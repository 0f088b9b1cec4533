//! Uploads: what they cost, and the URLs and tokens they need.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use offsite_backends::{Backend, ErrorKind};
use serde_json::json;

use crate::*;

#[tokio::test]
async fn a_look_and_a_record_are_four_requests_and_the_authorization() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("record").await;
    let record = |n: u64| key(&format!(".offsite/snapshots/{n:012}.json"));
    backend.store().put_opts(&record(1), body("one"), mode(PutMode::Create)).await.unwrap();
    emulator.control(json!({"key": key_of.id, "forget_counts": true})).await;
    // As a run without changes does it, in a process of its own.
    let later = emulator.open(&String::from_utf8_lossy(backend.location().path()), &key_of);
    let found: Vec<_> = later.store().list_with_offset(Some(&key(".offsite/snapshots")), &record(0)).try_collect().await.unwrap();
    assert_eq!(found.len(), 1);
    later.store().put_opts(&record(2), body("two"), mode(PutMode::Create)).await.unwrap();
    let wanted = [("b2_authorize_account", 1), ("b2_get_upload_url", 1), ("b2_upload_file", 1), ("b2_list_file_versions", 2)];
    assert_eq!(emulator.counts(&key_of).await, counted(&wanted));
    assert_eq!(later.meter().requests().total(), 5, "the meter counts the same");
}

#[tokio::test]
async fn an_upload_url_serves_one_upload_after_the_other() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("reuse").await;
    for n in 0..10 {
        backend.store().put(&key(&format!("f{n}")), body("x")).await.unwrap();
    }
    let puts = stream::iter(0..40).map(|n| {
        let store = backend.store();
        async move { store.put(&key(&format!("g{n}")), body("x")).await }
    });
    puts.buffer_unordered(8).try_collect::<Vec<_>>().await.unwrap();
    let counts = emulator.counts(&key_of).await;
    assert_eq!(counts["b2_upload_file"], 50);
    assert!(counts["b2_get_upload_url"] <= 8, "{counts:?}");
}

#[tokio::test]
async fn a_busy_server_or_a_lost_connection_takes_a_new_url() {
    let Some(emulator) = Emulator::find().await else { return };
    for fault in [
        json!({"call": "b2_upload_file", "status": 503, "code": "service_unavailable"}),
        json!({"call": "b2_upload_file", "status": 408, "code": "request_timeout"}),
        json!({"call": "b2_upload_file", "cut": true}),
        json!({"call": "b2_upload_file", "status": 400, "code": "bad_request", "message": "Sha1 did not match data received"}),
    ] {
        let (key_of, backend) = emulator.place("busy").await;
        emulator.fault(&key_of, fault.clone()).await;
        backend.store().put(&key("a"), body("content")).await.unwrap();
        assert_eq!(read(&backend, "a").await, "content");
        let counts = emulator.counts(&key_of).await;
        assert_eq!((counts["b2_get_upload_url"], counts["b2_upload_file"]), (2, 2), "{fault}");
    }
}

#[tokio::test]
async fn urls_and_tokens_that_ran_out_are_got_anew_once() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("expired").await;
    backend.store().put(&key("a"), body("1")).await.unwrap();
    emulator.control(json!({"key": key_of.id, "expire_tokens": true, "expire_uploads": true, "forget_counts": true})).await;
    let puts = stream::iter(0..16).map(|n| {
        let store = backend.store();
        async move { store.put(&key(&format!("b{n}")), body("2")).await }
    });
    puts.buffer_unordered(16).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(emulator.counts(&key_of).await["b2_authorize_account"], 1);
    emulator.control(json!({"key": key_of.id, "expire_tokens": true})).await;
    assert_eq!(read(&backend, "b7").await, "2");
}

/// More URLs that ran out together than one upload has tries.
#[tokio::test]
async fn urls_grow_old_together() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("old-urls").await;
    emulator.control(json!({"key": key_of.id, "race": {"pause_ms": 400}})).await;
    let puts = (0..24).map(|n| {
        let store = backend.store();
        async move { store.put(&key(&format!("a{n}")), body("1")).await }
    });
    futures::future::try_join_all(puts).await.unwrap();
    assert!(emulator.counts(&key_of).await["b2_get_upload_url"] > 12);
    emulator.control(json!({"key": key_of.id, "expire_uploads": true, "forget_counts": true})).await;
    backend.store().put(&key("b"), body("2")).await.unwrap();
    assert_eq!(emulator.counts(&key_of).await, counted(&[("b2_upload_file", 1), ("b2_get_upload_url", 1)]));
}

#[tokio::test]
async fn the_server_says_how_long_to_wait() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("later").await;
    emulator.fault(&key_of, json!({"call": "b2_upload_file", "status": 429, "code": "too_many_requests", "retry_after": 1})).await;
    emulator.fault(&key_of, json!({"call": "b2_list_file_names", "status": 503, "code": "busy", "retry_after": 1})).await;
    let begun = Instant::now();
    backend.store().put(&key("a"), body("x")).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(backend.list_keys().try_collect::<Vec<_>>().await.unwrap().len(), 1);
    assert!(begun.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn a_cap_is_not_tried_against_and_says_what_to_do() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("cap").await;
    let cap = |call: &str, code: &str| json!({"call": call, "status": 403, "code": code, "message": "cap exceeded", "times": 9});
    emulator.fault(&key_of, cap("b2_upload_file", "storage_cap_exceeded")).await;
    emulator.fault(&key_of, cap("b2_list_file_names", "transaction_cap_exceeded")).await;
    let full = plain(&backend, backend.store().put(&key("a"), body("x")).await).unwrap_err();
    assert!(full.kind == ErrorKind::Full && full.message.contains("raise the account's storage cap"), "{full}");
    let used_up = backend.list_keys().try_collect::<Vec<_>>().await.unwrap_err();
    assert!(used_up.kind == ErrorKind::Denied && used_up.message.contains("midnight UTC"), "{used_up}");
    let counts = emulator.counts(&key_of).await;
    assert_eq!((counts["b2_upload_file"], counts["b2_list_file_names"]), (1, 1));
}

#[tokio::test]
async fn what_is_removed_is_hidden_and_what_is_not_there_is_no_error() {
    let Some(emulator) = Emulator::find().await else { return };
    let (_key, backend) = emulator.place("hide").await;
    backend.store().put(&key("a"), body("x")).await.unwrap();
    for _ in 0..2 {
        backend.store().delete(&key("a")).await.unwrap();
    }
    backend.store().delete(&key("never")).await.unwrap();
    let actions: Vec<String> = emulator.versions(&backend, "a").await.into_iter().map(|(_, action)| action).collect();
    assert_eq!(actions, ["hide", "upload"]);
}

#[tokio::test]
async fn a_name_that_only_begins_the_same_is_another_one() {
    let Some(emulator) = Emulator::find().await else { return };
    let (_key, backend) = emulator.place("exact").await;
    backend.store().put(&key("report.txt.bak"), body("backup")).await.unwrap();
    assert!(matches!(backend.store().head(&key("report.txt")).await, Err(object_store::Error::NotFound { .. })));
    let copied = backend.copy_exact(&key("report.txt"), &key("z"), 6, None, object_store::PutMode::Overwrite).await;
    assert_eq!(copied.unwrap_err().kind, ErrorKind::NotFound);
    backend.store().put_opts(&key("report.txt"), body("new"), mode(PutMode::Create)).await.unwrap();
    assert_eq!(read(&backend, "report.txt.bak").await, "backup");
}
