//! One entry that a destination does not take: it is listed, its old state stays, and all the rest is committed.

use offsite::model::Sample;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use offsite::engine::PullOptions;
use offsite_backends::{Backend, ErrorKind};

use crate::harness::*;

const KINDS: [ErrorKind; 4] = [ErrorKind::Denied, ErrorKind::Unsupported, ErrorKind::Invalid, ErrorKind::Other];

fn both(world: &World, name: &str) -> [Arc<dyn Backend>; 2] {
    [memory(name).1, world.file(name)]
}

/// What the newest snapshot has of a file.
async fn in_snapshot(world: &World, backend: &Arc<dyn Backend>, path: &str) -> Option<Vec<u8>> {
    let target = format!("look-{:x}", fs::read_dir(world.dir.path()).unwrap().count());
    let pulled = world.pull(backend, &target, &PullOptions::default()).await.unwrap();
    assert_eq!(pulled.problems, Sample::default());
    fs::read(world.path(&target).join(path)).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_that_is_refused_keeps_its_old_state() {
    for kind in KINDS {
        let world = World::new();
        for inner in both(&world, "changed") {
            for name in ["a", "b", "c"] {
                world.write(name, b"one");
            }
            world.synced(&inner).await;
            for name in ["a", "b", "c", "d"] {
                world.write(name, b"two, longer");
            }
            let (script, backend) = faulty(&inner);
            script.script().refuse("b", kind).refuse("d", kind);
            let outcome = world.sync(&backend).await;
            let mut listed: Vec<String> = outcome.unread.first().iter().map(|p| p.path.to_string()).collect();
            listed.sort();
            assert_eq!((outcome.exit, outcome.snapshot, &outcome.error), (3, Some(2), &None), "{outcome:?}");
            assert_eq!(listed, ["b", "d"], "{outcome:?}");
            assert!(outcome.unread.first()[0].problem.starts_with("the destination refused it: "), "{outcome:?}");
            assert_eq!((outcome.changes.changed, outcome.changes.added), (2, 0));
            assert_eq!(in_snapshot(&world, &inner, "a").await.as_deref(), Some(&b"two, longer"[..]));
            assert_eq!(in_snapshot(&world, &inner, "b").await.as_deref(), Some(&b"one"[..]));
            assert_eq!(in_snapshot(&world, &inner, "d").await, None);
            // The next night says it again, and once the place takes it all is there.
            assert_eq!(world.sync(&backend).await.exit, 3);
            world.synced(&inner).await;
            world.comes_back(&inner).await;
            for name in ["a", "b", "c", "d"] {
                world.remove(name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_file_that_is_refused_stays_under_its_old_name() {
    let world = World::new();
    for inner in both(&world, "renamed") {
        world.write("old", b"content");
        world.write("stays", b"stays");
        world.synced(&inner).await;
        fs::rename(world.source().join("old"), world.source().join("new")).unwrap();
        let (script, backend) = faulty(&inner);
        script.script().refuse("new", ErrorKind::Denied).fail_verb("copy_exact", 1, ErrorKind::Denied);
        let outcome = world.sync(&backend).await;
        assert_eq!((outcome.exit, outcome.snapshot), (3, Some(2)), "{outcome:?}");
        assert_eq!(in_snapshot(&world, &inner, "old").await.as_deref(), Some(&b"content"[..]));
        world.synced(&inner).await;
        world.comes_back(&inner).await;
        world.remove("new");
    }
}

/// A removal comes after the commit: it is said, and the next run does it.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_is_refused_is_tried_again() {
    let world = World::new();
    let inner = world.file("removed");
    world.write("dir/goes", b"goes");
    world.write("stays", b"stays");
    world.synced(&inner).await;
    world.remove("dir/goes");
    let (script, backend) = faulty(&inner);
    script.script().refuse("dir/goes", ErrorKind::Denied);
    for _ in 0..2 {
        let outcome = world.sync(&backend).await;
        assert_eq!((outcome.exit, outcome.unread.total(), &outcome.warnings), (3, 1, &Vec::new()), "{outcome:?}");
        assert!(world.path("removed/dir/goes").exists());
        world.write("stays", format!("{:?}", std::time::Instant::now()).as_bytes());
    }
    world.synced(&inner).await;
    assert!(!world.path("removed/dir/goes").exists());
    world.comes_back(&inner).await;
    assert!(!world.synced(&inner).await.changes.any());
}

/// A file that became a directory, and the file cannot be moved away: it stays, and the rest is committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_cannot_be_freed_keeps_what_it_has() {
    let world = World::new();
    let inner = world.file("kinds");
    world.write("kind", b"a file");
    world.write("other", b"one");
    world.synced(&inner).await;
    world.remove("kind");
    world.write("kind/in", b"now a directory");
    world.write("other", b"two, longer");
    let (script, backend) = faulty(&inner);
    script.script().refuse("kind", ErrorKind::Denied);
    let outcome = world.sync(&backend).await;
    assert_eq!((outcome.exit, outcome.snapshot), (3, Some(2)), "{outcome:?}");
    assert_eq!(in_snapshot(&world, &inner, "kind").await.as_deref(), Some(&b"a file"[..]));
    assert_eq!(in_snapshot(&world, &inner, "other").await.as_deref(), Some(&b"two, longer"[..]));
    world.synced(&inner).await;
    world.comes_back(&inner).await;
}

/// Everything refused is no refusal of entries: the place is asked, and the run ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_takes_nothing_ends_the_run() {
    let world = World::new();
    for (inner, verb) in [(memory("nothing").1, "put"), (world.file("nothing"), "stage")] {
        world.write("a", b"one");
        world.synced(&inner).await;
        world.write("a", b"two, longer");
        let (script, backend) = faulty(&inner);
        for nth in 1..20 {
            script.script().fail_verb(verb, nth, ErrorKind::Denied);
        }
        let outcome = world.sync(&backend).await;
        assert_eq!((outcome.exit, outcome.snapshot), (1, None), "{outcome:?}");
        world.synced(&inner).await;
        world.comes_back(&inner).await;
        world.remove("a");
    }
}

/// Whichever call is refused: the newest snapshot is whole, and the next run comes to the whole of the source.
#[tokio::test(flavor = "multi_thread")]
async fn refused_at_every_call() {
    let first = |world: &World| {
        for name in ["dir/a", "dir/b", "gone/later", "kind", "moved"] {
            world.write(name, format!("first {name}").as_bytes());
        }
    };
    let second = |world: &World| {
        world.write("dir/a", b"second");
        world.write("new/one", b"new");
        fs::remove_dir_all(world.source().join("gone")).unwrap();
        world.remove("kind");
        world.write("kind/in", b"now a directory");
        fs::rename(world.source().join("moved"), world.source().join("renamed")).unwrap();
        std::os::unix::fs::symlink("dir/a", world.source().join("link")).unwrap();
    };
    let mut committed = 0;
    for which in [0, 1] {
        // The first round only counts.
        let (mut n, mut calls) = (u64::MAX, u64::MAX);
        while n == u64::MAX || n <= calls {
            let world = World::new();
            let [objects, tree] = both(&world, "every");
            let inner = if which == 0 { objects } else { tree };
            first(&world);
            world.synced(&inner).await;
            second(&world);
            let (script, backend) = faulty(&inner);
            script.script().fail_at(n, KINDS[(n % KINDS.len() as u64) as usize]);
            let outcome = world.sync(&backend).await;
            if n == u64::MAX {
                (n, calls) = (0, script.count());
            }
            committed += u64::from(outcome.exit == 3 && outcome.snapshot.is_some());
            let pulled = world.pull(&inner, "back", &PullOptions::default()).await.unwrap();
            assert_eq!(pulled.problems, Sample::default(), "call {n}: {outcome:?}");
            world.synced(&inner).await;
            world.comes_back(&inner).await;
            n += 1;
        }
    }
    assert!(committed > 10, "{committed}");
}

/// Root may write anywhere; the script of the end-to-end tests is an ordinary user.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_in_a_read_only_directory_arrives_and_its_mode_comes_back() {
    let world = World::new();
    let inner = world.file("read-only");
    world.write("ro/f", b"one");
    world.write("ro/goes", b"goes");
    let mode = |path: std::path::PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(world.source().join("ro"), 0o555);
    world.synced(&inner).await;
    mode(world.source().join("ro"), 0o755);
    world.write("ro/f", b"two, longer");
    world.write("ro/new/in", b"new");
    world.remove("ro/goes");
    mode(world.source().join("ro"), 0o555);
    world.synced(&inner).await;
    same_trees(&world.source(), &world.path("read-only"));
    mode(world.source().join("ro"), 0o755);
    mode(world.path("read-only/ro"), 0o755);
}
