//! Large files: parts that survive a process, answers that get lost, copies in parts.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use offsite_backends::{Backend, Depth, ErrorKind, Scope, State};
use serde_json::json;

use crate::*;

const PART: usize = 5_000_000;

fn content(length: usize) -> Bytes {
    (0..length).map(|n| (n % 253) as u8).collect::<Vec<_>>().into()
}

#[tokio::test]
async fn an_upload_goes_on_in_another_process_though_everything_ran_out() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("resumed").await;
    let prefix = String::from_utf8_lossy(backend.location().path()).into_owned();
    let data = content(2 * PART + 7);
    let path = key("big ü.bin");
    let first = backend.multipart().unwrap();
    let id = first.create_multipart(&path).await.unwrap();
    let one = first.put_part(&path, &id, 0, data.slice(..PART).into()).await.unwrap();
    drop((first, backend));
    let backend = emulator.open(&prefix, &key_of);
    let parts = backend.multipart().unwrap();
    let two = parts.put_part(&path, &id, 1, data.slice(PART..2 * PART).into()).await.unwrap();
    emulator.control(json!({"key": key_of.id, "expire_tokens": true, "expire_uploads": true})).await;
    emulator.fault(&key_of, json!({"call": "b2_upload_part", "status": 503})).await;
    let three = parts.put_part(&path, &id, 2, data.slice(2 * PART..).into()).await.unwrap();
    let put = parts.complete_multipart(&path, &id, vec![one, two, three]).await.unwrap();
    let got = backend.store().get(&path).await.unwrap();
    assert_eq!((got.meta.e_tag.clone(), got.meta.version.clone()), (put.e_tag, put.version));
    assert!(got.bytes().await.unwrap() == data);
}

#[tokio::test]
async fn an_end_whose_answer_is_lost_is_found_again() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("lost-end").await;
    let data = content(PART + 1);
    let parts = backend.multipart().unwrap();
    let id = parts.create_multipart(&key("a")).await.unwrap();
    let one = parts.put_part(&key("a"), &id, 0, data.slice(..PART).into()).await.unwrap();
    let two = parts.put_part(&key("a"), &id, 1, data.slice(PART..).into()).await.unwrap();
    emulator.fault(&key_of, json!({"call": "b2_finish_large_file", "cut": true, "after": true})).await;
    let put = parts.complete_multipart(&key("a"), &id, vec![one, two]).await.unwrap();
    assert_eq!(put.version.as_deref(), Some(id.as_str()));
    assert!(backend.store().get(&key("a")).await.unwrap().bytes().await.unwrap() == data);
}

#[tokio::test]
async fn an_upload_that_the_store_gave_up_is_not_found() {
    let Some(emulator) = Emulator::find().await else { return };
    let (_key, backend) = emulator.place("given-up").await;
    let parts = backend.multipart().unwrap();
    let id = parts.create_multipart(&key("a")).await.unwrap();
    let one = parts.put_part(&key("a"), &id, 0, content(PART).into()).await.unwrap();
    let listed: Vec<_> = backend.list(Scope::Prefix, Depth::Everything).try_collect().await.unwrap();
    assert_eq!(listed.iter().map(|l| (l.state, l.version.as_deref())).collect::<Vec<_>>(), [(State::Unfinished, Some(id.as_str()))]);
    emulator.call("b2_cancel_large_file", json!({"fileId": id})).await;
    let part = plain(&backend, parts.put_part(&key("a"), &id, 1, body("end")).await).unwrap_err();
    let end = plain(&backend, parts.complete_multipart(&key("a"), &id, vec![one.clone(), one]).await).unwrap_err();
    let abort = plain(&backend, parts.abort_multipart(&key("a"), &id).await).unwrap_err();
    assert_eq!([part.kind, end.kind, abort.kind], [ErrorKind::NotFound; 3], "{part}; {end}; {abort}");
}

#[tokio::test]
async fn an_upload_of_one_part_or_none_is_a_plain_file() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("one-part").await;
    for (name, text) in [("one", "a single part"), ("none", "")] {
        let mut upload = backend.store().put_multipart(&key(name)).await.unwrap();
        if !text.is_empty() {
            upload.put_part(body(text)).await.unwrap();
        }
        upload.complete().await.unwrap();
        assert_eq!(read(&backend, name).await, text);
    }
    assert!(!emulator.counts(&key_of).await.contains_key("b2_start_large_file"));
    let data = content(2 * PART + 3);
    let mut upload = backend.store().put_multipart(&key("three")).await.unwrap();
    let sent = [0, PART, 2 * PART].map(|at| upload.put_part(PutPayload::from(data.slice(at..(at + PART).min(data.len())))));
    futures::future::try_join_all(sent).await.unwrap();
    upload.complete().await.unwrap();
    assert!(backend.store().get(&key("three")).await.unwrap().bytes().await.unwrap() == data);
}

#[tokio::test]
async fn a_copy_in_parts_is_the_whole_and_leaves_nothing_when_it_fails() {
    let Some(emulator) = Emulator::find().await else { return };
    let (key_of, backend) = emulator.place("copies").await;
    let backend = Arc::new(backend.with_copy_limits(6_000_000, 5_000_000));
    let data = content(12_000_000);
    let put = backend.store().put(&key("a"), data.clone().into()).await.unwrap();
    backend.copy_exact(&key("a"), &key("b"), data.len() as u64, put.e_tag.as_deref(), object_store::PutMode::Overwrite).await.unwrap();
    assert!(backend.store().get(&key("b")).await.unwrap().bytes().await.unwrap() == data);
    assert_eq!(emulator.counts(&key_of).await["b2_copy_part"], 3);
    emulator.fault(&key_of, json!({"call": "b2_copy_part", "status": 400, "code": "bad_request", "skip": 1})).await;
    backend.copy_exact(&key("a"), &key("c"), data.len() as u64, put.e_tag.as_deref(), object_store::PutMode::Overwrite).await.unwrap_err();
    let states: Vec<_> = backend.list(Scope::Prefix, Depth::Everything).map_ok(|l| l.state).try_collect().await.unwrap();
    assert_eq!(states, [State::Current, State::Current]);
}

#[tokio::test]
async fn a_copy_is_of_exactly_the_version_that_is_named() {
    let Some(emulator) = Emulator::find().await else { return };
    let (_key, backend) = emulator.place("exact-copy").await;
    let old = backend.store().put(&key("a"), body("old")).await.unwrap();
    backend.store().put(&key("a"), body("new")).await.unwrap();
    backend.copy_exact(&key("a"), &key("b"), 3, old.e_tag.as_deref(), object_store::PutMode::Overwrite).await.unwrap();
    assert_eq!(read(&backend, "b").await, "old");
    backend.delete_versions(vec![(key("a"), old.version.clone().unwrap())]).await.unwrap();
    for etag in [old.e_tag.as_deref(), Some("\"nonsense\"")] {
        let error = backend.copy_exact(&key("a"), &key("c"), 3, etag, object_store::PutMode::Overwrite).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Precondition, "{error}");
    }
    let error = backend.copy_exact(&key("gone"), &key("c"), 3, old.e_tag.as_deref(), object_store::PutMode::Overwrite).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
}
