//! Retention where the store locks what it holds: nothing locked is asked to go, and it goes when its lock ends.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use offsite::engine::{self, Locked, PruneOutcome, PullOptions, RunControl};
use offsite::model::{KeepRules, Sample};
use offsite_backends::testing::{Faulty, MemoryBackend, MemoryOptions};
use offsite_backends::{Backend, ErrorKind};

use crate::harness::*;

const DAYS: i64 = 86_400;

fn locking(name: &str, days: Option<i64>) -> (MemoryBackend, Arc<dyn Backend>) {
    memory_with(name, MemoryOptions { versions: true, locks: days.map(|days| days * DAYS), ..MemoryOptions::default() })
}

/// Three states, a day apart by the store's clock.
async fn three_states(world: &World, bucket: &MemoryBackend, backend: &Arc<dyn Backend>) {
    for state in 1..=3 {
        bucket.set_clock_offset(TimeDelta::days(state));
        world.write("changing", format!("state {state}").as_bytes());
        world.synced(backend).await;
    }
}

async fn prune(world: &World, backend: &Arc<dyn Backend>, last: u64, dry_run: bool) -> offsite::error::Result<PruneOutcome> {
    let rules = KeepRules { last, ..KeepRules::default() };
    let destination = opened(backend, &world.machine).await?;
    engine::prune_over(destination, &world.machine, &rules, dry_run, &RunControl::new(1)).await
}

async fn state(world: &World, backend: &Arc<dyn Backend>, number: u64) -> Vec<u8> {
    let target = format!("state-{number}-{}", rand());
    let options = PullOptions { at: Some(number.to_string()), ..PullOptions::default() };
    assert_eq!(world.pull(backend, &target, &options).await.unwrap().problems, Sample::default());
    std::fs::read(world.path(&target).join("changing")).unwrap()
}

fn rand() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}

/// Days from now by this machine's clock, which the bucket's began with.
fn ends_in(locked: &Locked) -> f64 {
    let until = DateTime::parse_from_rfc3339(locked.until.as_ref().unwrap()).unwrap();
    (until.to_utc() - Utc::now()).num_seconds() as f64 / DAYS as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_snapshot_stays_whole_until_its_lock_ends() {
    let world = World::new();
    let (bucket, backend) = locking("locked", Some(10));
    three_states(&world, &bucket, &backend).await;
    for dry_run in [true, false] {
        let outcome = prune(&world, &backend, 1, dry_run).await.unwrap();
        let locked = outcome.locked.unwrap();
        assert_eq!((outcome.removed, outcome.kept, locked.snapshots, locked.contents), (vec![], vec![1, 2, 3], 2, 0));
        assert!((ends_in(&locked) - 11.0).abs() < 0.1, "{locked:?}");
    }
    assert_eq!(state(&world, &backend, 1).await, b"state 1");
    // The first is eleven days old and free, the second is not.
    bucket.set_clock_offset(TimeDelta::days(11) + TimeDelta::hours(1));
    let outcome = prune(&world, &backend, 1, false).await.unwrap();
    let locked = outcome.locked.unwrap();
    assert_eq!((outcome.removed, outcome.contents, locked.snapshots), (vec![1], 1, 1));
    assert!((ends_in(&locked) - 12.0).abs() < 0.1, "{locked:?}");
    assert_eq!(state(&world, &backend, 2).await, b"state 2");
    bucket.set_clock_offset(TimeDelta::days(40));
    let outcome = prune(&world, &backend, 1, false).await.unwrap();
    assert_eq!((outcome.removed, outcome.locked), (vec![2], None));
    assert_eq!(bucket.version_count("changing"), 1);
    // Of a snapshot and of its pages only the mark stays that hides what is gone.
    assert_eq!(bucket.version_count(".offsite/snapshots/000000000001.json"), 1);
    world.comes_back(&backend).await;
}

/// A run says what is locked each time, and looks again once a day or when the first lock has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_says_until_when_and_goes_on_by_itself() {
    let world = World::new();
    let (bucket, backend) = locking("locked-run", Some(40));
    three_states(&world, &bucket, &backend).await;
    bucket.set_clock_offset(TimeDelta::days(34));
    let outcome = world.synced(&backend).await;
    assert_eq!((outcome.pruned, outcome.locked.as_ref().map(|l| l.snapshots)), (0, Some(2)), "{:?}", outcome.warnings);
    let before = backend.meter().requests();
    let again = world.synced(&backend).await;
    assert_eq!(again.locked, outcome.locked);
    let asked = backend.meter().requests().total() - before.total();
    assert!(asked <= 3, "{asked} requests where nothing was to be looked at again");
    bucket.set_clock_offset(TimeDelta::days(41) + TimeDelta::hours(1));
    let outcome = world.synced(&backend).await;
    assert_eq!((outcome.pruned, outcome.locked.map(|l| l.snapshots)), (1, Some(1)));
}

/// A single content may be held longer than the snapshot that named it.
#[tokio::test(flavor = "multi_thread")]
async fn a_content_under_a_hold_goes_when_the_hold_is_gone() {
    let world = World::new();
    let (bucket, backend) = locking("hold", None);
    three_states(&world, &bucket, &backend).await;
    bucket.hold("changing", true);
    let outcome = prune(&world, &backend, 1, false).await.unwrap();
    let locked = outcome.locked.unwrap();
    assert_eq!((outcome.removed, outcome.contents, locked.contents, locked.hold, locked.until), (vec![1, 2], 0, 2, true, None));
    assert_eq!(bucket.version_count("changing"), 3);
    bucket.hold("changing", false);
    bucket.set_clock_offset(TimeDelta::days(5));
    let outcome = prune(&world, &backend, 1, false).await.unwrap();
    assert_eq!((outcome.contents, outcome.locked), (2, None));
    assert_eq!(bucket.version_count("changing"), 1);
}

/// What one prune wrote down and could not begin is not carried out against rules that keep more.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_was_not_begun_does_no_harm() {
    for versions in [true, false] {
        let world = World::new();
        let name = format!("list-{versions}");
        let (bucket, backend) = memory_with(&name, MemoryOptions { versions, ..MemoryOptions::default() });
        three_states(&world, &bucket, &backend).await;
        let script = Arc::new(Faulty::new(Arc::clone(&backend)));
        let broken: Arc<dyn Backend> = script.clone();
        let script = script.script();
        script.fail_verb("delete", 1, ErrorKind::Denied);
        prune(&world, &broken, 1, false).await.unwrap_err();
        let outcome = prune(&world, &backend, 2, false).await.unwrap();
        assert_eq!(outcome.removed, [1]);
        assert_eq!(state(&world, &backend, 2).await, b"state 2");
        // The same list is carried out where it is still wanted.
        script.reset();
        script.fail_verb("delete", 1, ErrorKind::Denied);
        prune(&world, &broken, 1, false).await.unwrap_err();
        let outcome = prune(&world, &backend, 1, false).await.unwrap();
        assert_eq!((outcome.removed, outcome.contents), (vec![2], 1));
        world.comes_back(&backend).await;
    }
}
