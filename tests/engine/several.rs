//! Several destinations: read once, judged and finished each for itself.

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
        assert_eq!(outcome.bytes.sent, size);
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
    script.script().fail_verb("put", 20, ErrorKind::Full);
    let outcome = world.sync_to(vec![bad.clone(), good.clone()]).await;
    assert_eq!((outcome.exit, outcome.destinations[0].exit, outcome.destinations[1].exit), (1, 1, 0));
    world.comes_back(&good).await;
    world.synced(&bad).await;
    world.comes_back(&bad).await;
}
