//! Writes with a condition: create-only, and compare-and-swap.

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutResult, UpdateVersion};

use super::kit::{At, Case, CaseVerdict, Outcome, body, case, key, not_here, plain, refused, same, want};
use crate::contract::error::ErrorKind;

pub(super) const CASES: &[Case] = &[
    case!("create-only: the second is refused", create_only),
    case!("create-only: of eight at once one wins", create_race),
    case!("compare-and-swap: only what was seen is replaced", swap),
    case!("compare-and-swap: what is not there is not made", swap_nothing),
    case!("compare-and-swap: of eight at once one wins", swap_race),
];

fn mode(mode: PutMode) -> PutOptions {
    PutOptions { mode, ..PutOptions::default() }
}

fn seen(put: PutResult) -> PutOptions {
    mode(PutMode::Update(UpdateVersion { e_tag: put.e_tag, version: put.version }))
}

async fn create_only(at: At) -> Outcome {
    let backend = at.plain().await?;
    let store = backend.store();
    if !backend.capabilities().create_only {
        return Err(not_here("it has no create-only"));
    }
    store.put_opts(&key("a"), body("1"), mode(PutMode::Create)).await?;
    let again = store.put_opts(&key("a"), body("2"), mode(PutMode::Create)).await;
    refused("the second", plain(&backend, "a", again), &[ErrorKind::Exists])?;
    same("content", store.get(&key("a")).await?.bytes().await?, Bytes::from("1"))?;
    store.delete(&key("a")).await?;
    store.put_opts(&key("a"), body("3"), mode(PutMode::Create)).await?;
    Ok(())
}

/// Runs eight writers at once and returns the content of the one that won. Any other number of winners fails the case.
async fn race(at: &At, name: &str, options: PutOptions, lost: &[ErrorKind]) -> Result<String, CaseVerdict> {
    let mut tries = Vec::new();
    for writer in 0..8 {
        let (backend, name, options) = (at.plain().await?, key(name), options.clone());
        tries.push(tokio::spawn(async move {
            let text = format!("writer {writer}");
            let answer = backend.store().put_opts(&name, body(&text), options).await;
            (text, plain(&backend, name.as_ref(), answer))
        }));
    }
    let mut winners = Vec::new();
    for done in tries {
        let (text, answer) = done.await.map_err(|broken| CaseVerdict::Fails(broken.to_string()))?;
        match answer {
            Ok(_) => winners.push(text),
            // A store may answer one of two concurrent requests with a retry; it wrote nothing then.
            Err(error) if lost.contains(&error.kind) || error.kind == ErrorKind::Transient => {}
            Err(error) => return Err(error.into()),
        }
    }
    match <[String; 1]>::try_from(winners) {
        Ok([winner]) => Ok(winner),
        Err(winners) => Err(CaseVerdict::Fails(format!("{} of 8 won", winners.len()))),
    }
}

async fn create_race(at: At) -> Outcome {
    let backend = at.plain().await?;
    if !backend.capabilities().create_only {
        return Err(not_here("it has no create-only"));
    }
    for round in 0..4 {
        let name = format!("lease/{round}");
        let winner = race(&at, &name, mode(PutMode::Create), &[ErrorKind::Exists]).await?;
        same("content", backend.store().get(&key(&name)).await?.bytes().await?, Bytes::from(winner))?;
    }
    Ok(())
}

async fn swap(at: At) -> Outcome {
    let backend = at.plain().await?;
    let store = backend.store();
    if !backend.capabilities().compare_and_swap {
        return Err(not_here("it has no compare-and-swap"));
    }
    let first = store.put(&key("a"), body("1")).await?;
    let second = store.put_opts(&key("a"), body("2"), seen(first.clone())).await?;
    let late = store.put_opts(&key("a"), body("3"), seen(first)).await;
    refused("what was replaced meanwhile", plain(&backend, "a", late), &[ErrorKind::Precondition])?;
    same("content", store.get(&key("a")).await?.bytes().await?, Bytes::from("2"))?;
    store.put_opts(&key("a"), body("4"), seen(second)).await?;
    Ok(())
}

async fn swap_nothing(at: At) -> Outcome {
    let backend = at.plain().await?;
    let store = backend.store();
    if !backend.capabilities().compare_and_swap {
        return Err(not_here("it has no compare-and-swap"));
    }
    let put = store.put(&key("a"), body("1")).await?;
    store.delete(&key("a")).await?;
    let answer = store.put_opts(&key("a"), body("2"), seen(put)).await;
    refused("a swap of what is gone", plain(&backend, "a", answer), &[ErrorKind::Precondition, ErrorKind::NotFound])?;
    want(store.head(&key("a")).await.is_err(), || "it was made all the same".into())
}

async fn swap_race(at: At) -> Outcome {
    let backend = at.plain().await?;
    let store = backend.store();
    if !backend.capabilities().compare_and_swap {
        return Err(not_here("it has no compare-and-swap"));
    }
    for round in 0..4 {
        let name = format!("lease/{round}");
        let put = store.put(&key(&name), body("first")).await?;
        let winner = race(&at, &name, seen(put), &[ErrorKind::Precondition]).await?;
        same("content", store.get(&key(&name)).await?.bytes().await?, Bytes::from(winner))?;
    }
    Ok(())
}
