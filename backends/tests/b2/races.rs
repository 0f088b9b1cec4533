//! Several writers at once: exactly one wins, whatever the order in which the store stamps and shows
//! their uploads; and what a loser left behind when it died fools nobody.

use std::time::Duration;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutResult, UpdateVersion};
use offsite_backends::b2::B2Backend;
use offsite_backends::{Backend, Error, ErrorKind};
use serde_json::json;

use crate::*;

const WRITERS: usize = 6;
const ROUNDS: usize = 6;

fn swap(seen: &PutResult) -> PutOptions {
    mode(PutMode::Update(UpdateVersion { e_tag: seen.e_tag.clone(), version: None }))
}

/// Writers that begin at once, each a process of its own: who won, and with what.
async fn race(backends: &[B2Backend], path: &str, options: &PutOptions, lost: ErrorKind) -> Vec<(String, PutResult)> {
    let tries = backends.iter().enumerate().map(|(writer, backend)| async move {
        let text = format!("writer {writer}");
        let answer = backend.store().put_opts(&key(path), body(&text), options.clone()).await;
        (text, plain(backend, answer))
    });
    let mut won = Vec::new();
    for (text, answer) in futures::future::join_all(tries).await {
        match answer {
            Ok(put) => won.push((text, put)),
            Err(error) => assert_eq!(error.kind, lost, "{error}"),
        }
    }
    won
}

/// Pauses before and after an upload becomes visible, and stamps that are off by more than they last.
async fn writers(emulator: &Emulator, race: serde_json::Value) -> Vec<B2Backend> {
    let prefix = format!("race-{}", unique());
    let mut backends = Vec::new();
    for _ in 0..WRITERS {
        let key = emulator.key(&ENOUGH, None).await;
        emulator.control(json!({"key": key.id, "race": race})).await;
        let backend = emulator.open(&prefix, &key);
        backend.now().await.unwrap();
        // The key's file may go: it has been read.
        backends.push(backend);
    }
    backends
}

