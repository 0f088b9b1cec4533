//! Two writers at once: one wins, the other is told; a writer that died blocks nobody for long.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use offsite::engine::{self, Machine, RunControl};
use offsite_backends::testing::{Faulty, MemoryOptions};
use offsite_backends::{Backend, ErrorKind};

use crate::harness::*;

async fn sync_as(world: &World, machine: &Machine, backend: &Arc<dyn Backend>) -> engine::Outcome {
    let opened = vec![(String::new(), Ok(Arc::clone(backend)))];
    engine::sync_over(machine, &world.source(), opened, &world.options, &RunControl::new(1)).await.destinations.remove(0)
}

async fn race(options: MemoryOptions) {
    let world = World::new();
    for i in 0..40 {
        world.write(&format!("{i}"), b"x");
    }
    let (_, backend) = memory_with("raced", options);
    world.synced(&backend).await;
    world.write("7", b"changed");
    let slow = Arc::new(Faulty::new(Arc::clone(&backend)));
    slow.script().delay(Duration::from_millis(30));
    let slow: Arc<dyn Backend> = slow;
    let (first, second) = (world.elsewhere("first"), world.elsewhere("second"));
    let (one, two) = tokio::join!(sync_as(&world, &first, &slow), sync_as(&world, &second, &slow));
    let mut codes = [one.exit, two.exit];
    codes.sort_unstable();
    assert_eq!(codes, [0, 1], "{one:?}\n{two:?}");
    let loser = if one.exit == 1 { one } else { two };
    let message = loser.error.unwrap();
    assert!(["writing there", "took it first", "in the meantime", "at the same time"].iter().any(|m| message.contains(m)), "{message}");
    world.comes_back(&backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_writers_wins() {
    race(MemoryOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_writers_wins_where_the_store_ignores_conditions() {
    race(MemoryOptions { ignore_conditions: true, ..MemoryOptions::default() }).await;
}

/// Another machine waits for the lease to run out, by the store's clock; this one need not.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_writers_lease_runs_out_by_the_stores_clock() {
    let world = World::new();
    let (bucket, backend) = memory("dead");
    world.write("f", b"one");
    world.synced(&backend).await;
    world.write("f", b"two");
    let (script, dying) = faulty(&backend);
    // A look, the lease, a second look; then it dies.
    script.script().stop_at(4);
    assert_ne!(world.sync(&dying).await.exit, 0);
    assert!(bucket.keys().contains(&named(".offsite/lease.json")), "{:?}", bucket.keys());
    let other = world.elsewhere("other");
    let refused = sync_as(&world, &other, &backend).await;
    assert!(refused.error.as_ref().is_some_and(|e| e.contains("expires in")), "{refused:?}");
    bucket.set_clock_offset(TimeDelta::minutes(3));
    assert_eq!(sync_as(&world, &other, &backend).await.exit, 0);
    world.comes_back(&backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machines_own_dead_run_is_gone_on_with_at_once() {
    let world = World::new();
    let (_, backend) = memory("own");
    world.write("f", b"one");
    world.synced(&backend).await;
    world.write("f", b"two");
    let (script, dying) = faulty(&backend);
    // A look, the lease, a second look; then it dies.
    script.script().stop_at(4);
    assert_ne!(world.sync(&dying).await.exit, 0);
    world.synced(&backend).await;
    world.comes_back(&backend).await;
}

/// The clock of this machine, a year off either way, decides nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_clock_is_a_year_off() {
    for days in [-365, 365] {
        let world = World::new();
        let (bucket, backend) = memory("year");
        bucket.set_clock_offset(TimeDelta::days(days));
        world.write("f", b"one");
        world.synced(&backend).await;
        world.write("f", b"two");
        let outcome = world.synced(&backend).await;
        assert_eq!(outcome.pruned, 0);
        let options = engine::PullOptions { at: Some("1".into()), ..Default::default() };
        world.pull(&backend, "old", &options).await.unwrap();
        assert_eq!(std::fs::read(world.path("old/f")).unwrap(), b"one");
    }
}

/// A process may back up many jobs one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_closes_what_it_opened() {
    let world = World::new();
    world.write("dir/file", b"one");
    let place = world.path("closes");
    let open = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        files.filter(|file| file.starts_with(&place)).count()
    };
    for round in 0..3 {
        world.write("dir/file", format!("round {round}").as_bytes());
        let backend = world.file("closes");
        let (script, faulty) = faulty(&backend);
        script.script().fail_at(12, ErrorKind::Full);
        world.sync(&faulty).await;
        world.synced(&backend).await;
    }
    assert_eq!(open(), 0);
}
