//! What others do at a destination: other disks mounted there, files deleted or put there by hand.

use std::fs;

use crate::harness::*;

/// Two machines, one place, which was made anew in between: the number of the newest snapshot is the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_destination_made_anew_is_not_taken_for_the_one_that_was_known() {
    let one = World::new();
    one.write("a", b"one");
    one.synced(&one.file("destination")).await;
    fs::remove_dir_all(one.path("destination")).unwrap();
    let two = World { machine: one.elsewhere("two"), ..World::new() };
    two.write("b", b"two");
    two.synced(&one.file("destination")).await;
    let place = one.file("destination");
    let outcome = one.synced(&place).await;
    assert_eq!((outcome.changes.added, outcome.changes.removed, outcome.changes.unchanged), (1, 1, 0), "{outcome:?}");
    one.comes_back(&place).await;
    same_trees(&one.source(), &one.path("destination"));
}

/// What a machine remembers is compared with at once; another machine's later snapshot makes that void.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_machine_is_compared_with_and_not_the_remembered_one() {
    for place in ["directory", "bucket"] {
        let one = World::new();
        one.write("same", b"of both");
        one.write("mine", b"of the first");
        let backend = if place == "bucket" { memory("turns").1 } else { one.file("destination") };
        one.synced(&backend).await;
        let two = World { machine: one.elsewhere("two"), ..World::new() };
        two.write("same", b"OF BOTH");
        two.write("theirs", b"of the second");
        two.synced(&backend).await;
        let outcome = one.synced(&backend).await;
        assert_eq!((outcome.changes.added, outcome.changes.removed, outcome.changes.changed), (1, 1, 1), "{place}: {outcome:?}");
        one.comes_back(&backend).await;
    }
}

/// A file loses its name to a directory and goes on under another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_whose_old_name_becomes_a_directory() {
    for to in ["other", "kind/kind"] {
        for place in ["directory", "bucket"] {
            let world = World::new();
            world.write("kind", &[7; 5000]);
            world.write("stays", b"here");
            let backend = if place == "bucket" { memory("renamed").1 } else { world.file("destination") };
            world.synced(&backend).await;
            let source = world.source();
            fs::rename(source.join("kind"), source.join("aside")).unwrap();
            fs::create_dir(source.join("kind")).unwrap();
            fs::rename(source.join("aside"), source.join(to)).unwrap();
            world.write("kind/inside", b"new");
            let outcome = world.synced(&backend).await;
            assert_eq!((outcome.changes.renamed, outcome.bytes.sent), (1, 3), "{place} {to}: {outcome:?}");
            world.comes_back(&backend).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_becomes_the_file_that_was_in_it_and_a_file_swaps_with_a_directory() {
    for place in ["directory", "bucket"] {
        let world = World::new();
        world.write("box/file", &[7; 5000]);
        world.write("left", &[8; 5000]);
        world.write("right/inner", &[9; 5000]);
        let backend = if place == "bucket" { memory("swapped").1 } else { world.file("destination") };
        world.synced(&backend).await;
        let source = world.source();
        for (from, to) in [("box/file", "aside"), ("left", "left-aside"), ("right", "left"), ("left-aside", "right")] {
            fs::rename(source.join(from), source.join(to)).unwrap();
        }
        fs::remove_dir(source.join("box")).unwrap();
        fs::rename(source.join("aside"), source.join("box")).unwrap();
        world.synced(&backend).await;
        world.comes_back(&backend).await;
        if place == "directory" {
            same_trees(&source, &world.path("destination"));
        }
    }
}

/// Somebody deleted a file at the destination; the next change to it sends it again, whatever kind of change it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_deleted_there_is_sent_again_when_it_changes() {
    for change in ["renamed", "touched", "rights", "rewritten", "removed"] {
        for place in ["directory", "bucket"] {
            let world = World::new();
            world.write("file", b"content");
            world.write("stays", b"here");
            let (bucket, memory) = memory("deleted");
            let backend = if place == "bucket" { memory } else { world.file("destination") };
            world.synced(&backend).await;
            if place == "bucket" {
                assert!(bucket.lose("file"));
            } else {
                fs::remove_file(world.path("destination/file")).unwrap();
            }
            let file = world.source().join("file");
            match change {
                "renamed" => fs::rename(&file, world.source().join("other")).unwrap(),
                "touched" => fs::File::open(&file).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap(),
                "rights" => fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap(),
                "rewritten" => fs::write(&file, b"changed").unwrap(),
                _ => fs::remove_file(&file).unwrap(),
            }
            world.synced(&backend).await;
            if place == "directory" || matches!(change, "renamed" | "rewritten" | "removed") {
                world.comes_back(&backend).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_directory_makes_way_for_a_file_and_a_full_one_does_not() {
    let world = World::new();
    world.write("first", b"1");
    let backend = world.file("destination");
    world.synced(&backend).await;
    world.write("name", b"a file");
    fs::create_dir_all(world.path("destination/name/theirs")).unwrap();
    let outcome = world.sync(&backend).await;
    assert_eq!((outcome.exit, outcome.unread.total()), (3, 1), "{outcome:?}");
    let listed = &outcome.unread.first()[0];
    assert!(listed.path.to_string() == "name" && listed.problem.contains("move it away"), "{listed:?}");
    assert!(world.path("destination/name/theirs").is_dir());
    fs::remove_dir(world.path("destination/name/theirs")).unwrap();
    world.synced(&backend).await;
    same_trees(&world.source(), &world.path("destination"));
}

/// The first sync writes over nothing that is not its own, unless it is told to take it over.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_writes_over_nothing_that_is_there() {
    for place in ["directory", "bucket"] {
        let mut world = World::new();
        world.write("docs/a", b"ours");
        world.write("b", b"ours");
        let (bucket, memory) = memory("occupied");
        let backend = if place == "bucket" { memory } else { world.file("destination") };
        if place == "bucket" {
            bucket.plant("docs/a", "theirs");
            bucket.plant("other", "theirs");
        } else {
            fs::create_dir_all(world.path("destination/docs")).unwrap();
            fs::write(world.path("destination/docs/a"), "theirs").unwrap();
        }
        let outcome = world.sync(&backend).await;
        let error = outcome.error.unwrap_or_default();
        assert!(outcome.exit == 4 && error.contains("`docs`") && error.contains("--adopt"), "{place}: {error}");
        let left = if place == "bucket" {
            bucket.content("docs/a").unwrap().to_vec()
        } else {
            fs::read(world.path("destination/docs/a")).unwrap()
        };
        assert_eq!(left, b"theirs");
        assert!(!bucket.keys().iter().any(|k| k.starts_with(".offsite")), "{:?}", bucket.keys());
        world.options.adopt = true;
        world.synced(&backend).await;
        world.comes_back(&backend).await;
    }
}
