//! Copies on the server of exactly the content that was seen.

use std::sync::Arc;

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutMode};

use super::kit::{At, Case, CaseVerdict, Outcome, bare, body, case, key, not_here, refused, same, want};
use crate::contract::backend::Backend;
use crate::contract::error::ErrorKind;

pub(super) const CASES: &[Case] = &[
    case!("a copy on the server", copy),
    case!("a copy replaces", replaces),
    case!("a copy over what is not as said is refused", over),
    case!("a copy of another etag is refused", another),
    case!("a copy of nothing is not found", nothing),
];

async fn place(at: &At) -> Result<Arc<dyn Backend>, CaseVerdict> {
    let backend = at.plain().await?;
    match backend.capabilities().server_copy {
        true => Ok(backend),
        false => Err(not_here("it cannot copy on the server")),
    }
}

async fn copy(at: At) -> Outcome {
    let backend = place(&at).await?;
    let store = backend.store();
    let (from, to) = (key("sü ß/a+b%20c'\"&?"), key("to/b"));
    let put = store.put(&from, body("content")).await?;
    let bare_tag = bare(put.e_tag.as_deref());
    let sent = backend.meter().sent();
    for etag in [None, put.e_tag.as_deref(), bare_tag.as_deref()] {
        let copied = backend.copy_exact(&from, &to, 7, etag, PutMode::Overwrite).await?;
        let head = store.head(&to).await?;
        same("etag of the answer and of a head", bare(copied.e_tag.as_deref()), bare(head.e_tag.as_deref()))?;
        same("content", store.get(&to).await?.bytes().await?, Bytes::from("content"))?;
    }
    same("bytes sent for it", backend.meter().sent() - sent, 0)?;
    same("the source", store.get(&from).await?.bytes().await?, Bytes::from("content"))
}

async fn replaces(at: At) -> Outcome {
    let backend = place(&at).await?;
    let store = backend.store();
    store.put(&key("a"), body("new")).await?;
    store.put(&key("b"), body("something longer")).await?;
    backend.copy_exact(&key("a"), &key("b"), 3, None, PutMode::Overwrite).await?;
    same("content", store.get(&key("b")).await?.bytes().await?, Bytes::from("new"))
}

async fn over(at: At) -> Outcome {
    let backend = place(&at).await?;
    let store = backend.store();
    let from = key("from");
    store.put(&from, body("new")).await?;
    backend.copy_exact(&from, &key("b"), 3, None, PutMode::Create).await?;
    let old = store.put(&key("b"), body("first")).await?;
    let second = store.put(&key("b"), body("second")).await?;
    for wrong in [PutMode::Create, PutMode::Update(old.into())] {
        let answer = backend.copy_exact(&from, &key("b"), 3, None, wrong).await;
        if answer.is_ok() {
            return Err(not_here("it compares nothing when it copies"));
        }
        refused("a copy over another content", answer, &[ErrorKind::Precondition, ErrorKind::Exists])?;
        same("what is there", store.get(&key("b")).await?.bytes().await?, Bytes::from("second"))?;
    }
    backend.copy_exact(&from, &key("b"), 3, None, PutMode::Update(second.into())).await?;
    same("content", store.get(&key("b")).await?.bytes().await?, Bytes::from("new"))
}

async fn another(at: At) -> Outcome {
    let backend = place(&at).await?;
    let store = backend.store();
    let old = store.put(&key("a"), body("one")).await?;
    store.put(&key("a"), body("another")).await?;
    let answer = backend.copy_exact(&key("a"), &key("b"), 3, old.e_tag.as_deref(), PutMode::Overwrite).await;
    if answer.is_ok() {
        // The store keeps replaced contents, and its tag names a version.
        return same("what was copied", backend.store().get(&key("b")).await?.bytes().await?, Bytes::from("one"));
    }
    refused("the etag of what was replaced", answer, &[ErrorKind::Precondition])?;
    want(backend.store().head(&key("b")).await.is_err(), || "it was copied all the same".into())
}

async fn nothing(at: At) -> Outcome {
    let backend = place(&at).await?;
    refused("a copy", backend.copy_exact(&key("none"), &key("b"), 1, None, PutMode::Overwrite).await, &[ErrorKind::NotFound])?;
    want(backend.store().head(&key("b")).await.is_err(), || "something was made of nothing".into())
}
