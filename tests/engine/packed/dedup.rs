//! Each content is stored once, and whatever a file is, it comes back.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::Arc;

use offsite::engine::{Outcome, PullOptions};
use offsite_backends::Backend;
use proptest::prelude::Strategy;

use super::objects::Objects;
use super::{exact, many_pieces, noise};
use crate::harness::*;

async fn sent(world: &World, backend: &Arc<dyn Backend>) -> u64 {
    let before = Objects::of(backend).await.pack_bytes();
    let outcome: Outcome = world.synced(backend).await;
    let after = Objects::of(backend).await;
    exact(&after, "after a run");
    assert_eq!(outcome.bytes.sent, after.pack_bytes() - before, "what it says that it sent is what is there");
    world.comes_back(backend).await;
    outcome.bytes.sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_is_stored_once() {
    let world = World::packed();
    let (_, backend) = memory("once");
    for name in ["one", "two", "deep/er/three"] {
        world.write(name, &noise(1, 100_000));
        world.write(&format!("{name}.listed"), &many_pieces(1, 34));
    }
    let once = 100_000 + 34 * (150 << 10);
    let first = sent(&world, &backend).await;
    assert!((once - (2 << 20)..once + 20_000).contains(&first), "{first} bytes for {once}");
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_and_copied_files_send_nothing() {
    let world = World::packed();
    let (_, backend) = memory("moved");
    for i in 0..20 {
        world.write(&format!("dir/{i}"), &noise(i, 10_000));
    }
    world.write("dir/several", &many_pieces(1, 5));
    world.write("dir/listed", &many_pieces(2, 34));
    sent(&world, &backend).await;
    super::copy_tree(&world.source().join("dir"), &world.source().join("copy"));
    assert_eq!(sent(&world, &backend).await, 0, "copies");
    fs::rename(world.source().join("dir"), world.source().join("moved")).unwrap();
    assert_eq!(sent(&world, &backend).await, 0, "moved files");
    fs::remove_dir_all(world.source().join("moved")).unwrap();
    assert_eq!(sent(&world, &backend).await, 0, "removed files");
    // Contents that the newest snapshot does not name are sent again: retention may be about to delete them.
    fs::rename(world.source().join("copy/3"), world.path("three")).unwrap();
    assert_eq!(sent(&world, &backend).await, 0);
    fs::rename(world.path("three"), world.source().join("back")).unwrap();
    assert_eq!(sent(&world, &backend).await, 0, "a pack that something else keeps alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn four_kib_in_a_large_file_send_no_more_than_3_mib() {
    let world = World::packed();
    let (_, backend) = memory("edited");
    let mut content = noise(1, 64 << 20);
    world.write("big", &content);
    world.synced(&backend).await;
    for (number, at) in [(2, 0), (3, 30 << 20), (4, (64 << 20) - 4096)] {
        content[at..at + 4096].copy_from_slice(&noise(number, 4096));
        world.write("big", &content);
        let outcome = world.synced(&backend).await;
        assert!(outcome.bytes.sent <= 3 << 20, "{:?}", outcome.bytes);
    }
    // Inserted bytes move everything behind them, and are cut out again.
    content.splice(20 << 20..20 << 20, noise(5, 1000));
    world.write("big", &content);
    let outcome = world.synced(&backend).await;
    assert!(outcome.bytes.sent <= 3 << 20, "{:?}", outcome.bytes);
    world.comes_back(&backend).await;
    exact(&Objects::of(&backend).await, "four edits");
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_around_every_limit_come_back() {
    let world = World::packed();
    let (_, backend) = memory("lengths");
    let limits = [0, 1, 64, 128 << 10, 512 << 10, 2 << 20, 8 << 20];
    for (number, limit) in limits.into_iter().enumerate() {
        for length in [limit.max(1) - 1, limit, limit + 1] {
            world.write(&format!("noise-{length}"), &noise(number as u64, length));
            world.write(&format!("zeros-{length}"), &vec![0; length]);
        }
    }
    for count in [31, 32, 33] {
        world.write(&format!("pieces-{count}"), &many_pieces(count as u64, count));
    }
    sent(&world, &backend).await;
    let objects = Objects::of(&backend).await;
    let entries = objects.entries(1);
    let content = |path: &str| &entries.iter().find(|entry| entry["path"] == path).unwrap()["content"];
    assert_eq!(content("pieces-32")["pieces"].as_array().map(Vec::len), Some(32));
    assert_eq!(content("pieces-33")["lists"].as_array().map(Vec::len), Some(1));
    assert!(content("noise-524288")["at"].is_object() && content("noise-524289")["pieces"].is_array());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_file_comes_back() {
    for directory in [false, true] {
        let world = World::packed();
        let backend = if directory { world.file("packed") } else { memory("kinds").1 };
        for name in ["-before", "zz\ncontrol", ".offsite-not", "a/b", "a-b", "a.b", "ä", " space ", "con", "a\\b", "x\"y"] {
            world.write(name, name.as_bytes());
        }
        world.write("empty", b"");
        world.write("one", b"linked");
        fs::hard_link(world.source().join("one"), world.source().join("two")).unwrap();
        fs::File::create(world.source().join("sparse")).unwrap().set_len(20 << 20).unwrap();
        symlink("nowhere", world.source().join("dangling")).unwrap();
        fs::create_dir_all(world.source().join("hollow/inner")).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        let attributes = rustix::fs::setxattr(world.source().join("one"), "user.note", b"\0\xff", flags);
        world.synced(&backend).await;
        world.pull(&backend, "target", &PullOptions::default()).await.unwrap();
        same_trees(&world.source(), &world.path("target"));
        let meta = |name: &str| fs::metadata(world.path("target").join(name)).unwrap();
        assert_eq!(meta("one").ino(), meta("two").ino());
        assert!(meta("sparse").blocks() < 100, "{}", meta("sparse").blocks());
        if attributes.is_ok() {
            let mut value = [0; 8];
            let n = rustix::fs::getxattr(world.path("target/one"), "user.note", &mut value[..]).unwrap();
            assert_eq!(&value[..n], b"\0\xff");
        }
        assert!(!world.synced(&backend).await.changes.any());
        // No name of the source is a name at the destination.
        if directory {
            let top: Vec<_> = fs::read_dir(world.path("packed")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(top, [".offsite"]);
        }
    }
}

/// Destinations of both layouts read each file once between them.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_and_a_packed_destination_share_one_read() {
    let mut world = World::new();
    for i in 0..100 {
        world.write(&format!("{:02}/{i}", i % 7), &noise(i, 3_000));
    }
    world.write("medium", &noise(500, 3 << 20));
    world.write("big", &noise(501, 20 << 20));
    let backends = vec![memory("mirror").1, memory("packed").1, world.file("tree"), world.file("packed-tree")];
    let packed = [1, 3].map(|index: usize| (backends[index].location().to_string(), offsite::model::Layout::Packed));
    world.options.layout = None;
    world.options.layouts = packed.into_iter().collect();
    let size = 100 * 3_000 + (23 << 20);
    for round in 0..2 {
        let outcome = world.sync_to(backends.clone()).await;
        assert_eq!(outcome.exit, 0, "{outcome:?}");
        let read = outcome.destinations[0].bytes.read;
        assert_eq!(read, if round == 0 { size } else { 20 << 20 }, "round {round}");
        for backend in &backends {
            world.comes_back(backend).await;
        }
        world.write("big", &noise(502, 20 << 20));
    }
    let objects = Objects::of(&backends[1]).await;
    assert!(!objects.packs().is_empty() && Objects::of(&backends[0]).await.packs().is_empty());
    exact(&objects, "beside a mirror");
}

/// Files of all lengths that share stretches are the same as ever after they come back.
#[test]
fn files_that_share_stretches_come_back() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let stretch = (0..6u64, 1..400_000usize).prop_map(|(number, length)| (number, length));
    let files = proptest::collection::vec(proptest::collection::vec(stretch, 0..8), 1..6);
    super::properties::each_case(6, files, |files| {
        runtime.block_on(async {
            let world = World::packed();
            let (_, backend) = memory("shared");
            for (index, stretches) in files.iter().enumerate() {
                let content: Vec<u8> = stretches.iter().flat_map(|(number, length)| noise(*number, *length)).collect();
                world.write(&format!("{index}"), &content);
            }
            sent(&world, &backend).await;
        });
    });
}
