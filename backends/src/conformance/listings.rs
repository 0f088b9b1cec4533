//! Listings: complete, each key once, raw, and with the same facts as a head.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;

use super::kit::{At, Case, CaseVerdict, Outcome, PlaceKind, bare, body, case, key, not_here, same, want};
use crate::contract::backend::Backend;
use crate::contract::listing::{Depth, Listed, Scope, State};

pub(super) const CASES: &[Case] = &[
    case!("an empty place lists nothing", empty),
    case!("a listing of several pages is complete while others write", pages),
    case!("a listing tells what a head tells", facts),
    case!("a place whose name begins the same is another place", beside),
    case!("the whole bucket is listed with whole keys", whole_bucket),
    case!("the data plane lists the same keys", data_plane),
    case!("one level of a listing", level),
    case!("unfinished uploads are listed", unfinished),
];

/// The listing by key. A key that comes twice fails the case.
pub(super) async fn listing(backend: &Arc<dyn Backend>, scope: Scope, depth: Depth) -> Result<BTreeMap<String, Listed>, CaseVerdict> {
    let listed: Vec<Listed> = backend.list(scope, depth).try_collect().await?;
    let mut map = BTreeMap::new();
    for found in listed {
        let name = String::from_utf8_lossy(&found.key).into_owned();
        if map.insert(name.clone(), found).is_some() {
            return Err(CaseVerdict::Fails(format!("{name:?} was listed twice")));
        }
    }
    Ok(map)
}

async fn fill(backend: &Arc<dyn Backend>, names: &[String]) -> Outcome {
    let store = backend.store();
    let puts = stream::iter(names.to_vec()).map(|name| {
        let store = store.clone();
        async move { store.put(&key(&name), body(&name)).await }
    });
    puts.buffer_unordered(16).try_collect::<Vec<_>>().await?;
    Ok(())
}

async fn empty(at: At) -> Outcome {
    let backend = at.plain().await?;
    same("keys", listing(&backend, Scope::Prefix, Depth::Current).await?.len(), 0)?;
    same("everything", listing(&backend, Scope::Prefix, Depth::Everything).await?.len(), 0)
}

/// More keys than any store lists on one page, with names that need to be encoded.
async fn pages(at: At) -> Outcome {
    let backend = at.plain().await?;
    let names: Vec<String> = (0..1103).map(|n| format!("d{:02}/f {n}+%é", n % 40)).collect();
    fill(&backend, &names).await?;
    let writer = at.plain().await?;
    let writing = tokio::spawn(async move {
        for n in 0..200 {
            writer.store().put(&key(&format!("d{:02}/late {n}", n % 50)), body("x")).await?;
        }
        Ok::<_, object_store::Error>(())
    });
    let listed = listing(&backend, Scope::Prefix, Depth::Current).await;
    writing.await.map_err(|broken| CaseVerdict::Fails(broken.to_string()))??;
    let listed = listed?;
    let lost: Vec<_> = names.iter().filter(|name| !listed.contains_key(*name)).collect();
    want(lost.is_empty(), || format!("{} of {} keys were not listed, such as {:?}", lost.len(), names.len(), lost.first()))?;
    let after = listing(&backend, Scope::Prefix, Depth::Current).await?;
    same("keys once all is quiet", after.len(), names.len() + 200)
}

async fn facts(at: At) -> Outcome {
    let backend = at.plain().await?;
    let names: Vec<String> = ["a", "b/c d", "ü"].map(str::to_owned).to_vec();
    fill(&backend, &names).await?;
    let listed = listing(&backend, Scope::Prefix, Depth::Current).await?;
    same("keys", listed.keys().cloned().collect::<Vec<_>>(), names)?;
    for (name, found) in &listed {
        let head = backend.store().head(&key(name)).await?;
        same("size", found.size, head.size)?;
        if found.etag.is_some() && head.e_tag.is_some() {
            same("etag", bare(found.etag.as_deref()), bare(head.e_tag.as_deref()))?;
        }
        let apart = (found.modified - head.last_modified).num_seconds().abs();
        want(apart <= 1, || format!("{name}: the listing's time is {apart} s from that of the head"))?;
        same("state", found.state, State::Current)?;
    }
    Ok(())
}

