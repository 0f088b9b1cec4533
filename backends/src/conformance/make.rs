//! The initialize hook: a look changes nothing, a second run changes nothing more, every declared setting is answered.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::kit::{At, Case, CaseVerdict, Outcome, PlaceKind, body, case, key, not_here, refused, same, want};
use crate::contract::backend::Backend;
use crate::contract::error::ErrorKind;
use crate::contract::initialize::{Did, InitMode, Initialize, Setting};

pub(super) const CASES: &[Case] = &[
    case!("initialize: looking at what is not there changes nothing", look_at_nothing),
    case!("initialize: looking at what is there changes nothing", look),
    case!("initialize: what is made is there, and twice is once", twice),
    case!("initialize: every wish has its row", every_wish),
];

/// All settings that can be declared and undone; a lock cannot be undone.
fn wishes() -> Initialize {
    Initialize {
        versioning: Some(true),
        abort_uploads_after_days: Some(7),
        expire_old_versions_after_days: Some(90),
        // Some makes of server accept this setting and then cannot write anything, because it needs a key service.
        encryption: None,
        block_public: true,
        lock: None,
        region: None,
    }
}

async fn place(at: &At, kind: PlaceKind) -> Result<Arc<dyn Backend>, CaseVerdict> {
    let backend = at.of(kind).await?;
    match backend.capabilities().control {
        true => Ok(backend),
        false => Err(not_here("there is a data plane only: nothing can be set up")),
    }
}

async fn look_at_nothing(at: At) -> Outcome {
    let backend = place(&at, PlaceKind::Unmade).await?;
    let rows = backend.initialize(&Initialize::default(), InitMode::Check).await?;
    want(rows.first().is_some_and(|row| row.did == Did::WouldChange), || format!("the first row is not drift: {rows:?}"))?;
    refused("a listing afterwards", backend.list_keys().try_collect::<Vec<_>>().await, &[ErrorKind::NotFound])?;
    Ok(())
}

async fn look(at: At) -> Outcome {
    let backend = place(&at, PlaceKind::Plain).await?;
    backend.store().put(&key("a"), body("x")).await?;
    let first = backend.initialize(&wishes(), InitMode::Check).await?;
    let second = backend.initialize(&wishes(), InitMode::Check).await?;
    same("the second look", &second, &first)?;
    want(second.iter().all(|row| row.did != Did::Changed), || format!("a look changed something: {second:?}"))?;
    same("objects", backend.list_keys().try_collect::<Vec<_>>().await?.len(), 1)
}

/// The settings that are not as declared although this kind of store has them.
fn wrong(rows: &[Setting]) -> Vec<&Setting> {
    rows.iter().filter(|row| !row.did.is_as_wanted() && !matches!(row.did, Did::Cannot(_))).collect()
}

async fn twice(at: At) -> Outcome {
    let backend = place(&at, PlaceKind::Unmade).await?;
    let made = backend.initialize(&wishes(), InitMode::Make).await?;
    same("rows that went wrong", wrong(&made), Vec::new())?;
    want(made.first().is_some_and(|row| row.did == Did::Changed), || format!("the first row was not made: {made:?}"))?;
    let again = backend.initialize(&wishes(), InitMode::Make).await?;
    let busy: Vec<_> = again.iter().filter(|row| !matches!(row.did, Did::Nothing | Did::Cannot(_))).collect();
    same("rows that the second time did something", busy, Vec::new())?;
    let look = at.of(PlaceKind::Unmade).await?.initialize(&wishes(), InitMode::Check).await?;
    same("what a look says then", look, again)?;
    backend.store().put(&key("a"), body("x")).await?;
    same("objects", backend.list_keys().try_collect::<Vec<_>>().await?.len(), 1)
}

async fn every_wish(at: At) -> Outcome {
    let backend = place(&at, PlaceKind::Plain).await?;
    let rows = backend.initialize(&wishes(), InitMode::Check).await?;
    let names: Vec<_> = rows.iter().map(|row| row.name).collect();
    let wanted = ["versioning", "abort unfinished uploads", "expire old versions", "block public access"];
    want(matches!(names.first(), Some(&"bucket" | &"directory")), || format!("the first of {names:?}"))?;
    for name in wanted {
        same(name, names.iter().filter(|row| **row == name).count(), 1)?;
    }
    want(rows.iter().all(|row| !row.was.is_empty() && !row.wanted.is_empty()), || format!("a row says too little: {rows:?}"))
}
