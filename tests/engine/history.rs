//! Older states stay reachable, for as long as they are to, and then go with everything only they had.

use std::sync::Arc;

use chrono::TimeDelta;
use offsite::engine::{self, PullOptions, RunControl};
use offsite::model::{KeepRules, Sample};
use offsite_backends::Backend;
use offsite_backends::testing::MemoryOptions;

use crate::harness::*;

async fn three_states(world: &World, backend: &Arc<dyn Backend>) {
    for state in 1..=3u32 {
        world.write("changing", format!("state {state}").as_bytes());
        world.write(&format!("only-in-{state}"), format!("{state}").as_bytes());
        if state > 1 {
            world.remove(&format!("only-in-{}", state - 1));
        }
        world.write("same", b"all along");
        world.synced(backend).await;
        std::process::Command::new("cp").arg("-a").arg(world.source()).arg(world.path(&format!("state-{state}"))).status().unwrap();
    }
}

async fn all_states_come_back(world: &World, backend: &Arc<dyn Backend>) {
    for state in 1..=3 {
        let options = PullOptions { at: Some(state.to_string()), ..PullOptions::default() };
        let target = format!("pulled-{state}");
        let pulled = world.pull(backend, &target, &options).await.unwrap();
        assert_eq!((pulled.problems, pulled.snapshot), (Sample::default(), state));
        same_trees(&world.path(&format!("state-{state}")), &world.path(&target));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_comes_back_from_an_object_store() {
    let world = World::new();
    let (bucket, backend) = memory("states");
    three_states(&world, &backend).await;
    all_states_come_back(&world, &backend).await;
    assert!(bucket.keys().iter().any(|k| k.starts_with(".offsite/kept/000000000001/changing")), "{:?}", bucket.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_comes_back_from_a_bucket_with_versions_and_nothing_is_copied() {
    let world = World::new();
    let (bucket, backend) = memory_with("versioned", MemoryOptions { versions: true, ..MemoryOptions::default() });
    three_states(&world, &backend).await;
    all_states_come_back(&world, &backend).await;
    assert!(!bucket.keys().iter().any(|k| k.contains("kept/")), "{:?}", bucket.keys());
    assert_eq!(backend.meter().requests().copy, either(1, 0), "the probe's of the first run");
}

/// On GCS a bucket that is told to keep no more versions also forgets what is replaced from then on.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_with_a_version_is_copied_once_the_bucket_keeps_none() {
    let world = World::new();
    let (bucket, backend) = memory_with("turned-off", MemoryOptions { versions: true, ..MemoryOptions::default() });
    world.write("f", b"one");
    world.write("g", b"gone");
    world.synced(&backend).await;
    bucket.versions(false);
    world.write("f", b"two");
    world.remove("g");
    world.synced(&backend).await;
    let first = PullOptions { at: Some("1".into()), ..PullOptions::default() };
    let pulled = world.pull(&backend, "first", &first).await.unwrap();
    assert_eq!(pulled.problems, Sample::default());
    assert_eq!(std::fs::read(world.path("first/f")).unwrap(), b"one");
    assert_eq!(std::fs::read(world.path("first/g")).unwrap(), b"gone");
    let rules = KeepRules { last: 1, ..KeepRules::default() };
    let destination = opened(&backend, &world.machine).await.unwrap();
    engine::prune_over(destination, &world.machine, &rules, false, &RunControl::new(1)).await.unwrap();
    assert!(!bucket.keys().iter().any(|k| k.contains("/kept/")), "{:?}", bucket.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_comes_back_from_a_directory() {
    let world = World::new();
    let backend = world.file("destination");
    three_states(&world, &backend).await;
    all_states_come_back(&world, &backend).await;
}

async fn pruned(backend: &Arc<dyn Backend>, world: &World) {
    three_states(world, backend).await;
    let rules = KeepRules { last: 1, ..KeepRules::default() };
    let dry = engine::prune_over(opened(backend, &world.machine).await.unwrap(), &world.machine, &rules, true, &RunControl::new(1)).await;
    assert_eq!(dry.unwrap().removed, [1, 2]);
    let done = engine::prune_over(opened(backend, &world.machine).await.unwrap(), &world.machine, &rules, false, &RunControl::new(1)).await;
    let done = done.unwrap();
    // Two states of `changing`, and the two files that were only in them. Or the only pack that has nothing else.
    assert_eq!((done.removed, done.kept, done.contents), (vec![1, 2], vec![3], either(4, 1)));
    world.comes_back(backend).await;
    assert!(!world.synced(backend).await.changes.any());
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_an_object_store_leaves_nothing_behind() {
    let world = World::new();
    let (bucket, backend) = memory("pruned");
    pruned(&backend, &world).await;
    let kept: Vec<_> = bucket.keys().into_iter().filter(|k| k.contains("/kept/")).collect();
    assert!(kept.is_empty(), "{kept:?}");
    assert_eq!(bucket.keys().iter().filter(|k| k.starts_with(".offsite/pages/")).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_a_versioned_bucket_removes_the_versions() {
    let world = World::new();
    let (bucket, backend) = memory_with("pruned-versions", MemoryOptions { versions: true, ..MemoryOptions::default() });
    pruned(&backend, &world).await;
    assert_eq!(bucket.version_count("changing"), either(1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_a_directory_leaves_nothing_behind() {
    let world = World::new();
    let backend = world.file("destination");
    pruned(&backend, &world).await;
    let kept = std::fs::read_dir(world.path("destination/.offsite/kept")).map_or(0, std::iter::Iterator::count);
    assert_eq!(kept, 0);
}

/// What is older than the rules say goes by the store's clock, without being asked for.
#[tokio::test(flavor = "multi_thread")]
async fn old_snapshots_go_after_a_run_by_the_stores_clock() {
    let world = World::new();
    let (bucket, backend) = memory("aged");
    world.write("f", b"one");
    world.synced(&backend).await;
    world.write("f", b"two");
    world.synced(&backend).await;
    bucket.set_clock_offset(TimeDelta::days(20));
    world.write("f", b"three");
    assert_eq!(world.synced(&backend).await.pruned, 0);
    bucket.set_clock_offset(TimeDelta::days(31));
    let outcome = world.synced(&backend).await;
    // The second was the newest until day 20, so it was so within the last 30 days; the first was not.
    assert_eq!((outcome.pruned, outcome.snapshot), (1, Some(4)));
    let gone = PullOptions { at: Some("1".into()), ..PullOptions::default() };
    assert!(world.pull(&backend, "gone", &gone).await.is_err());
    let there = PullOptions { at: Some("2".into()), ..PullOptions::default() };
    world.pull(&backend, "there", &there).await.unwrap();
    assert_eq!(std::fs::read(world.path("there/f")).unwrap(), b"two");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_to_keep_nothing_is_copied_aside() {
    let mut world = World::new();
    world.options.keep = KeepRules { within: Some(0), ..KeepRules::default() };
    let (bucket, backend) = memory("kept-none");
    three_states(&world, &backend).await;
    world.comes_back(&backend).await;
    assert!(!bucket.keys().iter().any(|k| k.contains("/kept/")));
    let tree = world.file("destination");
    three_states(&world, &tree).await;
    assert!(
        !world.path("destination/.offsite/kept").exists()
            || std::fs::read_dir(world.path("destination/.offsite/kept")).unwrap().count() == 0
    );
}
