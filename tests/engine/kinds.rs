//! Files that make trouble while they are read.

use offsite::model::Sample;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use offsite::engine::PullOptions;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn sockets_and_pipes_are_listed_as_skipped() {
    let world = World::new();
    let (_, backend) = memory("skipped");
    world.write("f", b"x");
    let _socket = std::os::unix::net::UnixListener::bind(world.source().join("socket")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, world.source().join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let outcome = world.synced(&backend).await;
    let names: Vec<_> = outcome.skipped.first().iter().map(|s| s.path.display()).collect();
    assert_eq!((names, outcome.changes.skipped), (vec!["pipe".to_owned(), "socket".to_owned()], 2));
}

/// A file that grows all the time is stored as read and said to be unstable.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_never_rests_is_marked_unstable() {
    let world = World::new();
    let (_, backend) = memory("unstable");
    world.write("log", &vec![b'x'; 4 << 20]);
    world.write("calm", b"calm");
    let stop = Arc::new(AtomicBool::new(false));
    let (path, flag) = (world.source().join("log"), Arc::clone(&stop));
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        let mut log = fs::File::options().append(true).open(path).unwrap();
        while !flag.load(Ordering::Relaxed) {
            log.write_all(b"more\n").unwrap();
        }
    });
    // On a busy machine the writer may sleep through a read; in many reads it does not.
    let mut seen = false;
    for _ in 0..50 {
        let outcome = world.sync(&backend).await;
        assert_eq!(outcome.error, None);
        assert_eq!(outcome.exit, if outcome.unstable.is_empty() { 0 } else { 3 }, "{outcome:?}");
        seen |= !outcome.unstable.is_empty();
        if seen {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(seen);
    let pulled = world.pull(&backend, "target", &PullOptions::default()).await.unwrap();
    assert_eq!(pulled.problems, Sample::default());
    world.synced(&backend).await;
    world.comes_back(&backend).await;
}

/// A directory that could not be read keeps its copies; only root can read everything, so a test as root
/// takes the directory's place with something unreadable in another way.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_not_removed() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new();
    let (_, backend) = memory("unread");
    world.write("private/a", b"a");
    world.write("private/b", b"b");
    world.write("open", b"o");
    world.synced(&backend).await;
    fs::set_permissions(world.source().join("private"), fs::Permissions::from_mode(0o000)).unwrap();
    world.write("open", b"other");
    let outcome = world.sync(&backend).await;
    fs::set_permissions(world.source().join("private"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!((outcome.exit, outcome.changes.removed, outcome.unread.total()), (3, 0, 1), "{outcome:?}");
    world.pull(&backend, "target", &PullOptions::default()).await.unwrap();
    assert_eq!(fs::read(world.path("target/private/a")).unwrap(), b"a");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_choose_and_cache_directories_are_left_out() {
    let mut world = World::new();
    let (_, backend) = memory("rules");
    world.write("keep.txt", b"k");
    world.write("drop.log", b"d");
    world.write("but.log", b"b");
    world.write("cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\nmore");
    world.write("cache/blob", b"x");
    let rules = ["*.log".to_owned(), "!but.log".to_owned()];
    world.options.walk.filter = offsite::scan::Filter::new(&rules, &[]).unwrap();
    world.options.walk.exclude_caches = true;
    world.synced(&backend).await;
    world.pull(&backend, "target", &PullOptions::default()).await.unwrap();
    let names: Vec<_> = tree(&world.path("target")).into_keys().map(|k| String::from_utf8(k).unwrap()).collect();
    assert_eq!(names, ["but.log", "cache", "cache/CACHEDIR.TAG", "keep.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_larger_than_said_are_left_out_and_one_that_grows_goes() {
    let mut world = World::new();
    let (_, backend) = memory("larger");
    world.write("just", &[1; 1000]);
    world.write("larger", &[1; 1001]);
    world.write("grows", &[1; 10]);
    world.options.walk.exclude_larger_than = Some(1000);
    assert_eq!(world.synced(&backend).await.changes.added, 2);
    world.write("grows", &[1; 2000]);
    assert_eq!(world.synced(&backend).await.changes.removed, 1);
    world.pull(&backend, "target", &PullOptions::default()).await.unwrap();
    let names: Vec<_> = tree(&world.path("target")).into_keys().map(|k| String::from_utf8(k).unwrap()).collect();
    assert_eq!(names, ["just"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn adopting_sends_only_what_is_not_there() {
    let mut world = World::new();
    let (bucket, backend) = memory("adopted");
    for i in 0..20 {
        world.write(&format!("{i:02}"), format!("content {i}").as_bytes());
        if i < 15 {
            bucket.plant(&format!("{i:02}"), format!("content {i}").into_bytes());
        }
    }
    bucket.plant("07", b"content X".to_vec());
    bucket.plant("foreign/object", b"not ours".to_vec());
    world.options.adopt = true;
    let outcome = world.synced(&backend).await;
    assert_eq!((outcome.adopted, outcome.changes.added), (14, 20), "{outcome:?}");
    assert_eq!(outcome.bytes.sent, 6 * 10 - 1);
    world.comes_back(&backend).await;
    assert!(bucket.content("foreign/object").is_some());
    world.options.adopt = false;
    assert!(!world.synced(&backend).await.changes.any());
}

#[tokio::test(flavor = "multi_thread")]
async fn adopting_a_directory_that_rsync_filled() {
    let mut world = World::new();
    for i in 0..20 {
        world.write(&format!("d/{i:02}"), format!("content {i}").as_bytes());
    }
    let done = std::process::Command::new("cp").arg("-r").arg(world.source()).arg(world.path("destination")).status().unwrap();
    assert!(done.success());
    fs::write(world.path("destination/d/03"), b"content X").unwrap();
    let backend = world.file("destination");
    world.options.adopt = true;
    let outcome = world.synced(&backend).await;
    assert_eq!((outcome.adopted, outcome.bytes.sent), (19, 9), "{outcome:?}");
    same_trees(&world.source(), &world.path("destination"));
}
