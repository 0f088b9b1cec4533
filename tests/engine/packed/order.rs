//! The order of writes at a packed destination, over the log of storage calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use offsite::engine::{self, Machine, Outcome, RunControl};
use offsite_backends::testing::{Call, MemoryBackend};
use offsite_backends::{Backend, ErrorKind};

use super::objects::Objects;
use super::{comes_back_at, copy_tree, exact, last, many_pieces, noise, prune};
use crate::harness::*;
use crate::order::{LEASE, WRITES, at, last as last_call, writes};

const PACKS: &str = ".offsite/packs/";
const PAGES: &str = ".offsite/pages/";
const SNAPSHOTS: &str = ".offsite/snapshots/";
/// Longer than a lease lives.
const STOPPED: Duration = Duration::from_secs(200);

fn first_tree(world: &World) {
    for i in 0..20 {
        world.write(&format!("dir/{i:02}"), &noise(i, 3_000));
    }
    world.write("big", &many_pieces(1, 40));
    world.write("gone", b"to be removed");
}

fn second_tree(world: &World) {
    world.write("dir/03", b"changed");
    world.write("new", &noise(99, 700 << 10));
    world.write("big", &[many_pieces(2, 1), many_pieces(1, 40)].concat());
    world.remove("gone");
}

/// Two runs; answers the calls that brought the second one over.
async fn second_run(world: &World, name: &str) -> (MemoryBackend, Arc<dyn Backend>, Vec<Call>) {
    let (bucket, inner) = memory(name);
    first_tree(world);
    world.synced(&inner).await;
    second_tree(world);
    let (script, backend) = faulty(&inner);
    world.synced(&backend).await;
    (bucket, inner, script.calls())
}

#[tokio::test(flavor = "multi_thread")]
async fn lease_then_packs_then_pages_then_the_snapshot() {
    let (_, _, calls) = second_run(&World::packed(), "order").await;
    let packs: Vec<usize> = (0..calls.len()).filter(|i| calls[*i].verb == "put" && calls[*i].key.starts_with(PACKS)).collect();
    // One of contents and one of lists.
    assert_eq!(packs.len(), 2, "{calls:#?}");
    assert!(at(&calls, "create", LEASE) < packs[0] && packs[1] < at(&calls, "put", PAGES), "{calls:#?}");
    assert!(last_call(&calls, "put", PAGES) < at(&calls, "create", SNAPSHOTS));
    let deletes: Vec<_> = calls.iter().filter(|call| call.verb.starts_with("delete")).map(|call| call.key.as_str()).collect();
    assert_eq!(deletes, [LEASE], "a run that replaces nothing has nothing to delete");
    assert!(!calls.iter().any(|call| ["copy_exact", "create_multipart", "update"].contains(&call.verb)), "{calls:#?}");
    assert!(calls.iter().filter(|call| WRITES.contains(&call.verb)).all(|call| call.key.starts_with(".offsite/")), "{calls:#?}");
}

