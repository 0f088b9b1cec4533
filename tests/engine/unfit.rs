//! Stores that cannot be destinations, and stores that can though they do not do everything: the first run finds out.

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use offsite::engine::PullOptions;
use offsite_backends::Backend;
use offsite_backends::testing::{MemoryOptions, Reads};

use crate::harness::*;

/// What does not come back as it was put would be lost: nothing is sent, and nothing stays of the probe but its folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_give_back_what_was_put_is_refused_before_the_first_content() {
    for reads in [Reads::Garbled, Reads::WholeOnly, Reads::WrongPart] {
        let world = World::new();
        world.write("precious", b"the only copy");
        let (memory, backend) = memory_with("unfit", MemoryOptions { reads, ..MemoryOptions::default() });
        let outcome = world.sync(&backend).await;
        let error = outcome.error.unwrap_or_default();
        assert!(error.contains("cannot be a destination") && error.contains("nothing was sent"), "{reads:?}: {error}");
        let keys: Vec<_> = memory.store().list(None).map_ok(|found| found.location.to_string()).try_collect().await.unwrap();
        assert!(keys.iter().all(|key| key.starts_with(".offsite/probe/")), "{reads:?}: {keys:?}");
    }
}

/// The probe costs three requests more for it, in the first run only. Nothing is ever copied in a packed destination.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_run_reads_back_what_it_put_and_no_later_one_does() {
    let world = World::new();
    world.write("a", b"content");
    let (_, inner) = memory("probed");
    let (faulty, backend) = faulty(&inner);
    world.synced(&backend).await;
    let read_back = |verb: &str| faulty.calls().iter().filter(|call| call.verb == verb && call.key.contains("/probe/")).count();
    assert_eq!((read_back("get"), read_back("copy_exact")), either((2, 1), (2, 0)));
    faulty.script().reset();
    world.write("a", b"changed");
    world.synced(&backend).await;
    assert!(faulty.calls().iter().all(|call| !call.key.contains("/probe/")));
}

/// `format.json` may name what this program has never heard of.
#[tokio::test(flavor = "multi_thread")]
async fn a_lack_of_another_name_is_passed_over() {
    let world = World::new();
    world.write("a", b"content");
    let (memory, backend) = memory("lacking");
    world.synced(&backend).await;
    let key = object_store::path::Path::parse(".offsite/format.json").unwrap();
    let body = memory.store().get(&key).await.unwrap().bytes().await.unwrap();
    let mut format: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert!(format.get("lacks").is_none(), "a store that does everything has no such member");
    format["lacks"] = serde_json::json!(["copies", "telepathy"]);
    memory.store().put(&key, format.to_string().into()).await.unwrap();
    let other = World { machine: world.elsewhere("other"), ..World::new() };
    other.pull(&backend, "out", &PullOptions::default()).await.unwrap();
    same_trees(&world.source(), &other.path("out"));
}