async fn beside(at: At) -> Outcome {
    let backend = at.plain().await?;
    backend.store().put(&key("a"), body("x")).await?;
    let shorter = &at.name[..at.name.len() - 1];
    let beside = at.place.open(PlaceKind::Plain, shorter).await?.ok_or_else(|| not_here("no place to write to"))?;
    let listed = listing(&beside, Scope::Prefix, Depth::Current).await?;
    same("what a place of a shorter name lists", listed.len(), 0)
}

async fn whole_bucket(at: At) -> Outcome {
    let backend = at.plain().await?;
    backend.store().put(&key("a/b"), body("x")).await?;
    let listed = listing(&backend, Scope::Bucket, Depth::Current).await?;
    let prefix = String::from_utf8_lossy(backend.location().path()).into_owned();
    let wanted = match prefix.is_empty() || backend.capabilities().any_name {
        true => "a/b".to_owned(),
        false => format!("{prefix}/a/b"),
    };
    let shown = listed.len().min(5);
    want(listed.contains_key(&wanted), || format!("no {wanted:?} in {:?}", listed.keys().take(shown).collect::<Vec<_>>()))
}

async fn data_plane(at: At) -> Outcome {
    let backend = at.plain().await?;
    let names: Vec<String> = (0..30).map(|n| format!("d{}/f{n}", n % 3)).collect();
    fill(&backend, &names).await?;
    let raw: Vec<String> = listing(&backend, Scope::Prefix, Depth::Current).await?.into_keys().collect();
    let sorted = |found: Vec<object_store::ObjectMeta>| {
        let mut keys: Vec<_> = found.into_iter().map(|meta| meta.location.to_string()).collect();
        keys.sort();
        keys
    };
    same("keys", sorted(backend.store().list(None).try_collect().await?), raw)?;
    let below = sorted(backend.store().list(Some(&key("d1"))).try_collect().await?);
    same("keys below d1", below.len(), 10)
}

async fn level(at: At) -> Outcome {
    let backend = at.plain().await?;
    fill(&backend, &["a", "d/b", "d/c/x", "d/c/y", "e/z"].map(str::to_owned)).await?;
    let top = backend.store().list_with_delimiter(None).await?;
    same("objects at the top", top.objects.len(), 1)?;
    // A real tree also shows its staging area.
    let dirs: Vec<_> = top.common_prefixes.into_iter().filter(|dir| *dir != key(".offsite")).collect();
    same("directories at the top", dirs, vec![key("d"), key("e")])?;
    let d = backend.store().list_with_delimiter(Some(&key("d"))).await?;
    same("below d", (d.objects.len(), d.common_prefixes), (1, vec![key("d/c")]))
}

async fn unfinished(at: At) -> Outcome {
    let backend = at.plain().await?;
    let Some(parts) = backend.multipart() else { return Err(not_here("no upload in parts outlives its process")) };
    let id = parts.create_multipart(&key("big ü")).await?;
    parts.put_part(&key("big ü"), &id, 0, body("x")).await?;
    let listed = listing(&backend, Scope::Prefix, Depth::Everything).await?;
    same("listed", listed.values().map(|found| found.state).collect::<Vec<_>>(), vec![State::Unfinished])?;
    want(listed.contains_key("big ü"), || "its key is another".into())?;
    want(listed.values().all(|found| found.version.is_some()), || "it says no upload id".into())?;
    same("what a reader sees", listing(&backend, Scope::Prefix, Depth::Current).await?.len(), 0)?;
    parts.abort_multipart(&key("big ü"), &id).await?;
    same("after the abort", listing(&backend, Scope::Prefix, Depth::Everything).await?.len(), 0)
}