/// The packs of contents are acknowledged before a list of their pieces can be written, and lists before pages.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_fails_ends_the_run_before_anything_names_it() {
    // The first pack of the second run has contents, the second one lists.
    for nth in [1, 2] {
        let world = World::packed();
        let (bucket, inner) = memory("pack-fails");
        first_tree(&world);
        world.synced(&inner).await;
        copy_tree(&world.source(), &world.path("first"));
        second_tree(&world);
        let (script, backend) = faulty(&inner);
        script.script().fail_verb("put", nth, ErrorKind::Full);
        assert_eq!(world.sync(&backend).await.exit, 1);
        let calls = script.calls();
        let puts: Vec<_> = calls.iter().filter(|call| call.verb == "put").collect();
        assert!(puts.len() == nth as usize && puts.iter().all(|call| call.key.starts_with(PACKS)), "{calls:#?}");
        assert!(!bucket.keys().iter().any(|key| key.starts_with(".offsite/snapshots/000000000002")));
        comes_back_at(&world, &world.elsewhere("other"), &inner, 1, &world.path("first"), "after the failure").await;
        world.synced(&inner).await;
        world.comes_back(&inner).await;
        exact(&Objects::of(&inner).await, "after the next run");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_have_the_hash_of_their_bytes_and_are_written_once() {
    let world = World::packed();
    let (bucket, inner) = memory("once");
    let (script, backend) = faulty(&inner);
    for state in 0..4 {
        world.write("f", &noise(state, 5_000));
        // The same contents again, some time later.
        world.write("again", &noise(state % 2, 5_000));
        world.synced(&backend).await;
    }
    let calls = writes(&script.calls());
    let keys: Vec<_> = calls.iter().filter(|call| call.key.starts_with(PACKS)).map(|call| (call.verb, call.key.clone())).collect();
    let names: BTreeSet<_> = keys.iter().map(|(_, key)| key).collect();
    assert!(names.len() == keys.len() && keys.iter().all(|(verb, _)| *verb == "put"), "{keys:#?}");
    assert!(bucket.keys().iter().filter(|key| key.starts_with(PACKS)).all(|key| bucket.version_count(key) == 1));
    exact(&Objects::of(&inner).await, "four runs");
}

/// After every single call, each snapshot that is there finds all that it names.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_names_what_is_not_there() {
    let world = World::packed();
    let (bucket, inner) = memory("named");
    first_tree(&world);
    world.synced(&inner).await;
    second_tree(&world);
    let (script, backend) = faulty(&inner);
    script.script().delay(Duration::from_millis(60));
    let run = async {
        let outcome = world.synced(&backend).await;
        (outcome, script.count())
    };
    let look = async {
        let mut seen = BTreeSet::new();
        while !bucket.keys().iter().any(|key| key.ends_with("000000000002.json")) {
            tokio::time::sleep(Duration::from_millis(3)).await;
            if seen.insert(script.count()) {
                Objects::of(&inner).await.nothing_is_missing(&format!("after call {}", script.count()));
            }
        }
        seen.len()
    };
    let ((_, calls), looks) = tokio::join!(run, look);
    assert!(looks > 4 && calls >= 8, "{looks} {calls}");
    exact(&Objects::of(&inner).await, "in the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_go_after_the_snapshots_that_named_them() {
    let world = World::packed();
    let (_, inner) = memory("pruned");
    for state in 0..3 {
        world.write("f", &noise(state, 5_000));
        world.synced(&inner).await;
    }
    let (script, backend) = faulty(&inner);
    assert_eq!(prune(&world, &backend, &last(1)).await.unwrap().removed, [1, 2]);
    let calls = script.calls();
    let snapshots = last_call(&calls, "delete", SNAPSHOTS);
    assert!(last_call(&calls, "get", LEASE) < at(&calls, "delete", SNAPSHOTS));
    assert!(snapshots < at(&calls, "delete", PACKS) && snapshots < at(&calls, "delete", PAGES), "{calls:#?}");
    exact(&Objects::of(&inner).await, "after the prune");
    world.comes_back(&inner).await;
}

async fn sync_as(world: &World, machine: &Machine, source: &str, backend: &Arc<dyn Backend>) -> Outcome {
    let opened = vec![(String::new(), Ok(Arc::clone(backend)))];
    engine::sync_over(machine, &world.path(source), opened, &world.options, &RunControl::new(1)).await.destinations.remove(0)
}

/// Stopped before each of its writes for longer than its lease lives, while another machine commits: it adds packs, and
/// changes and deletes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_leaves_packs_and_nothing_else() {
    let told = async || {
        let world = World::packed();
        let (bucket, inner) = memory("lost");
        first_tree(&world);
        world.synced(&inner).await;
        copy_tree(&world.source(), &world.path("other"));
        std::fs::write(world.path("other/of the other"), noise(5, 4_000)).unwrap();
        second_tree(&world);
        (world, bucket, inner)
    };
    let (world, _, inner) = told().await;
    let (script, backend) = faulty(&inner);
    world.synced(&backend).await;
    let calls = script.calls();
    let lease = at(&calls, "create", LEASE);
    // Before the snapshot is committed, whatever comes is a write without the lease.
    for n in lease + 2..=at(&calls, "create", SNAPSHOTS) + 1 {
        let (world, bucket, inner) = told().await;
        let (script, backend) = faulty(&inner);
        script.script().pause_at(n as u64);
        let there = || -> BTreeMap<String, Vec<u8>> {
            bucket.keys().into_iter().filter(|key| key != LEASE).map(|key| (key.clone(), bucket.content(&key).unwrap().to_vec())).collect()
        };
        let meanwhile = async {
            while !script.script().is_paused() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            bucket.set_clock_offset(TimeDelta::from_std(STOPPED).unwrap());
            let other = sync_as(&world, &world.elsewhere("elsewhere"), "other", &inner).await;
            assert_eq!((other.exit, other.snapshot), (0, Some(2)), "call {n}: {other:?}");
            let before = there();
            script.script().sleep(STOPPED).go_on();
            before
        };
        let (loser, before) = tokio::join!(world.sync(&backend), meanwhile);
        assert_ne!(loser.exit, 0, "call {n}: {loser:?}");
        let after = there();
        for (key, content) in &before {
            assert!(after.get(key) == Some(content), "call {n}: {key} was changed or deleted");
        }
        let more: Vec<_> = after.keys().filter(|key| !before.contains_key(*key)).collect();
        assert!(more.iter().all(|key| key.starts_with(PACKS)), "call {n}: {more:?}");
        comes_back_at(&world, &world.elsewhere("third"), &inner, 2, &world.path("other"), &format!("call {n}")).await;
        // The machine that lost it clears up behind itself.
        let again = world.sync(&inner).await;
        assert_eq!(again.exit, 0, "call {n}: {again:?}");
        world.comes_back(&inner).await;
        exact(&Objects::of(&inner).await, &format!("call {n}"));
    }
}
