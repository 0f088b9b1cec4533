//! What each kind of run costs at a packed destination, in requests.

use std::fs;
use std::sync::Arc;

use offsite::engine::PullOptions;
use offsite_backends::{Backend, Requests};

use super::objects::Objects;
use super::{many_pieces, noise};
use crate::harness::*;
use crate::requests::{many, spent};

#[tokio::test(flavor = "multi_thread")]
async fn no_change_is_one_look_and_one_record() {
    let world = World::packed();
    let (_, backend) = memory("nothing");
    many(&world, 300);
    world.synced(&backend).await;
    for _ in 0..2 {
        let before = backend.meter().requests();
        world.synced(&backend).await;
        assert_eq!(spent(&*backend, before), Requests { list: 1, put: 1, ..Requests::default() });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_run_of_300_files_is_15_requests() {
    let world = World::packed();
    let (_, backend) = memory("first");
    many(&world, 300);
    let (script, backend) = faulty(&backend);
    let requests = world.synced(&backend).await.requests;
    let calls = script.calls();
    assert!(requests.total() <= 15 && requests.copy == 0 && requests.multipart == 0, "{requests:?}: {calls:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_changed_files_are_8_requests() {
    let world = World::packed();
    let (_, backend) = memory("changed");
    many(&world, 300);
    world.synced(&backend).await;
    for i in 0..30 {
        world.write(&format!("{:02}/{i:04}", i % 20), format!("something else {i}").as_bytes());
    }
    let before = backend.meter().requests();
    assert_eq!(world.synced(&backend).await.changes.changed, 30);
    let spent = spent(&*backend, before);
    assert!(spent.total() <= 8, "{spent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_sends_no_content() {
    let world = World::packed();
    let (_, backend) = memory("renamed");
    many(&world, 200);
    world.write("00/big", &many_pieces(1, 40));
    world.synced(&backend).await;
    let packs = Objects::of(&backend).await.packs();
    fs::rename(world.source().join("00"), world.source().join("zz")).unwrap();
    let before = backend.meter().requests();
    let outcome = world.synced(&backend).await;
    assert_eq!((outcome.changes.renamed, outcome.bytes.sent, outcome.bytes.copied), (11, 0, 0));
    assert!(spent(&*backend, before).total() <= 6, "{:?}", spent(&*backend, before));
    assert_eq!(Objects::of(&backend).await.packs(), packs);
    world.comes_back(&backend).await;
}

/// A content, for a machine that knows nothing of the destination.
async fn cat(world: &World, backend: &Arc<dyn Backend>, path: &str) -> Vec<u8> {
    let records = opened(backend, &world.elsewhere("cat")).await.unwrap().records;
    let mut out = Vec::new();
    offsite::engine::cat_over(&records, path, None, &mut out).await.unwrap();
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_is_5_requests() {
    // With more files there is a page above the pages of entries.
    for (files, most) in [(300, 5), (3_000, 6)] {
        let world = World::packed();
        let (_, backend) = memory("cat");
        for i in 0..files {
            world.write(&format!("{:02}/{i:04}", i % 20), &noise(i, 200));
        }
        world.synced(&backend).await;
        let before = backend.meter().requests();
        assert_eq!(cat(&world, &backend, "07/0007").await, noise(7, 200));
        let spent = spent(&*backend, before);
        assert!(spent.total() <= most, "{files} files: {spent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_is_its_packs_and_6_requests() {
    let world = World::packed();
    let (_, backend) = memory("pulled");
    for run in 0..4 {
        for i in 0..100 {
            world.write(&format!("{:02}/{run}-{i:04}", i % 20), &noise(run * 100 + i, 60_000));
        }
        world.synced(&backend).await;
    }
    let packs = Objects::of(&backend).await.packs().len() as u64;
    assert_eq!(packs, 4);
    let before = backend.meter().requests();
    world.pull(&backend, "target", &PullOptions::default()).await.unwrap();
    let whole = spent(&*backend, before);
    assert!(whole.total() <= packs + 6, "{whole:?} for {packs} packs");
    for i in 0..5 {
        fs::write(world.path(&format!("target/{i:02}/0-{i:04}")), b"spoilt").unwrap();
    }
    let before = backend.meter().requests();
    assert_eq!(world.pull(&backend, "target", &PullOptions::default()).await.unwrap().files, 5);
    let few = spent(&*backend, before);
    assert!(few.total() <= 5 + 6, "{few:?}");
    same_trees(&world.source(), &world.path("target"));
}

/// A full pack is fetched in two or three requests of at most 8 MiB each, so that memory stays small.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_of_full_packs_is_three_requests_for_each() {
    let world = World::packed();
    let (_, backend) = memory("full");
    for i in 0..400 {
        world.write(&format!("{:02}/{i:04}", i % 20), &noise(i, 60_000));
    }
    world.synced(&backend).await;
    let packs = Objects::of(&backend).await.packs().len() as u64;
    assert_eq!(packs, 2);
    let before = backend.meter().requests();
    world.pull(&backend, "target", &PullOptions::default()).await.unwrap();
    let whole = spent(&*backend, before);
    assert!(whole.total() <= 3 * packs + 6, "{whole:?} for {packs} packs");
}
