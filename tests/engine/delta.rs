//! Block delta: of a large file that changed, only the changed blocks are sent, and what arrives is right in any case.

use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use offsite::engine::{self, RepairOptions, RunControl};
use offsite_backends::testing::MemoryBackend;
use offsite_backends::{Backend, ErrorKind};

use super::harness::{World, faulty, memory};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 72 * MIB;

/// Bytes of which no two blocks are alike.
fn bytes(size: u64) -> Vec<u8> {
    (0..size / 8).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect()
}

fn patch(world: &World, at: u64) {
    let file = fs::File::options().write(true).open(world.source().join("disk.img")).unwrap();
    file.write_all_at(&[7; 4096], at).unwrap();
}

/// A world whose large file has arrived.
async fn begun(name: &str) -> (World, MemoryBackend, Arc<dyn Backend>) {
    let world = World::new();
    let (bucket, backend) = memory(name);
    world.write("disk.img", &bytes(SIZE));
    world.write("small", b"small");
    let first = world.synced(&backend).await;
    assert_eq!((first.bytes.sent, first.bytes.copied), (SIZE + 5, 0));
    (world, bucket, backend)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_changed_blocks_are_sent() {
    let (world, _, backend) = begun("delta").await;
    patch(&world, 20 * MIB);
    let wire = backend.meter().sent();
    let done = world.synced(&backend).await;
    assert_eq!((done.bytes.sent, done.bytes.copied), (8 * MIB, 64 * MIB));
    assert!(backend.meter().sent() - wire < 9 * MIB, "the wire had more");
    world.comes_back(&backend).await;
    // The new blocks are known in turn, under whatever name.
    fs::rename(world.source().join("disk.img"), world.source().join("moved.img")).unwrap();
    world.synced(&backend).await;
    fs::rename(world.source().join("moved.img"), world.source().join("disk.img")).unwrap();
    world.synced(&backend).await;
    patch(&world, 21 * MIB);
    patch(&world, 71 * MIB);
    let done = world.synced(&backend).await;
    assert_eq!((done.bytes.sent, done.bytes.copied), (16 * MIB, 56 * MIB));
    world.comes_back(&backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_grew_or_shrank_sends_its_end() {
    let (world, _, backend) = begun("ends").await;
    let file = fs::File::options().write(true).open(world.source().join("disk.img")).unwrap();
    file.write_all_at(&[1; 4096], SIZE).unwrap();
    let done = world.synced(&backend).await;
    assert_eq!((done.bytes.sent, done.bytes.copied), (4096, SIZE));
    world.comes_back(&backend).await;
    file.set_len(66 * MIB).unwrap();
    let done = world.synced(&backend).await;
    assert_eq!((done.bytes.sent, done.bytes.copied), (2 * MIB, 64 * MIB));
    world.comes_back(&backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_cache_it_is_sent_whole_once() {
    let (world, _, backend) = begun("forgotten").await;
    for dir in fs::read_dir(world.path("cache")).unwrap() {
        fs::remove_dir_all(dir.unwrap().path().join("blocks")).unwrap();
    }
    patch(&world, 20 * MIB);
    assert_eq!(world.synced(&backend).await.bytes.sent, SIZE);
    patch(&world, 30 * MIB);
    assert_eq!(world.synced(&backend).await.bytes.sent, 8 * MIB);
    world.comes_back(&backend).await;
}

/// Another program has replaced the object: its blocks are not the ones that this machine knows.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_another_object_are_not_taken() {
    let (world, bucket, backend) = begun("replaced").await;
    bucket.plant("disk.img", vec![9; usize::try_from(SIZE).unwrap()]);
    patch(&world, 20 * MIB);
    let done = world.sync(&backend).await;
    assert_eq!((done.exit, done.bytes.sent, done.bytes.copied), (0, SIZE, 0), "{done:?}");
    world.comes_back(&backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_refuses_to_copy_is_sent() {
    let (world, _, inner) = begun("refused").await;
    for (kind, at) in [(ErrorKind::Unsupported, 20), (ErrorKind::Denied, 30), (ErrorKind::Transient, 40)] {
        let (script, backend) = faulty(&inner);
        for nth in 1..=9 {
            script.script().fail_verb("copy_part", nth, kind);
        }
        patch(&world, at * MIB);
        let done = world.synced(&backend).await;
        assert_eq!((done.bytes.sent, done.bytes.copied), (SIZE, 0), "{kind:?}");
        world.comes_back(&backend).await;
    }
}

/// A run that is killed at any call, also amid the copies, leaves what the next one completes.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_goes_on() {
    let (world, bucket, inner) = begun("killed").await;
    for round in 0_u64.. {
        patch(&world, (round * 11 % 72) * MIB);
        let (script, backend) = faulty(&inner);
        script.script().stop_at(round * 3 + 4);
        let ended = world.sync(&backend).await.exit == 0;
        world.synced(&inner).await;
        assert_eq!(bucket.unfinished_uploads(), 0, "round {round}");
        world.comes_back(&inner).await;
        if ended {
            assert!(round > 4, "it was cut off {round} times only");
            return;
        }
    }
}

/// A repair sends what is missing, and takes no block from the object that it repairs.
#[tokio::test(flavor = "multi_thread")]
async fn a_repair_copies_nothing() {
    let (world, bucket, backend) = begun("repaired").await;
    let mut wrong = bytes(SIZE);
    wrong[40 << 20] ^= 1;
    bucket.plant("disk.img", wrong);
    let options = RepairOptions { read_data: Some(1.0), ..RepairOptions::default() };
    let done = engine::repair_over(&world.machine, &world.source(), Arc::clone(&backend), &options, &RunControl::new(1)).await.unwrap();
    assert_eq!((done.repaired, done.sent), (1, SIZE), "{done:?}");
    world.comes_back(&backend).await;
}

/// The hashes of a removed file do not stay for ever.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_removed_files_are_forgotten() {
    let (world, _, backend) = begun("removed").await;
    let cache = fs::read_dir(world.path("cache")).unwrap().next().unwrap().unwrap().path();
    let noted = || fs::read_dir(cache.join("blocks")).unwrap().count();
    world.write("small", b"other");
    world.synced(&backend).await;
    assert_eq!(noted(), 1, "a file that is there is remembered");
    world.remove("disk.img");
    world.synced(&backend).await;
    assert_eq!(noted(), 0);
}
