//! `repair`: what the source still has comes back, what it has not is named, and nothing good is harmed.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use offsite::engine::{self, Flaw, PullOptions, RepairOptions, RepairOutcome, RunControl};
use offsite::error::Result;
use offsite::model::Layout;
use offsite::plan::Limits;
use offsite_backends::testing::{MemoryBackend, MemoryOptions};
use offsite_backends::{Backend, ErrorKind};

use crate::check::{check, check_with, good, reading};
use crate::harness::*;

pub async fn repair_with(world: &World, backend: &Arc<dyn Backend>, options: &RepairOptions) -> Result<RepairOutcome> {
    engine::repair_over(&world.machine, &world.source(), Arc::clone(backend), options, &RunControl::new(1)).await
}

pub async fn repair(world: &World, backend: &Arc<dyn Backend>) -> RepairOutcome {
    repair_with(world, backend, &RepairOptions::default()).await.unwrap()
}

fn tree_of(world: &World) {
    for i in 0..30 {
        world.write(&format!("{}/{i:02}", i % 3), format!("content of {i}").as_bytes());
    }
    world.write("odd\nname", b"odd");
    world.write("large", &vec![5; 9 << 20]);
    symlink("large", world.source().join("link")).unwrap();
    fs::create_dir_all(world.source().join("hollow/inner")).unwrap();
}

