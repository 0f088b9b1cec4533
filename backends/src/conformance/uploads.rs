//! Uploads in parts.

use bytes::Bytes;
use object_store::multipart::MultipartStore;
use object_store::{ObjectStoreExt, PutMode, PutPayload};
use std::sync::Arc;

use super::kit::{At, Case, CaseVerdict, Outcome, bare, body, case, content, key, not_here, plain, refused, same, want};
use crate::contract::backend::Backend;
use crate::contract::error::ErrorKind;

pub(super) const CASES: &[Case] = &[
    case!("an upload in parts", whole),
    case!("an upload goes on in another process", goes_on),
    case!("an upload does not end over what is not as said", over),
    case!("an upload that is aborted leaves nothing", aborted),
    case!("an upload in parts through the plain interface", simple),
];

/// The interface, and a first part of the smallest size that the store accepts.
fn parts(backend: &Arc<dyn Backend>) -> Result<(Arc<dyn MultipartStore>, Bytes), CaseVerdict> {
    let parts = backend.multipart().ok_or_else(|| not_here("no upload in parts outlives its process"))?;
    let least = usize::try_from(backend.capabilities().min_part).unwrap_or(5 << 20);
    Ok((parts, content(least).into()))
}

async fn whole(at: At) -> Outcome {
    let backend = at.plain().await?;
    let (parts, first) = parts(&backend)?;
    let name = key("dir/big ü.bin");
    let id = parts.create_multipart(&name).await?;
    // Out of order, as a client with many parts in flight sends them.
    let two = parts.put_part(&name, &id, 1, body("the end")).await?;
    let one = parts.put_part(&name, &id, 0, first.clone().into()).await?;
    want(backend.store().head(&name).await.is_err(), || "it is there before its end".into())?;
    let put = parts.complete_multipart(&name, &id, vec![one, two]).await?;
    let head = backend.store().head(&name).await?;
    same("size", head.size, first.len() as u64 + 7)?;
    same("etag of the answer and of a head", bare(put.e_tag.as_deref()), bare(head.e_tag.as_deref()))?;
    let got = backend.store().get(&name).await?.bytes().await?;
    want(got[..first.len()] == first && &got[first.len()..] == b"the end", || "other bytes came back".into())
}

async fn goes_on(at: At) -> Outcome {
    let backend = at.plain().await?;
    let (parts, first) = parts(&backend)?;
    let name = key("big");
    let id = parts.create_multipart(&name).await?;
    let one = parts.put_part(&name, &id, 0, first.clone().into()).await?;
    drop((backend, parts));
    let backend = at.plain().await?;
    let (parts, _) = self::parts(&backend)?;
    let two = parts.put_part(&name, &id, 1, body("the end")).await?;
    parts.complete_multipart(&name, &id, vec![one, two]).await?;
    same("size", backend.store().head(&name).await?.size, first.len() as u64 + 7)
}

async fn over(at: At) -> Outcome {
    let backend = at.plain().await?;
    let (parts, first) = parts(&backend)?;
    let (store, name) = (backend.store(), key("big"));
    let id = parts.create_multipart(&name).await?;
    let one = parts.put_part(&name, &id, 0, first.clone().into()).await?;
    let all = vec![one, parts.put_part(&name, &id, 1, body("the end")).await?];
    let old = store.put(&name, body("first")).await?;
    let second = store.put(&name, body("second")).await?;
    for wrong in [PutMode::Create, PutMode::Update(old.into())] {
        let answer = backend.complete_upload(&name, &id, all.clone(), wrong).await;
        if answer.is_ok() {
            return Err(not_here("it compares nothing when an upload in parts ends"));
        }
        refused("an end over another content", plain(&backend, "big", answer), &[ErrorKind::Precondition, ErrorKind::Exists])?;
        same("what is there", store.get(&name).await?.bytes().await?, Bytes::from("second"))?;
    }
    backend.complete_upload(&name, &id, all, PutMode::Update(second.into())).await?;
    same("size", store.head(&name).await?.size, first.len() as u64 + 7)
}

async fn aborted(at: At) -> Outcome {
    let backend = at.plain().await?;
    let (parts, first) = parts(&backend)?;
    let id = parts.create_multipart(&key("a")).await?;
    let one = parts.put_part(&key("a"), &id, 0, first.into()).await?;
    parts.abort_multipart(&key("a"), &id).await?;
    want(backend.store().head(&key("a")).await.is_err(), || "the object is there".into())?;
    let late = parts.complete_multipart(&key("a"), &id, vec![one]).await;
    refused("its end after the abort", plain(&backend, "a", late), &[ErrorKind::NotFound, ErrorKind::Other, ErrorKind::Invalid])?;
    want(backend.store().head(&key("a")).await.is_err(), || "the object is there after all".into())
}

async fn simple(at: At) -> Outcome {
    let backend = at.plain().await?;
    let store = backend.store();
    let least = usize::try_from(backend.capabilities().min_part).unwrap_or(5 << 20).max(1 << 20);
    let data = Bytes::from(content(least + 5));
    let mut upload = store.put_multipart(&key("a")).await?;
    let sent = [data.slice(..least), data.slice(least..)].map(|part| upload.put_part(PutPayload::from(part)));
    futures::future::try_join_all(sent).await?;
    upload.complete().await?;
    want(store.get(&key("a")).await?.bytes().await? == data, || "other bytes came back".into())?;
    let mut upload = store.put_multipart(&key("b")).await?;
    upload.put_part(PutPayload::from(data)).await?;
    upload.abort().await?;
    want(store.head(&key("b")).await.is_err(), || "an upload that was aborted is there".into())
}
