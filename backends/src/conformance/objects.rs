//! Whole objects: put, get, head, delete, ranges, sizes.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{GetOptions, GetRange, ObjectStoreExt, PutPayload};

use super::kit::{At, Case, Outcome, bare, body, case, content, key, plain, refused, same, want};
use crate::contract::error::ErrorKind;

pub(super) const CASES: &[Case] = &[
    case!("bytes come back", bytes),
    case!("an empty object", empty),
    case!("an object of 6 MiB", large),
    case!("a put replaces", replaces),
    case!("a reader sees one put or the other, whole", atomic),
    case!("ranges", ranges),
    case!("a get of another etag is refused", stale_get),
    case!("what is not there is not found", missing),
    case!("a delete of what is not there is no error", delete_nothing),
    case!("many deletes at once", delete_many),
    case!("requests and bytes are counted", counted),
];

async fn bytes(at: At) -> Outcome {
    let backend = at.plain().await?;
    let store = backend.store();
    let data = content(1000);
    let put = store.put(&key("a/b.bin"), data.clone().into()).await?;
    let head = store.head(&key("a/b.bin")).await?;
    same("location and size", (head.location.as_ref(), head.size), ("a/b.bin", 1000))?;
    same("etag of put and head", bare(put.e_tag.as_deref()), bare(head.e_tag.as_deref()))?;
    let got = store.get(&key("a/b.bin")).await?;
    same("etag of put and get", bare(put.e_tag.as_deref()), bare(got.meta.e_tag.as_deref()))?;
    want(got.bytes().await? == data, || "other bytes came back".into())?;
    store.delete(&key("a/b.bin")).await?;
    refused("head after delete", plain(&backend, "a/b.bin", store.head(&key("a/b.bin")).await), &[ErrorKind::NotFound])?;
    Ok(())
}

async fn empty(at: At) -> Outcome {
    let store = at.plain().await?.store();
    store.put(&key("empty"), PutPayload::new()).await?;
    same("size", store.head(&key("empty")).await?.size, 0)?;
    same("content", store.get(&key("empty")).await?.bytes().await?, Bytes::new())
}

async fn large(at: At) -> Outcome {
    let store = at.plain().await?.store();
    let data = Bytes::from(content(6 << 20));
    store.put(&key("large"), data.clone().into()).await?;
    same("size", store.head(&key("large")).await?.size, 6 << 20)?;
    want(store.get(&key("large")).await?.bytes().await? == data, || "other bytes came back".into())
}

async fn replaces(at: At) -> Outcome {
    let store = at.plain().await?.store();
    let first = store.put(&key("a"), body("one")).await?;
    let second = store.put(&key("a"), body("another")).await?;
    want(first.e_tag.is_none() || first.e_tag != second.e_tag, || "two contents have one etag".into())?;
    same("content", store.get(&key("a")).await?.bytes().await?, Bytes::from("another"))
}

async fn atomic(at: At) -> Outcome {
    const SIZE: usize = 1 << 20;
    let backend = at.plain().await?;
    let store = backend.store();
    let of = |byte: u8| PutPayload::from(vec![byte; SIZE]);
    store.put(&key("a"), of(0)).await?;
    let (writer, target) = (backend.store(), key("a"));
    let writing = tokio::spawn(async move {
        for byte in 1..8 {
            writer.put(&target, of(byte)).await?;
        }
        Ok::<_, object_store::Error>(())
    });
    while !writing.is_finished() {
        // A store without a network may never wait, so the writer gets its turn here.
        tokio::task::yield_now().await;
        let got = store.get(&key("a")).await?.bytes().await?;
        want(got.len() == SIZE && got.iter().all(|byte| *byte == got[0]), || format!("{} bytes of more than one put", got.len()))?;
    }
    writing.await.map_err(|broken| super::kit::CaseVerdict::Fails(broken.to_string()))??;
    Ok(())
}