fn harm(bucket: &MemoryBackend) {
    assert!(bucket.lose("0/00"));
    assert!(bucket.lose("large"));
    bucket.plant("1/01", b"cut".to_vec());
    let odd = bucket.keys().into_iter().find(|k| k.starts_with(".offsite/odd/")).unwrap();
    assert!(bucket.lose(&odd));
    bucket.plant("foreign", b"not ours".to_vec());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_source_has_is_sent_again() {
    for versions in [false, true] {
        let world = World::new();
        let (bucket, backend) = memory_with("repair-sent", MemoryOptions { versions, ..MemoryOptions::default() });
        tree_of(&world);
        world.synced(&backend).await;
        harm(&bucket);
        assert_eq!(check(&world, &backend).await.exit, 1);
        let outcome = repair(&world, &backend).await;
        assert_eq!((outcome.exit, outcome.wrong, outcome.repaired, outcome.snapshot), (0, 4, 4, Some(2)), "{outcome:?}");
        good(&check_with(&world, &backend, &reading(1.0)).await);
        world.comes_back(&backend).await;
        // The snapshot from before finds the same contents, although they have other tags now.
        let old = PullOptions { at: Some("1".into()), ..PullOptions::default() };
        let pulled = world.pull(&backend, "old", &old).await.unwrap();
        assert_eq!((pulled.exit, pulled.problems.total()), (0, 0), "{pulled:?}");
        assert_eq!(bucket.content("foreign").as_deref(), Some(&b"not ours"[..]));
        // Nothing is left to do, for a repair and for a sync.
        assert_eq!(repair(&world, &backend).await.snapshot, None);
        let quiet = world.synced(&backend).await;
        assert_eq!((quiet.bytes.sent, quiet.changes.any()), (0, false), "{quiet:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_gets_its_files_links_directories_and_times_back() {
    let world = World::new();
    let backend = world.file("repair-tree");
    tree_of(&world);
    world.synced(&backend).await;
    let at = |name: &str| world.path("repair-tree").join(name);
    fs::remove_file(at("0/00")).unwrap();
    fs::write(at("1/01"), "another content!").unwrap();
    fs::remove_file(at("link")).unwrap();
    fs::write(at("link"), "a file").unwrap();
    fs::remove_dir_all(at("hollow")).unwrap();
    fs::remove_file(at("2/02")).unwrap();
    symlink("/etc/hostname", at("2/02")).unwrap();
    fs::File::options().write(true).open(at("0/03")).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    fs::write(at("foreign"), "not ours").unwrap();
    let outcome = repair(&world, &backend).await;
    assert_eq!((outcome.exit, outcome.lost.len()), (0, 0), "{outcome:?}");
    good(&check_with(&world, &backend, &reading(1.0)).await);
    assert_eq!(fs::read(at("foreign")).unwrap(), b"not ours");
    fs::remove_file(at("foreign")).unwrap();
    same_trees(&world.source(), &world.path("repair-tree"));
    assert!(!world.path("repair-tree/.offsite/kept").exists(), "a damaged content was put aside");
    world.comes_back(&backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_said_and_not_touched() {
    let world = World::new();
    let backend = world.file("repair-blocked");
    tree_of(&world);
    world.synced(&backend).await;
    let at = |name: &str| world.path("repair-blocked").join(name);
    fs::remove_file(at("0/00")).unwrap();
    fs::create_dir(at("0/00")).unwrap();
    fs::write(at("0/00/theirs"), "x").unwrap();
    fs::remove_file(at("1/01")).unwrap();
    let outcome = repair(&world, &backend).await;
    assert_eq!((outcome.exit, outcome.repaired, outcome.lost.len()), (1, 1, 1), "{outcome:?}");
    assert!(outcome.lost[0].problem.contains("move that away"), "{outcome:?}");
    assert!(at("0/00/theirs").exists() && at("1/01").exists());
}

/// A lost content stays in the manifest: a pull names it, and the next sync sends what the source has by then.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_source_has_not_is_lost_and_the_next_sync_goes_on_from_there() {
    let world = World::new();
    let (bucket, backend) = memory("repair-lost");
    tree_of(&world);
    world.synced(&backend).await;
    for key in ["0/00", "1/01", "2/02"] {
        assert!(bucket.lose(key));
    }
    world.remove("0/00");
    world.write("1/01", b"something else");
    // Same length, and its old time put back: only reading tells.
    let path = world.source().join("2/02");
    let mtime = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, b"content of X").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(mtime).unwrap();
    let outcome = repair(&world, &backend).await;
    assert_eq!((outcome.exit, outcome.repaired, outcome.snapshot), (1, 0, None), "{outcome:?}");
    let lost: Vec<String> = outcome.lost.iter().map(|f| f.path.display()).collect();
    assert_eq!(lost, ["0/00", "1/01", "2/02"]);
    assert!(outcome.lost[0].problem.contains("no longer") && outcome.lost[1].problem.contains("has changed"), "{outcome:?}");
    let pulled = world.pull(&backend, "back", &PullOptions::default()).await.unwrap();
    assert_eq!((pulled.exit, pulled.problems.total()), (3, 3), "{pulled:?}");
    let synced = world.synced(&backend).await;
    assert_eq!((synced.changes.changed, synced.changes.removed), (2, 1), "{synced:?}");
    world.comes_back(&backend).await;
    let outcome = check(&world, &backend).await;
    // The first snapshot has lost them for good.
    assert_eq!((outcome.exit, outcome.missing), (1, 3), "{outcome:?}");
    assert!(outcome.findings.iter().all(|f| (f.first_snapshot, f.last_snapshot) == (1, 1)), "{outcome:?}");
}

/// A bucket that was copied has other tags. Where the source is gone, what lies there is read and taken over.
#[tokio::test(flavor = "multi_thread")]
async fn contents_under_other_tags_are_taken_over() {
    let world = World::new();
    let (bucket, backend) = memory("repair-retagged");
    tree_of(&world);
    world.synced(&backend).await;
    for key in ["0/00", "1/01"] {
        bucket.plant(key, bucket.content(key).unwrap());
    }
    bucket.plant("2/02", b"content of X".to_vec());
    world.remove("0/00");
    world.remove("2/02");
    let outcome = repair(&world, &backend).await;
    assert_eq!((outcome.taken_over, outcome.repaired, outcome.lost.len(), outcome.exit), (1, 1, 1, 1), "{outcome:?}");
    let found = check(&world, &backend).await;
    assert_eq!((found.changed, found.missing, found.findings[0].path.display()), (1, 0, "2/02".into()), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reading_found_damaged_is_sent_again() {
    let world = World::new();
    let backend = world.file("repair-rot");
    tree_of(&world);
    world.synced(&backend).await;
    let path = world.path("repair-rot/0/03");
    let mtime = fs::metadata(&path).unwrap().modified().unwrap();
    let content = fs::read(&path).unwrap();
    fs::write(&path, vec![b'x'; content.len()]).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(mtime).unwrap();
    assert_eq!(check_with(&world, &backend, &reading(1.0)).await.damaged, 1);
    // From the record alone, without reading everything once more.
    let outcome = repair(&world, &backend).await;
    assert_eq!((outcome.exit, outcome.wrong, outcome.repaired), (0, 1, 1), "{outcome:?}");
    assert_eq!(fs::read(&path).unwrap(), content);
    good(&check_with(&world, &backend, &reading(1.0)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_format_are_written_again_from_this_machines_copy() {
    let world = World::new();
    let (bucket, backend) = memory("repair-pages");
    for i in 0..3000 {
        world.write(&format!("{:02}/{i:04}", i % 20), format!("content of {i}").as_bytes());
    }
    world.synced(&backend).await;
    world.write("00/0000", b"changed");
    world.synced(&backend).await;
    for key in bucket.keys().into_iter().filter(|k| k.starts_with(".offsite/pages/")) {
        let content = bucket.content(&key).unwrap();
        bucket.plant(&key, content.slice(..content.len() / 3));
    }
    bucket.lose(".offsite/format.json");
    // Another machine has no copy.
    let elsewhere = world.elsewhere("elsewhere");
    let error =
        engine::repair_over(&elsewhere, &world.source(), Arc::clone(&backend), &RepairOptions::default(), &RunControl::new(1)).await;
    assert!(error.is_err(), "{error:?}");
    let outcome = repair(&world, &backend).await;
    assert!(outcome.pages && outcome.snapshot.is_some(), "{outcome:?}");
    // What only the first snapshot had is not on this machine.
    assert!(outcome.lost.iter().all(|f| f.flaw == Flaw::Damaged && f.last_snapshot == 1), "{outcome:?}");
    world.comes_back(&backend).await;
    let found = check(&world, &backend).await;
    assert!(found.findings.iter().all(|f| f.last_snapshot <= 2 && f.path.as_bytes().starts_with(b".offsite/pages/")), "{found:?}");
    fs::remove_dir_all(world.path("cache")).unwrap();
    world.write("new", b"new");
    world.synced(&backend).await;
    world.comes_back(&backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unmounted_source_and_a_budget_are_refusals() {
    let world = World::new();
    let (bucket, backend) = memory("repair-guard");
    tree_of(&world);
    world.synced(&backend).await;
    harm(&bucket);
    let budget = RepairOptions { limits: Limits { max_bytes: Some(1000), ..Limits::default() }, ..RepairOptions::default() };
    assert_eq!(repair_with(&world, &backend, &budget).await.unwrap_err().exit_code(), 4);
    let before = bucket.keys();
    let dry = repair_with(&world, &backend, &RepairOptions { dry_run: true, ..RepairOptions::default() }).await.unwrap();
    assert_eq!((dry.repaired, dry.snapshot), (4, None), "{dry:?}");
    fs::rename(world.source(), world.path("elsewhere")).unwrap();
    assert_eq!(repair_with(&world, &backend, &RepairOptions::default()).await.unwrap_err().exit_code(), 4);
    fs::create_dir(world.source()).unwrap();
    assert_eq!(repair_with(&world, &backend, &RepairOptions::default()).await.unwrap_err().exit_code(), 4);
    assert_eq!(bucket.keys(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_writes_and_nothing_is_deleted() {
    let world = World::new();
    let (bucket, inner) = memory("repair-order");
    tree_of(&world);
    world.synced(&inner).await;
    harm(&bucket);
    let (script, backend) = faulty(&inner);
    assert_eq!(repair(&world, &backend).await.exit, 0);
    let calls = script.calls();
    let at = |verb: &str, key: &str| calls.iter().position(|c| c.verb == verb && c.key.starts_with(key)).unwrap();
    let lease = at("create", ".offsite/lease.json");
    let content = at("put", "0/00");
    let pages = at("put", ".offsite/pages/");
    let snapshot = at("create", ".offsite/snapshots/");
    assert!(lease < content && content < pages && pages < snapshot, "{calls:#?}");
    let deleted: Vec<_> = calls.iter().filter(|c| c.verb.starts_with("delete")).map(|c| c.key.as_str()).collect();
    assert_eq!(deleted, [".offsite/lease.json"]);
    assert!(!calls.iter().any(|c| c.verb == "copy_exact"), "{calls:#?}");
}

/// Killed at every storage call: no content that was good is harmed, and the next repair ends it.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call() {
    let run = async |tree: bool, n: Option<u64>| -> u64 {
        let world = World::new();
        let (bucket, mut inner) = memory("repair-killed");
        if tree {
            inner = world.file("repair-killed");
        }
        tree_of(&world);
        world.synced(&inner).await;
        if tree {
            fs::remove_file(world.path("repair-killed/0/00")).unwrap();
            fs::write(world.path("repair-killed/large"), b"cut").unwrap();
            fs::remove_dir_all(world.path("repair-killed/hollow")).unwrap();
        } else {
            harm(&bucket);
        }
        let (script, backend) = faulty(&inner);
        if let Some(n) = n {
            script.script().stop_at(n);
            let _ = repair_with(&world, &backend, &RepairOptions::default()).await;
            let between = check(&world, &inner).await;
            assert!(between.findings.iter().all(|f| f.problem.contains("not found") || f.flaw == Flaw::Changed), "call {n}: {between:?}");
        }
        let done = repair_with(&world, if n.is_some() { &inner } else { &backend }, &RepairOptions::default()).await.unwrap();
        assert_eq!((done.exit, done.lost.len()), (0, 0), "call {n:?}: {done:?}");
        good(&check_with(&world, &inner, &reading(1.0)).await);
        world.comes_back(&inner).await;
        // One whose completion was not answered counts as ended: its id may be unknown by now.
        assert!(bucket.unfinished_uploads() <= 1, "call {n:?}");
        script.count()
    };
    for tree in [false, true] {
        let total = run(tree, None).await;
        assert!(total > 15, "{total}");
        for n in 1..=total {
            run(tree, Some(n)).await;
        }
    }
}

/// A repair and a sync do not meet: the lease, and an interrupted sync comes first.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_sync_comes_first() {
    let world = World::new();
    let (bucket, inner) = memory("repair-after-sync");
    tree_of(&world);
    world.synced(&inner).await;
    bucket.lose("0/00");
    world.write("1/01", b"changed");
    let (script, backend) = faulty(&inner);
    script.script().fail_verb("create", 2, ErrorKind::Transient);
    assert_ne!(world.sync(&backend).await.exit, 0);
    let error = repair_with(&world, &inner, &RepairOptions::default()).await.unwrap_err().to_string();
    assert!(error.contains("interrupted"), "{error}");
    world.synced(&inner).await;
    assert_eq!(repair(&world, &inner).await.exit, 0);
    good(&check(&world, &inner).await);
}

/// Without a source: contents come from another destination, by their hashes.
#[tokio::test(flavor = "multi_thread")]
async fn from_another_destination() {
    for (layout, other) in [(Layout::Mirror, Layout::Packed), (Layout::Packed, Layout::Mirror), (Layout::Mirror, Layout::Mirror)] {
        let mut world = World::new();
        let (bucket, backend) = memory("repair-from");
        let (_, from) = memory("repair-other");
        tree_of(&world);
        world.write("moved", b"under another name there");
        world.write("old", b"only in an old snapshot there");
        world.options.layout = Some(layout);
        world.synced(&backend).await;
        let expected = world.path("expected");
        assert!(std::process::Command::new("cp").arg("-a").arg(world.source()).arg(&expected).status().unwrap().success());
        world.options.layout = Some(other);
        world.synced(&from).await;
        fs::rename(world.source().join("moved"), world.source().join("moved away")).unwrap();
        world.remove("old");
        world.synced(&from).await;
        fs::remove_dir_all(world.source()).unwrap();
        for key in bucket.keys().iter().filter(|key| !key.starts_with(".offsite") || key.contains("/packs/")) {
            assert!(bucket.lose(key));
        }
        let repaired = |options: RepairOptions| {
            let (machine, from, backend) = (world.machine.clone(), Arc::clone(&from), Arc::clone(&backend));
            async move { engine::repair_from_over(&machine, from, backend, &options, &RunControl::new(1)).await.unwrap() }
        };
        let dry = repaired(RepairOptions { dry_run: true, ..RepairOptions::default() }).await;
        assert_eq!((dry.exit, dry.snapshot), (0, None), "{dry:?}");
        let outcome = repaired(RepairOptions::default()).await;
        assert_eq!((outcome.exit, outcome.lost.len(), outcome.unread.total(), outcome.snapshot), (0, 0, 0, Some(2)), "{outcome:?}");
        // A snapshot that needs a lost pack stays damaged, so only the newest is good.
        let newest = engine::CheckOptions { at: Some("2".into()), ..reading(1.0) };
        good(&check_with(&world, &backend, &newest).await);
        let pulled = world.pull(&backend, "back", &PullOptions::default()).await.unwrap();
        assert_eq!((pulled.exit, pulled.problems.total()), (0, 0), "{pulled:?}");
        same_trees(&expected, &world.path("back"));
        assert_eq!(repaired(RepairOptions::default()).await.snapshot, None, "nothing is left to do");
    }
}

/// What the other destination lost too is lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_destination_has_not_either() {
    let world = World::new();
    let (bucket, backend) = memory("repair-both");
    let (other, from) = memory("repair-both-other");
    tree_of(&world);
    world.write("late", b"never synced there");
    for name in ["0/00", "1/01", "2/02"] {
        world.write(name, format!("an incompressible content of its own: {name}").as_bytes());
    }
    world.synced(&backend).await;
    world.remove("late");
    if layout().is_mirror() {
        world.synced(&from).await;
        for key in ["0/00", "1/01", "late"] {
            assert!(bucket.lose(key));
        }
        assert!(other.lose("0/00"));
        let lost =
            engine::repair_from_over(&world.machine, from, Arc::clone(&backend), &RepairOptions::default(), &RunControl::new(1)).await;
        let lost = lost.unwrap();
        let mut paths: Vec<String> = lost.lost.iter().map(|finding| finding.path.to_string()).collect();
        paths.sort();
        assert_eq!((lost.exit, lost.repaired, paths), (1, 1, vec!["0/00".to_owned(), "late".to_owned()]), "{lost:?}");
        assert_eq!(check(&world, &backend).await.exit, 1);
    }
}