async fn one_wins(race_with: serde_json::Value) {
    let Some(emulator) = Emulator::find().await else { return };
    let backends = writers(&emulator, race_with).await;
    for round in 0..ROUNDS {
        let path = format!("lease-{round}");
        let won = race(&backends, &path, &mode(PutMode::Create), ErrorKind::Exists).await;
        assert_eq!(won.len(), 1, "creators that won in round {round}: {won:?}");
        assert_eq!(read(&backends[0], &path).await, won[0].0);
        assert_eq!(emulator.versions(&backends[0], &path).await.len(), 1, "every loser took its upload back");
        let swapped = race(&backends, &path, &swap(&won[0].1), ErrorKind::Precondition).await;
        assert_eq!(swapped.len(), 1, "swaps that won in round {round}: {swapped:?}");
        assert_eq!(read(&backends[0], &path).await, swapped[0].0);
        assert_eq!(emulator.versions(&backends[0], &path).await.len(), 1, "what was replaced is gone");
        backends[0].store().delete(&key(&path)).await.unwrap();
        let again = race(&backends, &path, &mode(PutMode::Create), ErrorKind::Exists).await;
        assert_eq!(again.len(), 1, "creators of what was deleted, round {round}: {again:?}");
        assert_eq!(read(&backends[1], &path).await, again[0].0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_writers_wins() {
    one_wins(json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_writers_wins_when_uploads_show_late() {
    one_wins(json!({"pause_ms": 40})).await;
}

/// Stamps in another order than uploads become visible: still never two. What a reader sees while an
/// upload that lost is being taken back is not looked at.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_writers_wins_when_stamps_are_in_disorder() {
    one_wins(json!({"pause_ms": 30, "skew_ms": 50})).await;
}

/// An upload whose writer died before it could look.
async fn left_behind(emulator: &Emulator, backend: &B2Backend, path: &str, text: &str, mark: &str) {
    let place = emulator.call("b2_get_upload_url", json!({"bucketId": emulator.bucket_id})).await;
    let sha1: String = sha1::Digest::finalize(sha1::Digest::chain_update(<sha1::Sha1 as sha1::Digest>::new(), text))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = format!("{}/{path}", String::from_utf8_lossy(backend.location().path()));
    let request = reqwest::Client::new()
        .post(place["uploadUrl"].as_str().unwrap())
        .header("authorization", place["authorizationToken"].as_str().unwrap())
        .header("x-bz-file-name", name)
        .header("content-type", "b2/x-auto")
        .header("x-bz-content-sha1", sha1)
        .header("x-bz-info-offsite-put", mark.replace(' ', "%20"));
    // A stamp later than what is there.
    tokio::time::sleep(Duration::from_millis(3)).await;
    assert!(request.body(text.to_owned()).send().await.unwrap().status().is_success());
}

async fn listed_tag(backend: &B2Backend, path: &str) -> Option<String> {
    let metas: Vec<_> = backend.store().list(Some(&key("dir"))).try_collect().await.unwrap();
    metas.into_iter().find(|meta| meta.location.as_ref() == path).and_then(|meta| meta.e_tag)
}

#[tokio::test]
async fn what_a_dead_loser_left_fools_no_reader_and_no_writer() {
    let Some(emulator) = Emulator::find().await else { return };
    let (_key, backend) = emulator.place("dead-loser").await;
    let store = backend.store();
    let path = "dir/lease";
    let won = store.put_opts(&key(path), body("mine"), mode(PutMode::Create)).await.unwrap();
    left_behind(&emulator, &backend, path, "a dead creator's", "create 0011").await;
    let seen = |wanted: &'static str, tag: Option<String>| {
        let (store, backend) = (store.clone(), &backend);
        async move {
            let got = store.get(&key(path)).await.unwrap();
            assert_eq!(got.meta.e_tag, tag, "the tag of a get");
            assert_eq!(got.bytes().await.unwrap(), wanted);
            assert_eq!(store.head(&key(path)).await.unwrap().e_tag, tag, "the tag of a head");
            assert_eq!(listed_tag(backend, path).await, tag, "the tag in a listing");
            let level = store.list_with_delimiter(Some(&key("dir"))).await.unwrap();
            assert_eq!(level.objects[0].e_tag, tag, "the tag in a level of a listing");
        }
    };
    seen("mine", won.e_tag.clone()).await;
    let refused = plain(&backend, store.put_opts(&key(path), body("late"), mode(PutMode::Create)).await).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Exists);
    // Renewed, and a dead writer tried the same before and after it.
    let old = won.version.clone().unwrap();
    let renewed = store.put_opts(&key(path), body("mine"), swap(&won)).await.unwrap();
    assert_ne!(renewed.e_tag, won.e_tag, "the same content is another version");
    assert_eq!(emulator.versions(&backend, path).await.len(), 1);
    left_behind(&emulator, &backend, path, "a dead swapper's", &format!("swap 0022 {old}")).await;
    left_behind(&emulator, &backend, path, "a dead creator's", "create 0033").await;
    seen("mine", renewed.e_tag.clone()).await;
    let again = store.put_opts(&key(path), body("again"), swap(&renewed)).await.unwrap();
    seen("again", again.e_tag.clone()).await;
    assert_eq!(emulator.versions(&backend, path).await.len(), 1, "what was left is cleared by the next writer");
    // Deleted and made again: nothing of before counts.
    left_behind(&emulator, &backend, path, "a dead creator's", "create 0044").await;
    store.delete(&key(path)).await.unwrap();
    assert!(store.get(&key(path)).await.is_err());
    let anew = store.put_opts(&key(path), body("anew"), mode(PutMode::Create)).await.unwrap();
    seen("anew", anew.e_tag).await;
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_one_create() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("lost-answer").await;
    for fault in
        [json!({"call": "b2_upload_file", "cut": true, "after": true}), json!({"call": "b2_upload_file", "status": 500, "after": true})]
    {
        emulator.fault(&key_of, fault).await;
        let path = format!("a{}", unique());
        let put = backend.store().put_opts(&key(&path), body("x"), mode(PutMode::Create)).await.unwrap();
        let versions = emulator.versions(&backend, &path).await;
        assert_eq!(versions.into_iter().map(|(id, _)| Some(id)).collect::<Vec<_>>(), [put.version]);
    }
}

#[tokio::test]
async fn an_unconditional_put_replaces_whatever_is_there() {
    let Some(emulator) = Emulator::find().await else { return };
    let (_key, backend) = emulator.place("overwrite").await;
    let store = backend.store();
    let created = store.put_opts(&key("a"), body("1"), mode(PutMode::Create)).await.unwrap();
    let plain_put = store.put(&key("a"), body("2")).await.unwrap();
    assert_eq!(read(&backend, "a").await, "2");
    let late: Error = plain(&backend, store.put_opts(&key("a"), body("3"), swap(&created)).await).unwrap_err();
    assert_eq!(late.kind, ErrorKind::Precondition);
    store.put_opts(&key("a"), body("4"), swap(&plain_put)).await.unwrap();
    assert_eq!(read(&backend, "a").await, "4");
}
