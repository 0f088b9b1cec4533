//! A disk that takes names for one that differ only in case: no file is lost there, no rename and no kill loses one,
//! and every snapshot comes back under the names of its source.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use offsite::engine::{self, CheckOptions, PullOptions, RunControl};
use offsite::model::{KeepRules, RelPath, Sample};
use offsite::transfer::{Dump, DumpChunk, Source, Stop};
use offsite_backends::Backend;
use offsite_backends::testing::{Folding, folding_tree};
use tokio::sync::mpsc::Sender;

use crate::harness::*;

fn folding(world: &World, name: &str) -> Arc<dyn Backend> {
    Arc::new(Folding::new(world.file(name)))
}

fn rename(world: &World, from: &str, to: &str) {
    fs::rename(world.source().join(from), world.source().join(to)).unwrap();
}

fn copy_tree(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

/// Every snapshot from `first` on is what the source was then.
async fn history_is_whole(world: &World, backend: &Arc<dyn Backend>, then: &BTreeMap<u64, std::path::PathBuf>, about: &str) {
    for (number, was) in then {
        let target = format!("then-{number}");
        let options = PullOptions { at: Some(number.to_string()), ..PullOptions::default() };
        let pulled = world.pull(backend, &target, &options).await.unwrap();
        assert_eq!(pulled.problems, Sample::default(), "snapshot {number}, {about}");
        same_trees(was, &world.path(&target));
        fs::remove_dir_all(world.path(&target)).unwrap();
    }
}

async fn is_right(world: &World, backend: &Arc<dyn Backend>, about: &str) {
    assert_eq!(wrong(world, backend).await, Vec::<String>::new(), "{about}");
}

/// What a check that reads everything finds.
async fn wrong(world: &World, backend: &Arc<dyn Backend>) -> Vec<String> {
    let options = CheckOptions { read_data: Some(1.0), ..CheckOptions::default() };
    let destination = opened(backend, &world.elsewhere("checker")).await.unwrap();
    let checked = engine::check_over(destination, &world.machine, &options, &RunControl::new(1)).await.unwrap();
    checked.findings.iter().map(|finding| format!("{}: {}", finding.path, finding.problem)).collect()
}

/// A run finds nothing to do, and asks no more than in any directory.
async fn is_quiet(world: &World) {
    let quiet = world.synced(&folding(world, "destination")).await;
    assert_eq!((quiet.changes.any(), quiet.requests.put, quiet.requests.list), (false, 1, 1), "{quiet:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_several_names_come_back() {
    let world = World::new();
    for (name, content) in [("a", "one"), ("A", "two, longer"), ("Dir/f", "1"), ("dir/f", "22"), ("dir/g/h", "333"), ("DIR", "a file")] {
        world.write(name, content.as_bytes());
    }
    world.write(".OFFSITE/lease.json", b"not offsite's own");
    std::os::unix::fs::symlink("a", world.source().join("DIr")).unwrap();
    let backend = folding(&world, "destination");
    world.synced(&backend).await;
    world.comes_back(&backend).await;
    is_right(&world, &backend, "at first").await;
    // The first of each keeps its name.
    assert_eq!(fs::read(world.path("destination/A")).unwrap(), b"two, longer");
    is_quiet(&world).await;
    assert!(!world.path("destination/.offsite/probe").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_case_loses_neither_the_file_nor_its_history() {
    let world = World::new();
    let backend = folding(&world, "destination");
    world.write("IMG.JPG", b"picture");
    world.write("Photos/One.jpg", b"one");
    world.write("other", b"other");
    world.synced(&backend).await;
    copy_tree(&world.source(), &world.path("was"));
    rename(&world, "IMG.JPG", "img.jpg");
    rename(&world, "Photos/One.jpg", "Photos/one.jpg");
    rename(&world, "Photos", "photos");
    let renamed = world.synced(&backend).await;
    assert_eq!((renamed.changes.renamed, renamed.bytes.sent), (2, 0), "{renamed:?}");
    world.comes_back(&backend).await;
    same_trees(&world.source(), &world.path("destination"));
    history_is_whole(&world, &backend, &BTreeMap::from([(1, world.path("was"))]), "renamed").await;
    is_right(&world, &backend, "renamed").await;
}

fn first_tree(world: &World) {
    for (name, content) in [("IMG.JPG", "picture"), ("A", "upper"), ("a", "lower, odd"), ("Dir/x", "x"), ("Dir/y", "y"), ("twin/f", "1")] {
        world.write(name, content.as_bytes());
    }
    world.write("Kind", b"a file now");
    std::os::unix::fs::symlink("A", world.source().join("Link")).unwrap();
}

fn second_tree(world: &World) {
    rename(world, "IMG.JPG", "img.jpg");
    rename(world, "Dir", "dir");
    world.write("dir/X", b"another x");
    world.remove("A");
    world.write("a", b"alone now, and changed");
    world.write("Twin/f", b"22");
    world.remove("Kind");
    world.write("kind/is a directory", b"now");
    world.remove("Link");
    world.write("link", b"a file now");
}

struct Story {
    world: World,
    inner: Arc<dyn Backend>,
}

async fn told() -> Story {
    let world = World::new();
    let inner = folding(&world, "destination");
    first_tree(&world);
    world.synced(&inner).await;
    copy_tree(&world.source(), &world.path("first"));
    second_tree(&world);
    Story { world, inner }
}

async fn calls() -> u64 {
    let story = told().await;
    let (script, backend) = faulty(&story.inner);
    story.world.synced(&backend).await;
    script.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call() {
    for n in 1..=calls().await {
        let story = told().await;
        let (script, backend) = faulty(&story.inner);
        script.script().stop_at(n);
        story.world.sync(&backend).await;
        let about = format!("killed at call {n}");
        let pulled = story.world.pull(&story.inner, "after", &PullOptions::default()).await.unwrap();
        assert_eq!(pulled.problems, Sample::default(), "{about}");
        let is = if pulled.snapshot == 1 { story.world.path("first") } else { story.world.source() };
        same_trees(&is, &story.world.path("after"));
        story.world.synced(&story.inner).await;
        story.world.comes_back(&story.inner).await;
        let first = BTreeMap::from([(1, story.world.path("first"))]);
        history_is_whole(&story.world, &story.inner, &first, &about).await;
        is_right(&story.world, &story.inner, &about).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_and_gone_back() {
    for n in 1..=calls().await {
        let mut story = told().await;
        story.world.options.keep = KeepRules::default();
        let (script, backend) = faulty(&story.inner);
        script.script().stop_at(n);
        story.world.sync(&backend).await;
        fs::remove_dir_all(story.world.source()).unwrap();
        copy_tree(&story.world.path("first"), &story.world.source());
        story.world.synced(&story.inner).await;
        story.world.comes_back(&story.inner).await;
        // A link holds no content, and is made again by a repair.
        let wrong = wrong(&story.world, &story.inner).await;
        assert!(wrong.iter().all(|finding| finding.starts_with("Link: ")), "killed at call {n}: {wrong:?}");
    }
}

/// Forty runs of whatever comes, with few names that are often the same; now and then one is killed.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_every_snapshot_is_whole() {
    for seed in 1..=3u64 {
        let world = World::new();
        let backend = folding(&world, "destination");
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let names = ["n", "N", "m", "M"];
        let mut then = BTreeMap::new();
        world.write("stays", b"so that the source is never empty");
        for turn in 0..40 {
            for _ in 0..=next(4) {
                let mut path = world.source();
                for _ in 0..=next(3) {
                    path.push(names[next(4) as usize]);
                }
                let other = world.source().join(names[next(4) as usize]);
                match next(4) {
                    0 => _ = fs::remove_file(&path),
                    1 => _ = fs::remove_dir_all(&path),
                    2 => _ = fs::rename(&path, &other),
                    _ if fs::create_dir_all(path.parent().unwrap()).is_ok() => {
                        let _ = fs::write(&path, vec![turn; next(50) as usize]);
                    }
                    _ => {}
                }
            }
            if next(4) == 0 {
                let (script, broken) = faulty(&backend);
                script.script().stop_at(1 + next(60));
                world.sync(&broken).await;
                continue;
            }
            let outcome = world.synced(&backend).await;
            let was = world.path(&format!("was-{turn}"));
            copy_tree(&world.source(), &was);
            then.insert(outcome.snapshot.unwrap(), was);
            world.comes_back(&backend).await;
        }
        history_is_whole(&world, &backend, &then, &format!("seed {seed}")).await;
        is_right(&world, &backend, &format!("seed {seed}")).await;
    }
}

/// Takes what an earlier version did not write out of a record.
fn without_disk(record: &Path) {
    let mut document: serde_json::Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
    assert!(document["keys"].as_object_mut().unwrap().remove("disk").is_some());
    fs::write(record, serde_json::to_vec(&document).unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_of_an_earlier_version_is_mended_by_the_next_sync() {
    let mut world = World::new();
    for (name, content) in [("A", "one"), ("a", "two, longer"), ("d/x", "1"), ("D/x", "22"), ("d/y", "333"), ("plain", "plain")] {
        world.write(name, content.as_bytes());
    }
    world.synced(&world.file("destination")).await;
    // Such a version knew nothing of folding: what came later is what lies there.
    let destination = world.path("destination");
    without_disk(&destination.join(".offsite/format.json"));
    without_disk(&destination.join(".offsite/snapshots/000000000001.json"));
    fs::rename(destination.join("a"), destination.join("A")).unwrap();
    fs::rename(destination.join("d/x"), destination.join("D/x")).unwrap();
    fs::rename(destination.join("d/y"), destination.join("D/y")).unwrap();
    fs::remove_dir(destination.join("d")).unwrap();
    let backend = folding(&world, "destination");
    world.machine = world.elsewhere("cache-2");
    let mended = world.synced(&backend).await;
    assert_eq!(mended.changes.changed, 7, "what has a twin, and no more: {mended:?}");
    world.comes_back(&backend).await;
    is_quiet(&world).await;
    // Whoever comes next reads it from the snapshot, and sends nothing again.
    world.machine = world.elsewhere("cache-3");
    assert!(!world.synced(&backend).await.changes.any());
}

/// Copied by another tool from a disk that keeps names apart: one of each two is lost on the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_was_moved_onto_such_a_disk_is_mended() {
    let world = World::new();
    for (name, content) in [("A", "one"), ("a", "two, longer"), ("plain", "plain")] {
        world.write(name, content.as_bytes());
    }
    world.synced(&world.file("destination")).await;
    fs::rename(world.path("destination/a"), world.path("destination/A")).unwrap();
    let backend = folding(&world, "destination");
    let mended = world.synced(&backend).await;
    assert_eq!((mended.changes.changed, mended.changes.unchanged), (2, 1), "{mended:?}");
    world.comes_back(&backend).await;
    is_quiet(&world).await;
    // What the copy lost is lost for the snapshot of then.
    assert_eq!(wrong(&world, &backend).await, ["A: it has 11 bytes, not 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_writes_over_nothing_that_is_there_in_another_spelling() {
    let world = World::new();
    world.write("Photos/one", b"ours");
    fs::create_dir_all(world.path("destination/photos")).unwrap();
    fs::write(world.path("destination/photos/ONE"), b"somebody else's").unwrap();
    let refused = world.sync(&folding(&world, "destination")).await;
    assert_eq!(refused.exit, 4, "{refused:?}");
    assert_eq!(fs::read(world.path("destination/photos/ONE")).unwrap(), b"somebody else's");
}

#[derive(Debug)]
struct Made(&'static [u8]);

impl Source for Made {
    fn start(&self, to: Vec<Sender<DumpChunk>>, _: Arc<Stop>) {
        let content = self.0;
        tokio::spawn(async move {
            for to in &to {
                let _ = to.send(DumpChunk::Block(Bytes::from_static(content))).await;
                let _ = to.send(DumpChunk::End(Ok(()))).await;
            }
        });
    }
}

fn dump(content: &'static [u8]) -> Vec<Dump> {
    vec![Dump { path: RelPath::from("db.sql"), source: Arc::new(Made(content)), min_size: 1, max_shrink: None }]
}

async fn pulled(world: &World, backend: &Arc<dyn Backend>, at: u64) -> BTreeMap<String, Vec<u8>> {
    let target = format!("dumps-{at}-{:x}", fs::read_dir(world.dir.path()).unwrap().count());
    let options = PullOptions { at: Some(at.to_string()), ..PullOptions::default() };
    assert_eq!(world.pull(backend, &target, &options).await.unwrap().problems, Sample::default());
    let entries = fs::read_dir(world.path(&target)).unwrap().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_and_a_file_of_the_source_with_one_name() {
    let mut world = World::new();
    let backend = folding(&world, "destination");
    let file = |name: &str, content: &[u8]| (name.to_owned(), content.to_vec());
    // The file is there first, then the dump comes, then the file goes; and all of it stands in the history.
    world.write("Db.sql", b"a file");
    world.synced(&backend).await;
    world.options.dumps = dump(b"a dump");
    world.synced(&backend).await;
    assert_eq!(pulled(&world, &backend, 2).await, BTreeMap::from([file("Db.sql", b"a file"), file("db.sql", b"a dump")]));
    world.write("other", b"other");
    world.remove("Db.sql");
    world.options.dumps = dump(b"another dump");
    world.synced(&backend).await;
    assert_eq!(pulled(&world, &backend, 3).await, BTreeMap::from([file("other", b"other"), file("db.sql", b"another dump")]));
    world.write("DB.SQL", b"a file again");
    world.synced(&backend).await;
    let all = BTreeMap::from([file("other", b"other"), file("db.sql", b"another dump"), file("DB.SQL", b"a file again")]);
    assert_eq!(pulled(&world, &backend, 4).await, all);
    assert_eq!(pulled(&world, &backend, 2).await, BTreeMap::from([file("Db.sql", b"a file"), file("db.sql", b"a dump")]));
    assert_eq!(pulled(&world, &backend, 1).await, BTreeMap::from([file("Db.sql", b"a file")]));
    is_right(&world, &backend, "dumps").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_takes_the_name_of_a_file_that_goes() {
    let mut world = World::new();
    let backend = folding(&world, "destination");
    world.write("DB.sql", b"a file");
    world.write("stays", b"s");
    world.synced(&backend).await;
    world.remove("DB.sql");
    world.options.dumps = dump(b"a dump");
    world.synced(&backend).await;
    assert_eq!(pulled(&world, &backend, 2).await["db.sql"], b"a dump");
    assert_eq!(pulled(&world, &backend, 1).await["DB.sql"], b"a file");
}

async fn pull_onto(world: &World, backend: &Arc<dyn Backend>, target: &str, options: &PullOptions) -> engine::PullOutcome {
    let destination = opened(backend, &world.machine).await.unwrap();
    engine::pull_onto(destination, &world.path(target), folding_tree, options, &RunControl::new(1)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_onto_such_a_disk_lists_what_has_no_name_there() {
    let world = World::new();
    for (name, content) in [("A", "one"), ("a", "two"), ("Dir/f", "1"), ("dir/f", "2"), ("dir/g", "3"), (".Offsite-Pull/x", "x")] {
        world.write(name, content.as_bytes());
    }
    let (_, backend) = memory("pull");
    world.synced(&backend).await;
    let pulled = pull_onto(&world, &backend, "target", &PullOptions::default()).await;
    assert_eq!(pulled.exit, 3);
    let said: Vec<String> = pulled.problems.first().iter().map(|problem| problem.path.to_string()).collect();
    assert_eq!(said, [".Offsite-Pull/", ".Offsite-Pull/x", "a", "dir/", "dir/f", "dir/g"], "{pulled:?}");
    assert_eq!(fs::read(world.path("target/A")).unwrap(), b"one");
    assert_eq!(fs::read(world.path("target/Dir/f")).unwrap(), b"1");
    assert!(!world.path("target/Dir/g").exists() && !world.path("target/.offsite-pull").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_removes_does_not_remove_what_it_brought() {
    let world = World::new();
    let (_, backend) = memory("pull-case");
    world.write("Img", b"picture");
    world.write("Dir/f", b"f");
    world.synced(&backend).await;
    let options = PullOptions { delete: true, ..PullOptions::default() };
    pull_onto(&world, &backend, "target", &options).await;
    rename(&world, "Img", "iMG");
    rename(&world, "Dir", "dir");
    world.synced(&backend).await;
    let options = PullOptions { limits: world.options.limits, ..options };
    let pulled = pull_onto(&world, &backend, "target", &options).await;
    assert_eq!((pulled.exit, pulled.problems.total()), (0, 0), "{pulled:?}");
    same_trees(&world.source(), &world.path("target"));
}