async fn ranges(at: At) -> Outcome {
    let store = at.plain().await?.store();
    let data = Bytes::from(content(300_000));
    store.put(&key("a"), data.clone().into()).await?;
    want(store.get_range(&key("a"), 7..200_001).await? == data.slice(7..200_001), || "a range from the middle".into())?;
    want(store.get_range(&key("a"), 0..1).await? == data.slice(0..1), || "the first byte".into())?;
    let tail = GetOptions { range: Some(GetRange::Offset(299_990)), ..GetOptions::default() };
    want(store.get_opts(&key("a"), tail).await?.bytes().await? == data.slice(299_990..), || "from an offset to the end".into())?;
    let past = store.get_range(&key("a"), 299_999..300_100).await?;
    want(past == data.slice(299_999..), || format!("a range that ends past the end gave {} bytes", past.len()))
}

async fn stale_get(at: At) -> Outcome {
    let backend = at.plain().await?;
    let store = backend.store();
    let put = store.put(&key("a"), body("one")).await?;
    let of = |etag: Option<String>| GetOptions { if_match: etag, ..GetOptions::default() };
    same("its own etag", store.get_opts(&key("a"), of(put.e_tag.clone())).await?.bytes().await?, Bytes::from("one"))?;
    store.put(&key("a"), body("two")).await?;
    let answer = store.get_opts(&key("a"), of(put.e_tag)).await;
    refused("the etag of what was replaced", plain(&backend, "a", answer), &[ErrorKind::Precondition])?;
    Ok(())
}

async fn missing(at: At) -> Outcome {
    let backend = at.plain().await?;
    let store = backend.store();
    refused("get", plain(&backend, "none", store.get(&key("none")).await), &[ErrorKind::NotFound])?;
    refused("head", plain(&backend, "none", store.head(&key("none")).await), &[ErrorKind::NotFound])?;
    let ranged = store.get_range(&key("no/such"), 0..1).await;
    refused("a range", plain(&backend, "no/such", ranged), &[ErrorKind::NotFound])?;
    Ok(())
}

async fn delete_nothing(at: At) -> Outcome {
    let store = at.plain().await?.store();
    store.delete(&key("none")).await?;
    store.delete(&key("no/such")).await?;
    store.put(&key("a"), body("x")).await?;
    let keys = stream::iter(["a", "none", "no/such"].map(|name| Ok(key(name)))).boxed();
    same("answers", store.delete_stream(keys).try_collect::<Vec<_>>().await?.len(), 3)
}

async fn delete_many(at: At) -> Outcome {
    let backend = at.plain().await?;
    let store = backend.store();
    let names: Vec<String> = (0..120).map(|n| format!("d{}/f{n}", n % 7)).collect();
    let puts = stream::iter(names.clone()).map(|name| {
        let store = store.clone();
        async move { store.put(&key(&name), body("x")).await }
    });
    puts.buffer_unordered(8).try_collect::<Vec<_>>().await?;
    let gone: Vec<_> = names.iter().skip(1).map(|name| Ok(key(name))).collect();
    let answers: Vec<_> = store.delete_stream(stream::iter(gone).boxed()).try_collect().await?;
    same("answers", answers.len(), 119)?;
    let left: Vec<_> = backend.list_keys().try_collect().await?;
    same("what is left", left.into_iter().map(|found| found.key).collect::<Vec<_>>(), vec![b"d0/f0".to_vec()])
}

async fn counted(at: At) -> Outcome {
    let backend = at.plain().await?;
    let (store, meter) = (backend.store(), backend.meter());
    // If a store has to ask something once, it asks it now.
    store.put(&key("before"), body("x")).await?;
    let before = (meter.requests(), meter.sent(), meter.received());
    store.put(&key("a"), body("12345")).await?;
    store.get(&key("a")).await?.bytes().await?;
    store.head(&key("a")).await?;
    backend.list_keys().try_collect::<Vec<_>>().await?;
    store.delete(&key("a")).await?;
    let now = meter.requests();
    let each = [now.put - before.0.put, now.get - before.0.get, now.head - before.0.head, now.delete - before.0.delete];
    same("puts, gets, heads, deletes", each, [1, 1, 1, 1])?;
    want(now.list > before.0.list, || "the listing was not counted".into())?;
    same("bytes sent and received", (meter.sent() - before.1, meter.received() - before.2), (5, 5))
}
