//! Files that are made while they are sent: whole or not at all, and the last good one stays.

use std::sync::Arc;

use bytes::Bytes;
use offsite::engine::{self, Outcome, PullOptions};
use offsite::model::{RelPath, Sample};
use offsite::transfer::{Dump, DumpChunk, Source, Stop};
use offsite_backends::testing::MemoryOptions;
use offsite_backends::{Backend, ErrorKind};
use tokio::sync::mpsc::Sender;

use crate::harness::*;

/// So many bytes of one value, and then the word that it is whole, or why not.
#[derive(Debug)]
pub struct Made(pub u8, pub usize, pub Result<(), String>);

impl Source for Made {
    fn start(&self, to: Vec<Sender<DumpChunk>>, _: Arc<Stop>) {
        let (value, size, end) = (self.0, self.1, self.2.clone());
        tokio::spawn(async move {
            let mut left = size;
            while left > 0 {
                let block = left.min(1 << 20);
                for to in &to {
                    let _ = to.send(DumpChunk::Block(Bytes::from(vec![value; block]))).await;
                }
                left -= block;
            }
            for to in &to {
                let _ = to.send(DumpChunk::End(end.clone())).await;
            }
        });
    }
}

pub fn dump(made: impl Source + 'static) -> Dump {
    Dump { path: RelPath::from("db.sql"), source: Arc::new(made), min_size: 1, max_shrink: Some(0.5) }
}

fn world(made: Made) -> World {
    let mut world = World::new();
    world.write("a", b"before it");
    world.write("z", b"behind it");
    world.options.dumps = vec![dump(made)];
    world
}

async fn dumped(world: &mut World, backend: &Arc<dyn Backend>, made: Made) -> Outcome {
    world.options.dumps = vec![dump(made)];
    world.sync(backend).await
}

async fn holds(world: &World, backend: &Arc<dyn Backend>, at: &str, value: u8, size: usize, about: &str) {
    let target = format!("back-{:x}", std::fs::read_dir(world.dir.path()).unwrap().count());
    let options = PullOptions { at: Some(at.into()), ..PullOptions::default() };
    let pulled = world.pull(backend, &target, &options).await.unwrap();
    assert_eq!(pulled.problems, Sample::default(), "{about}");
    let there = std::fs::read(world.path(&target).join("db.sql")).unwrap();
    assert!(there.len() == size && there.iter().all(|byte| *byte == value), "{about}: {} bytes of {:?}", there.len(), there.first());
    assert_eq!(std::fs::read(world.path(&target).join("z")).unwrap(), b"behind it", "{about}");
}

