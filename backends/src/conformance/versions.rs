//! What a store itself keeps: versions that were replaced and deleted.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{GetOptions, ObjectStoreExt, PutResult};

use super::kit::{At, Case, CaseVerdict, Outcome, PlaceKind, body, case, key, not_here, plain, refused, same, want};
use crate::contract::backend::Backend;
use crate::contract::error::{self, ErrorKind};
use crate::contract::listing::{Depth, Listed, Scope, State};

pub(super) const CASES: &[Case] = &[
    case!("versions: an old one is read by its id", old_is_read),
    case!("versions: what was removed is read by its id", removed_is_read),
    case!("versions: all are listed", listed),
    case!("versions: one is deleted by its id", deleted),
    case!("versions: a copy has one", copied),
];

async fn place(at: &At) -> Result<Arc<dyn Backend>, CaseVerdict> {
    let backend = at.of(PlaceKind::Versioned).await?;
    match backend.capabilities().versions {
        true => Ok(backend),
        false => Err(not_here("it keeps no versions of its own")),
    }
}

async fn put(backend: &Arc<dyn Backend>, name: &str, text: &str) -> Result<String, CaseVerdict> {
    id(backend.store().put(&key(name), body(text)).await?)
}

fn id(put: PutResult) -> Result<String, CaseVerdict> {
    put.version.ok_or_else(|| CaseVerdict::Fails("the answer names no version".into()))
}

async fn read(backend: &Arc<dyn Backend>, name: &str, version: &str) -> error::Result<Bytes> {
    let options = GetOptions { version: Some(version.to_owned()), ..GetOptions::default() };
    let got = async { backend.store().get_opts(&key(name), options).await?.bytes().await };
    plain(backend, name, got.await)
}

async fn everything(backend: &Arc<dyn Backend>) -> Result<Vec<Listed>, CaseVerdict> {
    Ok(backend.list(Scope::Prefix, Depth::Everything).try_collect().await?)
}

async fn old_is_read(at: At) -> Outcome {
    let backend = place(&at).await?;
    let first = put(&backend, "a b/ü", "one").await?;
    let second = put(&backend, "a b/ü", "two").await?;
    want(first != second, || "two versions have one id".into())?;
    same("the old one", read(&backend, "a b/ü", &first).await?, Bytes::from("one"))?;
    same("the new one", read(&backend, "a b/ü", &second).await?, Bytes::from("two"))
}

async fn removed_is_read(at: At) -> Outcome {
    let backend = place(&at).await?;
    let version = put(&backend, "a", "one").await?;
    backend.store().delete(&key("a")).await?;
    refused("a head", plain(&backend, "a", backend.store().head(&key("a")).await), &[ErrorKind::NotFound])?;
    same("its version", read(&backend, "a", &version).await?, Bytes::from("one"))?;
    if backend.capabilities().server_copy {
        refused(
            "a copy of what was removed",
            backend.copy_exact(&key("a"), &key("b"), 3, None, object_store::PutMode::Overwrite).await,
            &[ErrorKind::NotFound],
        )?;
    }
    Ok(())
}

/// Some stores keep a delete marker for a deleted object, some only the version.
async fn listed(at: At) -> Outcome {
    let backend = place(&at).await?;
    let first = put(&backend, "gone", "one").await?;
    let second = put(&backend, "gone", "the second").await?;
    let stays = put(&backend, "stays", "three").await?;
    backend.store().delete(&key("gone")).await?;
    let all = everything(&backend).await?;
    let state_of = |id: &str| all.iter().find(|found| found.version.as_deref() == Some(id)).map(|found| (found.state, found.size));
    same("the first", state_of(&first), Some((State::Old, 3)))?;
    same("the second", state_of(&second), Some((State::Old, 10)))?;
    same("what stays", state_of(&stays), Some((State::Current, 5)))?;
    let rest: Vec<_> = all.iter().filter(|found| ![&first, &second, &stays].contains(&found.version.as_ref().unwrap_or(&stays))).collect();
    let is_mark = |found: &&&Listed| found.state == State::Marker && found.key == b"gone";
    want(rest.len() <= 1 && rest.iter().all(|found| is_mark(&found)), || format!("there is more: {rest:?}"))?;
    let now: Vec<_> = backend.list_keys().map_ok(|found| found.key).try_collect().await?;
    same("what a reader sees", now, vec![b"stays".to_vec()])
}

async fn deleted(at: At) -> Outcome {
    let backend = place(&at).await?;
    let first = put(&backend, "a", "one").await?;
    let second = put(&backend, "a", "two").await?;
    for _ in 0..2 {
        // The second call finds no version to delete, and that is no error.
        backend.delete_versions(vec![(key("a"), first.clone())]).await?;
    }
    refused("the one that was deleted", read(&backend, "a", &first).await, &[ErrorKind::NotFound])?;
    same("the other one", read(&backend, "a", &second).await?, Bytes::from("two"))?;
    same("what a reader sees", backend.store().get(&key("a")).await?.bytes().await?, Bytes::from("two"))?;
    backend.store().delete(&key("a")).await?;
    let all = everything(&backend).await?.into_iter().filter_map(|found| Some((key("a"), found.version?))).collect();
    backend.delete_versions(all).await?;
    same("left in the end", everything(&backend).await?.len(), 0)
}

async fn copied(at: At) -> Outcome {
    let backend = place(&at).await?;
    if !backend.capabilities().server_copy {
        return Err(not_here("it cannot copy on the server"));
    }
    put(&backend, "a", "one").await?;
    put(&backend, "b", "before").await?;
    let version = id(backend.copy_exact(&key("a"), &key("b"), 3, None, object_store::PutMode::Overwrite).await?)?;
    put(&backend, "b", "after").await?;
    same("the copy's version", read(&backend, "b", &version).await?, Bytes::from("one"))
}
