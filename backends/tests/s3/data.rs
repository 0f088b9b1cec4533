//! Uploads in parts with each checksum, and what the meter says of requests and bytes.

use object_store::ObjectStoreExt;
use offsite_backends::{Backend, Requests};

use super::{Server, body, key, listing, unique};

#[tokio::test]
async fn an_upload_goes_on_in_another_process() {
    let Some(server) = Server::find() else { return };
    for more in ["", "&checksum=crc64nvme", "&checksum=none"] {
        let prefix = format!("parts-{}", unique());
        let (at, part) = (key("big ü.bin"), vec![7_u8; 5 << 20]);
        let first = server.open_in(&server.bucket, &prefix, more).await;
        let parts = first.multipart().unwrap();
        let id = parts.create_multipart(&at).await.unwrap();
        let one = parts.put_part(&at, &id, 0, part.clone().into()).await.unwrap();
        assert!(first.store().head(&at).await.is_err(), "nothing is there before the end");
        drop((first, parts));

        let second = server.open_in(&server.bucket, &prefix, more).await;
        let parts = second.multipart().unwrap();
        let two = parts.put_part(&at, &id, 1, body("the end")).await.unwrap();
        let put = parts.complete_multipart(&at, &id, vec![one, two]).await.unwrap();
        let head = second.store().head(&at).await.unwrap();
        assert_eq!((head.size, head.e_tag), ((5 << 20) + 7, put.e_tag));
        let requests = second.meter().requests();
        assert_eq!((requests.multipart, requests.put, requests.head), (2, 0, 1));

        let id = parts.create_multipart(&key("never")).await.unwrap();
        parts.abort_multipart(&key("never"), &id).await.unwrap();
    }
}

#[tokio::test]
async fn requests_and_bytes_are_counted_exactly() {
    let Some(server) = Server::find() else { return };
    let backend = server.open("meter").await;
    let meter = backend.meter();
    assert_eq!((meter.requests().total(), meter.clock()), (0, None), "opening sends nothing");
    let store = backend.store();
    store.put(&key("a"), body("12345")).await.unwrap();
    assert_eq!(meter.requests(), Requests { put: 1, ..Requests::default() });
    assert_eq!((meter.sent(), meter.received()), (5, 0));
    assert_eq!(store.get(&key("a")).await.unwrap().bytes().await.unwrap(), "12345");
    assert_eq!(meter.requests(), Requests { put: 1, get: 1, ..Requests::default() });
    assert_eq!((meter.sent(), meter.received()), (5, 5));
    backend.copy_exact(&key("a"), &key("b"), 5, None, object_store::PutMode::Overwrite).await.unwrap();
    listing(&backend).await;
    store.head(&key("b")).await.unwrap();
    store.delete(&key("b")).await.unwrap();
    let all = Requests { put: 1, get: 1, copy: 1, list: 1, head: 1, delete: 1, ..Requests::default() };
    assert_eq!((meter.requests(), meter.sent(), meter.received()), (all, 5, 5));
    let off = (backend.now().await.unwrap() - chrono::Utc::now()).num_seconds();
    assert!(off.abs() <= 2, "{off}");
    assert_eq!(meter.requests(), all, "a clock that was seen costs nothing");
    let fresh = server.open("clock").await;
    fresh.now().await.unwrap();
    assert_eq!(fresh.meter().requests(), Requests { head: 1, ..Requests::default() });
}

#[tokio::test]
async fn a_bucket_without_a_prefix_is_a_place_too() {
    let Some(server) = Server::find() else { return };
    let root = server.open_in(&server.bucket, "", "").await;
    let name = format!("root-{}/a", unique());
    root.store().put(&key(&name), body("x")).await.unwrap();
    let copy = format!("{name}2");
    root.copy_exact(&key(&name), &key(&copy), 1, None, object_store::PutMode::Overwrite).await.unwrap();
    let listed = listing(&root).await;
    assert!(listed.contains_key(&name) && listed.contains_key(&copy));
}
