//! A pull goes on where one entry, one content or one attribute fails, and says so; it ends where the whole target
//! or the whole store does.

use offsite::model::Sample;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;

use offsite::engine::{self, ArchiveRequest, Note, Privileges, PullOptions, PullOutcome, RunControl};
use offsite::error::{Error, Result};
use offsite_backends::testing::{MemoryBackend, Script, faulty_tree};
use offsite_backends::{Backend, ErrorKind};

use crate::harness::*;

/// A target with something of everything to do: files, a link, names of one file, modes, a removal.
async fn prepared(world: &World, name: &str) -> (MemoryBackend, Arc<dyn Backend>) {
    let (bucket, backend) = memory(name);
    world.write("d/one", b"1");
    world.write("d/two", b"2");
    world.write("gone", b"g");
    world.write("private/x", b"x");
    world.write("touched", b"t");
    symlink("one", world.source().join("d/link")).unwrap();
    world.synced(&backend).await;
    world.pull(&backend, "target", &PullOptions::default()).await.unwrap();
    world.write("d/one", b"new 1");
    world.write("d/two", b"new 2");
    world.write("fresh/file", b"f");
    world.remove("gone");
    fs::set_permissions(world.source().join("private"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(world.source().join("touched"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(world.source().join("d/link")).unwrap();
    symlink("two", world.source().join("d/link")).unwrap();
    fs::hard_link(world.source().join("d/one"), world.source().join("private/one")).unwrap();
    world.synced(&backend).await;
    (bucket, backend)
}

/// Problems, without names of a file that are files of their own because of one.
fn own(pulled: &PullOutcome) -> usize {
    pulled.problems.first().iter().filter(|problem| !problem.problem.contains("which could not be restored")).count()
}

fn all() -> PullOptions {
    PullOptions { delete: true, limits: options().limits, ..PullOptions::default() }
}

async fn under(world: &World, backend: &Arc<dyn Backend>, script: &Script, options: &PullOptions) -> Result<PullOutcome> {
    let destination = opened(backend, &world.machine).await?;
    let target = world.path("target");
    engine::pull_onto(destination, &target, |tree| faulty_tree(tree, script), options, &RunControl::new(1)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_entry_refuses_is_listed_and_the_rest_is_done() {
    for verb in ["publish", "symlink", "make_dir", "set_meta", "remove_file", "hard_link"] {
        for kind in [ErrorKind::Denied, ErrorKind::Other, ErrorKind::Unsupported] {
            let world = World::new();
            let (_, backend) = prepared(&world, "refused").await;
            let script = Script::new();
            script.fail_verb(verb, 1, kind);
            let pulled = under(&world, &backend, &script, &all()).await.unwrap();
            assert_eq!((pulled.exit, own(&pulled)), (3, 1), "{verb} {kind:?}: {:?}", pulled.problems);
            assert!(!world.path("target/.offsite-pull").exists(), "{verb}");
            let missing = String::from_utf8_lossy(&pulled.problems.first()[0].path.0).into_owned();
            let (want, have) = (tree(&world.source()), tree(&world.path("target")));
            for (path, facts) in &want {
                let path_text = String::from_utf8_lossy(path);
                // A directory in which the refused entry would have been made, removed or linked keeps its mode.
                if *path_text != missing {
                    let (have, facts) = (have.get(path).unwrap_or_else(|| panic!("{verb}: no {path_text}")), facts);
                    assert_eq!((have.0, have.1, have.2, &have.5), (facts.0, facts.1, facts.2, &facts.5), "{verb}: {path_text}");
                }
            }
            // What was refused comes with the next pull.
            let again = world.pull(&backend, "target", &all()).await.unwrap();
            assert_eq!(again.problems, Sample::default(), "{verb}");
            same_trees(&world.source(), &world.path("target"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_the_whole_target_ends_it_and_leaves_no_staging() {
    for verb in ["stage", "publish", "symlink", "make_dir", "set_meta", "remove_file", "hard_link", "sync"] {
        let world = World::new();
        let (_, backend) = prepared(&world, "full").await;
        let script = Script::new();
        script.fail_verb(verb, 1, ErrorKind::Full);
        let error = under(&world, &backend, &script, &all()).await.unwrap_err();
        assert_eq!(error.exit_code(), 1, "{verb}");
        assert!(!error.to_string().contains("AWS"), "{verb}: {error}");
        assert!(!world.path("target/.offsite-pull").exists(), "{verb}");
        world.pull(&backend, "target", &all()).await.unwrap();
        same_trees(&world.source(), &world.path("target"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_a_file_that_could_not_come_is_a_file_of_its_own() {
    let world = World::new();
    let (_, backend) = prepared(&world, "names").await;
    let script = Script::new();
    // Contents are named in the order of the plan, more or less: whichever of the two it is, both must be right.
    script.fail_verb("publish", 1, ErrorKind::Denied).fail_verb("publish", 2, ErrorKind::Denied);
    let pulled = under(&world, &backend, &script, &all()).await.unwrap();
    assert_eq!(pulled.exit, 3);
    assert_eq!(fs::read(world.path("target/private/one")).unwrap(), b"new 1", "{:?}", pulled.problems);
    world.pull(&backend, "target", &all()).await.unwrap();
    let ino = |name: &str| fs::metadata(world.path("target").join(name)).unwrap().ino();
    assert_eq!(ino("d/one"), ino("private/one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_hard_links_gets_copies_and_they_are_fetched_once() {
    let world = World::new();
    let (_, backend) = prepared(&world, "unlinked").await;
    for round in 0..2 {
        let script = Script::new();
        script.fail_verb("hard_link", 1, ErrorKind::Unsupported);
        let pulled = under(&world, &backend, &script, &all()).await.unwrap();
        assert_eq!((pulled.exit, pulled.problems.total()), (3, 1), "{:?}", pulled.problems);
        assert!(pulled.problems.first()[0].problem.contains("a file of its own"), "{:?}", pulled.problems);
        assert_eq!(fs::read(world.path("target/private/one")).unwrap(), b"new 1");
        assert_eq!(pulled.files > 0, round == 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_on_the_disk_before_a_pull_says_so() {
    let world = World::new();
    let (_, backend) = prepared(&world, "durable").await;
    let script = Script::new();
    under(&world, &backend, &script, &all()).await.unwrap();
    let calls = script.calls();
    let last = |verb: &str| calls.iter().rposition(|call| call.verb == verb).unwrap();
    for verb in ["publish", "symlink", "make_dir", "set_meta", "remove_file", "hard_link", "remove_staging"] {
        assert!(last(verb) < last("sync"), "{verb} after the sync: {calls:?}");
    }
    fs::remove_dir_all(world.path("target")).unwrap();
    let script = Script::new();
    under(&world, &backend, &script, &PullOptions { no_sync: true, ..all() }).await.unwrap();
    assert!(script.calls().iter().all(|call| call.verb != "sync"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_makes_no_links() {
    let world = World::new();
    let (_, backend) = memory("dry");
    world.write("one", b"1");
    fs::hard_link(world.source().join("one"), world.source().join("two")).unwrap();
    world.synced(&backend).await;
    world.pull(&backend, "target", &PullOptions { dry_run: true, ..all() }).await.unwrap();
    assert!(!world.path("target").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_content_that_the_store_refuses_is_that_files_trouble() {
    for kind in [ErrorKind::Denied, ErrorKind::Archived, ErrorKind::Other] {
        let world = World::new();
        let (_, plain) = prepared(&world, "denied").await;
        let (faults, backend) = faulty(&plain);
        // Snapshot, page, then contents; the places where the content may be besides are asked as well.
        for nth in 3..=5 {
            faults.script().fail_verb("get", nth, kind);
        }
        let options = PullOptions { transfers: Some(1), ..all() };
        let pulled = world.pull(&backend, "target", &options).await.unwrap();
        assert_eq!(pulled.exit, 3, "{kind:?}");
        assert!((1..=3).contains(&own(&pulled)), "{kind:?}: {:?}", pulled.problems);
        faults.script().reset();
        world.pull(&backend, "target", &options).await.unwrap();
        same_trees(&world.source(), &world.path("target"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_run_out_end_it() {
    let world = World::new();
    let (_, plain) = prepared(&world, "expired").await;
    let (faults, backend) = faulty(&plain);
    for nth in 3..200 {
        faults.script().fail_verb("get", nth, ErrorKind::Denied);
    }
    faults.script().fail_verb("head", 1, ErrorKind::Denied);
    let error = world.pull(&backend, "target", &all()).await.unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::Denied));
    assert!(!world.path("target/.offsite-pull").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_let_go_meanwhile_is_said_to_be() {
    let world = World::new();
    let (bucket, backend) = memory("let-go");
    world.write("a", b"a");
    world.write("b", b"b");
    world.synced(&backend).await;
    let destination = opened(&backend, &world.machine).await.unwrap();
    let prune = |tree| {
        bucket.keys().iter().filter(|key| key.starts_with(".offsite/snapshots/") || *key == "b").for_each(|key| assert!(bucket.lose(key)));
        tree
    };
    let pulled = engine::pull_onto(destination, &world.path("target"), prune, &PullOptions::default(), &RunControl::new(1)).await.unwrap();
    assert_eq!(pulled.exit, 3);
    assert_eq!(pulled.problems.first()[0].problem, "its content expired with snapshot 1");
    assert_eq!(pulled.notes, [Note::SnapshotPruned(1)]);
    assert_eq!(fs::read(world.path("target/a")).unwrap(), b"a");
}

fn mode(world: &World, name: &str) -> u32 {
    fs::metadata(world.path("target").join(name)).unwrap().permissions().mode() & 0o7777
}

#[tokio::test(flavor = "multi_thread")]
async fn set_id_bits_of_another_hosts_snapshot_stay_out_unless_they_are_asked_for() {
    let world = World::new();
    let (_, backend) = memory("rights");
    world.write("su", b"#!/bin/sh");
    world.write("plain", b"p");
    fs::set_permissions(world.source().join("su"), fs::Permissions::from_mode(0o6755)).unwrap();
    world.synced(&backend).await;
    let with = |privileges| PullOptions { privileges, ..PullOptions::default() };
    let here = world.pull(&backend, "target", &with(Privileges::MadeOn("test-host".into()))).await.unwrap();
    assert_eq!((here.left_out, mode(&world, "su")), (0, 0o6755));
    // What stands there with rights loses them.
    for (round, metadata) in [(0, 1), (1, 0)] {
        let elsewhere = world.pull(&backend, "target", &with(Privileges::MadeOn("new-host".into()))).await.unwrap();
        let counts = (elsewhere.left_out, elsewhere.changes.metadata, elsewhere.exit);
        assert_eq!((counts, mode(&world, "su")), ((1, metadata, 0), 0o755), "round {round}");
    }
    let asked = world.pull(&backend, "target", &with(Privileges::All)).await.unwrap();
    assert_eq!((asked.left_out, mode(&world, "su")), (0, 0o6755));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_privileges_files_belong_to_whoever_pulls() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new();
    let (_, backend) = memory("owners");
    world.write("f", b"f");
    std::os::unix::fs::chown(world.source().join("f"), Some(4321), Some(4321)).unwrap();
    world.synced(&backend).await;
    let uid = |name: &str| fs::metadata(world.path(name).join("f")).unwrap().uid();
    world.pull(&backend, "target", &PullOptions { privileges: Privileges::None, ..PullOptions::default() }).await.unwrap();
    world
        .pull(&backend, "all", &PullOptions { privileges: Privileges::MadeOn("new-host".into()), ..PullOptions::default() })
        .await
        .unwrap();
    assert_eq!((uid("target"), uid("all")), (0, 4321));
    // And a second pull finds nothing to do.
    let again = world.pull(&backend, "target", &PullOptions { privileges: Privileges::None, ..PullOptions::default() }).await.unwrap();
    assert_eq!(again.changes.metadata, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_a_destination_is_no_target() {
    let world = World::new();
    let (_, backend) = memory("twice");
    world.write("f", b"f");
    world.synced(&backend).await;
    let copy = world.file("target");
    world.synced(&copy).await;
    let refused = world.pull(&backend, "target", &PullOptions::default()).await.unwrap_err();
    assert!(matches!(refused, Error::Usage(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_an_archive_is_listed_asked_for_and_comes_later() {
    let world = World::new();
    let (bucket, backend) = prepared(&world, "archive").await;
    bucket.archive("d/two");
    bucket.archive("fresh/file");
    let archived = world.pull(&backend, "target", &all()).await.unwrap();
    assert_eq!((archived.exit, archived.archived, archived.problems.total()), (3, 2, 2), "{:?}", archived.problems);
    assert!(matches!(archived.notes[0], Note::Archived { request: ArchiveRequest::NotMade, .. }), "{:?}", archived.notes);
    assert!(!world.path("target/gone").exists() && fs::read(world.path("target/d/one")).unwrap() == b"new 1");
    let asking = PullOptions { restore: Some(Default::default()), ..all() };
    let asked = world.pull(&backend, "target", &asking).await.unwrap();
    assert!(
        asked.exit == 3 && matches!(asked.notes[0], Note::Archived { request: ArchiveRequest::Made { hours: 5 }, .. }),
        "{:?}",
        asked.notes
    );
    let again = world.pull(&backend, "target", &asking).await.unwrap();
    assert!(again.exit == 3 && matches!(again.notes[0], Note::Archived { request: ArchiveRequest::MadeBefore, .. }), "{:?}", again.notes);
    bucket.thaw();
    assert_eq!(world.pull(&backend, "target", &asking).await.unwrap().exit, 0);
    same_trees(&world.source(), &world.path("target"));
}
