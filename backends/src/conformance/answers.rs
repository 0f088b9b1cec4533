//! What a store answers apart from contents: times, and refusals that say what to do.

use chrono::Utc;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::kit::{At, Case, Outcome, PlaceKind, body, case, key, plain, refused, want};
use crate::contract::error::ErrorKind;

pub(super) const CASES: &[Case] = &[
    case!("the store's clock is told", clock),
    case!("what was just written is so old by the store's clock", modified),
    case!("a place that is not there says what to do", missing),
    case!("wrong credentials are denied", wrong_credentials),
];

async fn clock(at: At) -> Outcome {
    let backend = at.plain().await?;
    let before = backend.meter().requests().total();
    let off = (backend.now().await? - Utc::now()).num_seconds().abs();
    want(off <= 120, || format!("it is {off} s from this machine's, which shares it"))?;
    let cost = backend.meter().requests().total() - before;
    want(cost <= 1, || format!("it took {cost} requests"))
}

async fn modified(at: At) -> Outcome {
    let backend = at.plain().await?;
    backend.store().put(&key("a"), body("x")).await?;
    let head = backend.store().head(&key("a")).await?;
    let age = (backend.now().await? - head.last_modified).num_seconds();
    want((-2..=120).contains(&age), || format!("it is {age} s old"))
}

async fn missing(at: At) -> Outcome {
    const ADVICE: [&str; 5] = ["create", "make", "check", "init", "mount"];
    let backend = at.of(PlaceKind::Missing).await?;
    let put = refused("put", plain(&backend, "a", backend.store().put(&key("a"), body("x")).await), &[ErrorKind::NotFound])?;
    let listed = refused("list", backend.list_keys().try_collect::<Vec<_>>().await, &[ErrorKind::NotFound])?;
    for error in [put, listed] {
        want(ADVICE.iter().any(|word| error.message.contains(word)), || format!("it does not say what to do: {error}"))?;
    }
    Ok(())
}

async fn wrong_credentials(at: At) -> Outcome {
    let backend = at.of(PlaceKind::WrongCredentials).await?;
    let store = backend.store();
    refused("get", plain(&backend, "a", store.get(&key("a")).await), &[ErrorKind::Denied])?;
    refused("put", plain(&backend, "a", store.put(&key("a"), body("x")).await), &[ErrorKind::Denied])?;
    let error = refused("list", backend.list_keys().try_collect::<Vec<_>>().await, &[ErrorKind::Denied])?;
    want(error.message.len() > 20, || format!("it says too little: {error}"))
}
