//! Every name that Linux allows comes back, and a manifest cannot make a pull write elsewhere.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use offsite::engine::{self, PullOutcome};
use offsite_backends::Backend;
use offsite_backends::testing::MemoryOptions;

use crate::harness::*;

fn odd_names(world: &World) -> usize {
    let long = "l".repeat(255);
    let names: Vec<Vec<u8>> = [
        " lead",
        "trail ",
        "new\nline",
        "tab\t",
        "a#12",
        "100%",
        "%41",
        "a%2fb",
        "back\\slash",
        "q?",
        "star*",
        "'\"",
        "ä",
        "a\u{301}",
        "...",
        ".hidden",
        "a",
        "a-b",
        "con",
        "[x]{y}",
        "&<>;|",
        "~",
        "+",
        "=",
        ":",
        "\u{1}\u{7f}",
        "dot.",
        &long,
    ]
    .iter()
    .map(|s| s.as_bytes().to_vec())
    .chain([b"non-utf8-\xff\xfe".to_vec(), b"\x80".to_vec()])
    .collect();
    for name in &names {
        fs::write(world.source().join(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::create_dir_all(world.source().join("deep")).unwrap();
    let mut path = world.source().join("deep");
    for _ in 0..6 {
        path = path.join("d".repeat(200));
        fs::create_dir(&path).unwrap();
    }
    fs::write(path.join("over 1,024 bytes of key"), b"long").unwrap();
    world.write(".offsite/format.json", b"not ours");
    world.write(".offsite/sub/file", b"nor this");
    fs::create_dir(world.source().join(OsStr::from_bytes(b"dir\xff"))).unwrap();
    fs::write(world.source().join(OsStr::from_bytes(b"dir\xff/in\nside")), b"x").unwrap();
    names.len()
}

/// What lies in `.offsite` of the source is at the destination, and no pull makes a target out of it that the next pull
/// takes for a destination.
async fn own_names_stay_there(world: &World, backend: &Arc<dyn Backend>, pulled: &PullOutcome) {
    let refused: Vec<_> = pulled.problems.first().iter().map(|p| p.path.display()).collect();
    assert_eq!((pulled.exit, refused), (3, vec![".offsite/format.json".into(), ".offsite/sub/file".into()]));
    assert!(!world.path("back/.offsite").exists());
    assert_eq!(world.pull(backend, "back", &Default::default()).await.unwrap().exit, 3);
    for name in [".offsite/format.json", ".offsite/sub/file"] {
        let mut content = Vec::new();
        let records = opened(backend, &world.machine).await.unwrap().records;
        engine::cat_over(&records, name, None, &mut content).await.unwrap();
        assert_eq!(content, fs::read(world.source().join(name)).unwrap());
    }
}

async fn all_come_back(world: &World, backend: &Arc<dyn Backend>) {
    odd_names(world);
    world.synced(backend).await;
    let pulled = world.pull(backend, "back", &Default::default()).await.unwrap();
    same_trees(&world.source(), &world.path("back"));
    own_names_stay_there(world, backend, &pulled).await;
    assert!(!world.synced(backend).await.changes.any());
    fs::remove_dir_all(world.source().join(".offsite")).unwrap();
    // `a` becomes a directory beside `a-b`, and back again.
    world.remove("a");
    world.write("a/b", b"now a directory");
    world.synced(backend).await;
    world.comes_back(backend).await;
    fs::remove_dir_all(world.source().join("a")).unwrap();
    world.write("a", b"a file again");
    world.synced(backend).await;
    world.comes_back(backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_object_store() {
    let world = World::new();
    let (bucket, backend) = memory("names");
    all_come_back(&world, &backend).await;
    // Plain names are their own keys.
    for key in [" lead", "trail ", "a#12", "100%", "%41", "a%2fb", "back\\slash", "q?", "star*", "'\"", "ä", "...", "&<>;|"] {
        assert_eq!(bucket.content(key).as_deref(), Some(key.as_bytes()), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_store_that_changes_keys_and_lists_in_disorder() {
    let world = World::new();
    let options = MemoryOptions { change_keys: true, unordered_listing: true, ..MemoryOptions::default() };
    let (bucket, backend) = memory_with("changes", options);
    all_come_back(&world, &backend).await;
    assert_eq!(bucket.content("back/slash"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_directory() {
    let world = World::new();
    let backend = world.file("destination");
    all_come_back(&world, &backend).await;
}

/// Symlinks that stand in the target are replaced or reported, never written through.
#[tokio::test(flavor = "multi_thread")]
async fn a_symlink_in_the_target_is_not_followed() {
    let world = World::new();
    let (_, backend) = memory("escape");
    world.write("dir/file", b"ours");
    world.write("plain", b"ours too");
    world.synced(&backend).await;
    fs::create_dir_all(world.path("outside")).unwrap();
    fs::write(world.path("outside/file"), b"precious").unwrap();
    fs::write(world.path("outside-file"), b"precious").unwrap();
    fs::create_dir_all(world.path("target")).unwrap();
    std::os::unix::fs::symlink(world.path("outside"), world.path("target/dir")).unwrap();
    std::os::unix::fs::symlink(world.path("outside-file"), world.path("target/plain")).unwrap();
    let pulled = world.pull(&backend, "target", &Default::default()).await.unwrap();
    assert_eq!(fs::read(world.path("outside/file")).unwrap(), b"precious");
    assert_eq!(fs::read(world.path("outside-file")).unwrap(), b"precious");
    assert_eq!(fs::read(world.path("target/plain")).unwrap(), b"ours too");
    assert!(!fs::symlink_metadata(world.path("target/plain")).unwrap().is_symlink());
    assert_eq!(pulled.exit, 3, "{pulled:?}");
}

/// A symlink that the same pull makes is not written through either.
#[tokio::test(flavor = "multi_thread")]
async fn a_symlink_of_the_snapshot_is_not_followed() {
    let world = World::new();
    let (_, backend) = memory("link-first");
    fs::create_dir_all(world.path("outside")).unwrap();
    std::os::unix::fs::symlink(world.path("outside"), world.source().join("dir")).unwrap();
    world.synced(&backend).await;
    world.pull(&backend, "target", &Default::default()).await.unwrap();
    fs::remove_file(world.source().join("dir")).unwrap();
    world.write("dir/file", b"inside");
    world.synced(&backend).await;
    let options = offsite::engine::PullOptions {
        delete: true,
        limits: offsite::plan::Limits { removals: 1.0, ..Default::default() },
        ..Default::default()
    };
    world.pull(&backend, "target", &options).await.unwrap();
    assert_eq!(fs::read_dir(world.path("outside")).unwrap().count(), 0);
    assert_eq!(fs::read(world.path("target/dir/file")).unwrap(), b"inside");
}
