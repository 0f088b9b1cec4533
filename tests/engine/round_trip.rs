//! What goes in comes out, whatever changed in between.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use offsite::engine::PullOptions;
use offsite::model::Counts;

use crate::harness::*;

fn busy_tree(world: &World) {
    world.write("a.txt", b"one");
    world.write("a/b.txt", b"two");
    world.write("a-b/c", b"three");
    world.write("deep/er/and/deeper/file", &vec![7; 100_000]);
    world.write("empty file", b"");
    fs::create_dir_all(world.source().join("empty/dir")).unwrap();
    symlink("../a.txt", world.source().join("a/link")).unwrap();
    symlink("nowhere", world.source().join("dangling")).unwrap();
    world.write("secret", b"s");
    fs::set_permissions(world.source().join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    world.write("run.sh", b"#!/bin/sh");
    fs::set_permissions(world.source().join("run.sh"), fs::Permissions::from_mode(0o4755)).unwrap();
}

async fn whole_story(world: World, backend: std::sync::Arc<dyn offsite_backends::Backend>) {
    busy_tree(&world);
    let first = world.synced(&backend).await;
    assert_eq!((first.snapshot, first.base), (Some(1), None));
    assert_eq!(first.changes, Counts { added: 17, ..Counts::default() });
    world.comes_back(&backend).await;

    let again = world.synced(&backend).await;
    assert_eq!((again.snapshot, again.changes.unchanged, again.bytes.sent), (Some(2), 17, 0));

    world.write("a/b.txt", b"two, but longer");
    world.write("same", b"new");
    world.remove("empty file");
    fs::remove_file(world.source().join("dangling")).unwrap();
    fs::set_permissions(world.source().join("secret"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::rename(world.source().join("deep"), world.source().join("moved")).unwrap();
    let third = world.synced(&backend).await;
    assert_eq!(third.changes.renamed, 1, "{:?}", third.changes);
    // `a/b.txt`; the three directories `deep/…` are new ones under another name.
    assert_eq!((third.changes.changed, third.changes.added, third.changes.removed), (1, 5, 6), "{:?}", third.changes);
    assert!(third.bytes.sent < if sealed() { 300 } else { 100 }, "{:?}", third.bytes);
    world.comes_back(&backend).await;

    let fourth = world.synced(&backend).await;
    assert_eq!((fourth.changes.any(), fourth.snapshot), (false, Some(4)));
}

#[tokio::test(flavor = "multi_thread")]
async fn to_an_object_store_and_back() {
    whole_story(World::new(), memory("story").1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_directory_and_back() {
    let world = World::new();
    let backend = world.file("destination");
    whole_story(world, backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_destination_is_a_real_tree() {
    let world = World::new();
    busy_tree(&world);
    let backend = world.file("destination");
    world.synced(&backend).await;
    same_trees(&world.source(), &world.path("destination"));
    world.write("a/b.txt", b"changed");
    world.remove("a.txt");
    world.synced(&backend).await;
    same_trees(&world.source(), &world.path("destination"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_with_the_mtime_put_back_is_noticed() {
    let world = World::new();
    let (_, backend) = memory("sneaky");
    world.write("f", b"before");
    world.synced(&backend).await;
    let mtime = fs::metadata(world.source().join("f")).unwrap().modified().unwrap();
    world.write("f", b"after!");
    fs::File::options().write(true).open(world.source().join("f")).unwrap().set_modified(mtime).unwrap();
    assert_eq!(world.synced(&backend).await.changes.changed, 1);
    world.comes_back(&backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_touched_file_is_metadata_and_sends_nothing() {
    let world = World::new();
    let (_, backend) = memory("touch");
    world.write("f", b"before");
    world.write("g", b"stays");
    world.synced(&backend).await;
    fs::File::options().write(true).open(world.source().join("f")).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let outcome = world.synced(&backend).await;
    assert_eq!((outcome.changes.metadata, outcome.changes.changed, outcome.bytes.sent), (1, 0, 0));
    world.comes_back(&backend).await;
    assert!(!world.synced(&backend).await.changes.any());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_goes_in_parts_and_comes_back() {
    let world = World::new();
    let (_, backend) = memory("large");
    let content: Vec<u8> = (0..5_000_000u32).flat_map(u32::to_le_bytes).collect();
    world.write("big", &content);
    let outcome = world.synced(&backend).await;
    assert_eq!((outcome.requests.multipart, outcome.bytes.sent), (5, 20_000_000));
    world.comes_back(&backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_fetches_only_what_differs_and_deletes_only_when_asked() {
    let world = World::new();
    let (_, backend) = memory("differs");
    for i in 0..50 {
        world.write(&format!("d/{i}"), format!("content {i}").as_bytes());
    }
    world.synced(&backend).await;
    world.pull(&backend, "target", &PullOptions::default()).await.unwrap();
    fs::write(world.path("target/d/7"), b"spoilt").unwrap();
    fs::remove_file(world.path("target/d/9")).unwrap();
    fs::write(world.path("target/extra"), b"mine").unwrap();
    let pulled = world.pull(&backend, "target", &PullOptions::default()).await.unwrap();
    assert_eq!((pulled.files, pulled.changes.removed), (2, 0));
    assert!(world.path("target/extra").exists());
    let options = PullOptions { delete: true, ..PullOptions::default() };
    let pulled = world.pull(&backend, "target", &options).await.unwrap();
    assert_eq!((pulled.files, pulled.changes.removed), (0, 1));
    same_trees(&world.source(), &world.path("target"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_links_xattrs_and_holes_come_back() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    let (_, backend) = memory("links");
    world.write("one", b"linked");
    fs::hard_link(world.source().join("one"), world.source().join("two")).unwrap();
    let sparse = fs::File::create(world.source().join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    let attributes = rustix::fs::setxattr(world.source().join("one"), "user.note", b"\0\xff", rustix::fs::XattrFlags::empty());
    world.synced(&backend).await;
    world.pull(&backend, "target", &PullOptions::default()).await.unwrap();
    same_trees(&world.source(), &world.path("target"));
    let ino = |name: &str| fs::metadata(world.path("target").join(name)).unwrap().ino();
    assert_eq!(ino("one"), ino("two"));
    assert!(fs::metadata(world.path("target/sparse")).unwrap().blocks() < 100);
    if attributes.is_ok() {
        let mut value = [0; 8];
        let n = rustix::fs::getxattr(world.path("target/one"), "user.note", &mut value[..]).unwrap();
        assert_eq!(&value[..n], b"\0\xff");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_cache_is_rebuilt_and_nothing_is_sent_again() {
    let world = World::new();
    let (_, backend) = memory("cacheless");
    for i in 0..20 {
        world.write(&format!("{i}"), b"x");
    }
    world.synced(&backend).await;
    fs::remove_dir_all(world.path("cache")).unwrap();
    let outcome = world.synced(&backend).await;
    assert_eq!((outcome.changes.unchanged, outcome.bytes.sent, outcome.snapshot), (20, 0, Some(2)));
}
