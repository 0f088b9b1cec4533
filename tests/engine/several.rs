//! Several destinations: read once, judged and finished each for itself.

use offsite::model::Layout;
use offsite_backends::ErrorKind;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_source_is_read_once_for_three() {
    let world = World::new();
    for i in 0..300 {
        world.write(&format!("{:02}/{i}", i % 7), &vec![i as u8; 3000]);
    }
    world.write("big", &vec![9; 20 << 20]);
    let backends = vec![memory("a").1, memory("b").1, world.file("c")];
    let outcome = world.sync_to(backends.clone()).await;
    assert_eq!(outcome.exit, 0, "{outcome:?}");
    let size = 300 * 3000 + (20 << 20);
    assert_eq!(outcome.destinations[0].bytes.read, size);
    for (backend, outcome) in backends.iter().zip(&outcome.destinations) {
        let sent = outcome.bytes.sent;
        assert!(sent == size || sent < size && layout() == Layout::Packed, "{sent}");
        world.comes_back(backend).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_stops_no_other() {
    let world = World::new();
    for i in 0..50 {
        world.write(&format!("{i}"), b"x");
    }
    let good = memory("good").1;
    let (script, bad) = faulty(&memory("bad").1);
    script.script().fail_verb("put", either(20, 1), ErrorKind::Full);
    let outcome = world.sync_to(vec![bad.clone(), good.clone()]).await;
    assert_eq!((outcome.exit, outcome.destinations[0].exit, outcome.destinations[1].exit), (1, 1, 0));
    world.comes_back(&good).await;
    world.synced(&bad).await;
    world.comes_back(&bad).await;
}

/// A scan begins before the destinations are loaded. Those that cannot be loaded then change nothing for the others.
#[tokio::test(flavor = "multi_thread")]
async fn the_source_is_read_once_for_those_that_can_be_loaded() {
    let world = World::new();
    world.write("big", &vec![1; 9 << 20]);
    let mut backends: Vec<_> = ["a", "b", "c", "d"].map(|name| memory(name).1).into();
    assert_eq!(world.sync_to(backends.clone()).await.exit, 0);
    world.write("big", &vec![2; 9 << 20]);
    // Only the last two need the new content.
    assert_eq!(world.sync_to(backends[..2].to_vec()).await.exit, 0);
    for backend in &mut backends[..2] {
        let (script, faulty) = faulty(backend);
        script.script().fail_at(1, ErrorKind::Denied);
        *backend = faulty;
    }
    let outcome = world.sync_to(backends.clone()).await;
    assert_eq!(outcome.destinations.iter().map(|d| d.exit).collect::<Vec<_>>(), [1, 1, 0, 0], "{outcome:?}");
    assert_eq!(outcome.destinations[2].bytes.read, 9 << 20);
    world.comes_back(&backends[3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_refuses_more_destinations_than_it_can_tell_apart() {
    let world = World::new();
    world.write("file", b"content");
    let backends: Vec<_> = (0..66).map(|n| memory(&format!("n{n}")).1).collect();
    let outcome = world.sync_to(backends.clone()).await;
    assert_eq!(outcome.destinations.iter().map(|d| d.exit).collect::<Vec<_>>(), [vec![0; 64], vec![2; 2]].concat());
    world.comes_back(&backends[63]).await;
}
