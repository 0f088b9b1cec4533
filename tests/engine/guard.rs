//! The guard: what looks like an accident is refused before anything is written.

use std::fs;

use offsite::engine::PullOptions;
use offsite::plan::Limits;

use crate::harness::*;

async fn settled(world: &mut World, name: &str) -> std::sync::Arc<dyn offsite_backends::Backend> {
    world.options.limits = Limits::default();
    for i in 0..200 {
        world.write(&format!("{i:03}"), b"content");
    }
    let (_, backend) = memory(name);
    world.synced(&backend).await;
    backend
}

fn refused(outcome: &offsite::engine::Outcome, says: &str) {
    assert_eq!((outcome.exit, outcome.snapshot), (4, None), "{outcome:?}");
    assert!(outcome.error.as_ref().is_some_and(|e| e.contains(says)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_a_missing_and_a_shrunken_source_are_refused() {
    let mut world = World::new();
    let backend = settled(&mut world, "shrunken").await;
    let puts = backend.meter().requests();
    for i in 0..60 {
        world.remove(&format!("{i:03}"));
    }
    refused(&world.sync(&backend).await, "60 of 200 entries would be removed (30 %), the limit is 25 %; use --max-removals");
    fs::rename(world.source(), world.path("elsewhere")).unwrap();
    refused(&world.sync(&backend).await, "cannot be read");
    fs::create_dir(world.source()).unwrap();
    refused(&world.sync(&backend).await, "--allow-empty");
    let after = backend.meter().requests();
    assert_eq!((puts.put, puts.delete), (after.put, after.delete));
    world.options.limits.allow_empty = true;
    let outcome = world.synced(&backend).await;
    assert_eq!(outcome.changes.removed, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_rewrite_is_refused_and_a_mass_touch_is_not() {
    let mut world = World::new();
    let backend = settled(&mut world, "rewritten").await;
    for i in 0..200 {
        let file = fs::File::options().write(true).open(world.source().join(format!("{i:03}"))).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    assert_eq!(world.synced(&backend).await.changes.metadata, 200);
    for i in 0..150 {
        world.write(&format!("{i:03}"), b"XXXXXXX");
    }
    refused(&world.sync(&backend).await, "150 of 200 files were rewritten");
    world.options.limits.rewrites = 1.0;
    assert_eq!(world.synced(&backend).await.changes.changed, 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_are_kept() {
    let mut world = World::new();
    let backend = settled(&mut world, "budget").await;
    world.write("large", &[7; 10_000]);
    world.options.limits.max_bytes = Some(9_999);
    refused(&world.sync(&backend).await, "--max-bytes");
    world.options.limits = Limits { max_cost: Some(0.000_001), ..Limits::default() };
    refused(&world.sync(&backend).await, "--max-cost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_was_emptied_is_not_taken_for_a_new_one() {
    let mut world = World::new();
    world.write("f", b"x");
    let backend = world.file("mounted");
    world.synced(&backend).await;
    fs::rename(world.path("mounted"), world.path("unmounted")).unwrap();
    fs::create_dir(world.path("mounted")).unwrap();
    let backend = world.file("mounted");
    refused(&world.sync(&backend).await, "--start-over");
    assert_eq!(fs::read_dir(world.path("mounted")).unwrap().count(), 0);
    world.options.start_over = true;
    world.synced(&backend).await;
    world.comes_back(&backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_with_delete_goes_through_the_guard() {
    let world = World::new();
    let (_, backend) = memory("pull-guard");
    world.write("f", b"x");
    world.synced(&backend).await;
    for i in 0..50 {
        fs::create_dir_all(world.path("target")).unwrap();
        fs::write(world.path(&format!("target/{i}")), b"precious").unwrap();
    }
    let options = PullOptions { delete: true, ..PullOptions::default() };
    let error = world.pull(&backend, "target", &options).await.unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert_eq!(fs::read_dir(world.path("target")).unwrap().count(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn source_and_destination_must_lie_apart() {
    let world = World::new();
    world.write("f", b"x");
    for name in ["source/inside", "source", "."] {
        let outcome = world.sync(&world.file(name)).await;
        assert_eq!(outcome.exit, 2, "{name}: {outcome:?}");
    }
    assert_eq!(fs::read_dir(world.source()).unwrap().count(), 1);
}