fn places(world: &World) -> [(&'static str, Arc<dyn Backend>); 3] {
    let versioned = MemoryOptions { versions: true, ..MemoryOptions::default() };
    [("directory", world.file("destination")), ("bucket", memory("dumps").1), ("versions", memory_with("dumps-v", versioned).1)]
}

#[tokio::test(flavor = "multi_thread")]
async fn small_and_large_ones_come_back_and_so_does_what_they_replaced() {
    let mut world = world(Made(1, 0, Ok(())));
    for (place, backend) in places(&world) {
        for (number, value, size) in [(1, b'a', 1000), (2, b'b', 40 << 20), (3, b'c', 30 << 20)] {
            let outcome = dumped(&mut world, &backend, Made(value, size, Ok(()))).await;
            assert_eq!((outcome.exit, outcome.snapshot, outcome.dumps[0].bytes), (0, Some(number), size as u64), "{place}: {outcome:?}");
        }
        for (number, value, size) in [("1", b'a', 1000), ("2", b'b', 40 << 20), ("3", b'c', 30 << 20)] {
            holds(&world, &backend, number, value, size, place).await;
        }
        // Without the dump it is a file that is no longer in the source.
        world.options.dumps.clear();
        let outcome = world.synced(&backend).await;
        assert_eq!((outcome.changes.removed, outcome.changes.unchanged), (1, 2), "{place}");
        world.comes_back(&backend).await;
        world.options.dumps = vec![dump(Made(1, 0, Ok(())))];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_whole_is_not_taken_and_the_last_good_one_stays() {
    let mut world = world(Made(1, 0, Ok(())));
    for (place, backend) in places(&world) {
        assert_eq!(dumped(&mut world, &backend, Made(b'a', 20 << 20, Ok(()))).await.exit, 0);
        let bad = [
            (Made(b'x', 30 << 20, Err("it died".into())), "it died"),
            (Made(b'x', 100, Err("it died".into())), "it died"),
            (Made(b'x', 0, Ok(())), "min_size"),
            (Made(b'x', 9 << 20, Ok(())), "max_shrink"),
        ];
        for (number, (made, why)) in bad.into_iter().enumerate() {
            // A snapshot is made where something else has changed, and only there.
            let other = number % 2 == 1;
            if other {
                world.write("other", format!("{place} {number}").as_bytes());
            }
            let outcome = dumped(&mut world, &backend, made).await;
            assert!(outcome.exit == 1 && outcome.snapshot.is_some() == other, "{place}: {outcome:?}");
            assert_eq!(outcome.changes.any(), other, "{place}: {outcome:?}");
            assert!(outcome.error.as_ref().unwrap().contains(why) && outcome.dumps[0].error.is_some(), "{place}: {outcome:?}");
            holds(&world, &backend, &outcome.snapshot.or(outcome.base).unwrap().to_string(), b'a', 20 << 20, place).await;
        }
        let report = opened(&backend, &world.machine).await.unwrap();
        let check =
            engine::check_over(report, &world.machine, &engine::CheckOptions::default(), &engine::RunControl::new(1)).await.unwrap();
        assert_eq!((check.exit, check.foreign), (0, 0), "{place}: {check:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dump_feeds_all_destinations_and_one_that_fails_holds_nobody_up() {
    let world = world(Made(b'a', 50 << 20, Ok(())));
    let (bad, broken) = faulty(&memory("broken").1);
    bad.script().fail_verb(either("put_part", "put"), 1, ErrorKind::Denied);
    let good = [world.file("destination"), memory("good").1];
    let outcome = world.sync_to(vec![Arc::clone(&good[0]), broken, Arc::clone(&good[1])]).await;
    let exits: Vec<u8> = outcome.destinations.iter().map(|o| o.exit).collect();
    assert_eq!(exits, [0, 1, 0], "{outcome:?}");
    for backend in &good {
        holds(&world, backend, "1", b'a', 50 << 20, "one of three").await;
    }
}

/// As if the program had been killed at each call: the last snapshot is whole, and the next run makes it right.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_of_a_run_with_a_dump() {
    for directory in [false, true] {
        let mut n = 1;
        loop {
            let mut world = world(Made(b'a', 1000, Ok(())));
            let plain = if directory { world.file("destination") } else { memory("killed").1 };
            assert_eq!(world.sync(&plain).await.exit, 0);
            let (script, backend) = faulty(&plain);
            script.script().stop_at(n);
            let outcome = dumped(&mut world, &backend, Made(b'b', 17 << 20, Ok(()))).await;
            let (value, size) = if outcome.snapshot.is_some() { (b'b', 17 << 20) } else { (b'a', 1000) };
            let about = format!("killed at call {n}, directory: {directory}");
            if outcome.snapshot.is_none() {
                let elsewhere = World { machine: world.elsewhere("elsewhere"), ..World::new() };
                holds(&elsewhere, &plain, "1", value, size, &about).await;
            }
            let again = dumped(&mut world, &plain, Made(b'c', 2000, Ok(()))).await;
            let shrunk = outcome.snapshot.is_some();
            assert_eq!(again.exit, u8::from(shrunk), "{about}: {again:?}");
            if !shrunk {
                holds(&world, &plain, &again.snapshot.unwrap().to_string(), b'c', 2000, &about).await;
            }
            if !script.script().is_stopped() {
                break;
            }
            n += 1;
        }
        assert!(n > 5, "{n}");
    }
}
