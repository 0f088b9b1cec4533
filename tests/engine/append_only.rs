//! Append-only mode: a run deletes nothing, whatever the source does, and every snapshot comes back. A later run or
//! prune that may delete leaves the destination as if everything had been deleted in time.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use offsite::engine::{self, Note, PruneOutcome, PullOptions, RunControl};
use offsite::error::{Failure, Hint, Result};
use offsite::model::{KeepRules, Sample};
use offsite_backends::testing::{Faulty, MemoryBackend, MemoryOptions};
use offsite_backends::{Backend, ErrorKind};

use crate::check::{check, good};
use crate::harness::*;
use crate::packed::objects::Objects;

/// The calls that need the right to delete.
const DELETES: [&str; 2] = ["delete", "delete_versions"];

/// A store, and the same store under credentials that may not delete.
pub struct Place {
    pub bucket: MemoryBackend,
    pub full: Arc<dyn Backend>,
    pub script: Arc<Faulty>,
    pub limited: Arc<dyn Backend>,
}

pub fn place(name: &str, options: MemoryOptions) -> Place {
    let (bucket, full) = memory_with(name, options);
    let (script, limited) = without_deletes(&full);
    Place { bucket, full, script, limited }
}

pub fn without_deletes(full: &Arc<dyn Backend>) -> (Arc<Faulty>, Arc<dyn Backend>) {
    let (script, limited) = faulty(full);
    for verb in DELETES.into_iter().chain(["abort_multipart"]) {
        script.script().refuse_verb(verb, ErrorKind::Denied);
    }
    (script, limited)
}

/// The kinds of stores in which a content that was replaced is elsewhere.
fn kinds() -> [(&'static str, MemoryOptions); 3] {
    let versions = MemoryOptions { versions: true, ..MemoryOptions::default() };
    let ignorant = MemoryOptions { ignore_conditions: true, ..MemoryOptions::default() };
    [("copies", MemoryOptions::default()), ("versions", versions), ("ignorant", ignorant)]
}

pub fn append_only(world: &mut World, backend: &Arc<dyn Backend>) {
    world.options.append_only = vec![backend.location().to_string()];
}

/// Remembers the tree of each snapshot.
pub fn remember(world: &World, number: u64) {
    let copy = world.path(&format!("was-{number}"));
    let _ = fs::remove_dir_all(&copy);
    let done = std::process::Command::new("cp").arg("-a").arg(world.source()).arg(copy).status().unwrap();
    assert!(done.success());
}

/// Pulls every snapshot that is there and compares it with what was remembered. Returns their numbers.
pub async fn all_come_back(world: &World, backend: &Arc<dyn Backend>, what: &str) -> Vec<u64> {
    let destination = opened(backend, &world.machine).await.unwrap();
    // A run that was killed early has no snapshot.
    let Ok(listing) = engine::snapshots_over(&destination.records).await else { return Vec::new() };
    let mut numbers: Vec<u64> = listing.snapshots.iter().map(|s| s.number).collect();
    numbers.sort_unstable();
    for number in &numbers {
        let options = PullOptions { at: Some(number.to_string()), ..PullOptions::default() };
        let pulled = world.pull(backend, "back", &options).await.unwrap();
        assert_eq!(pulled.problems, Sample::default(), "{what}: snapshot {number}");
        same_trees(&world.path(&format!("was-{number}")), &world.path("back"));
        fs::remove_dir_all(world.path("back")).unwrap();
    }
    numbers
}

/// The objects under their own names, and offsite's own except records and pages.
fn current(bucket: &MemoryBackend) -> BTreeSet<String> {
    let own = |key: &str| [".offsite/pages/", ".offsite/snapshots/"].iter().any(|own| key.starts_with(own));
    bucket.keys().into_iter().filter(|key| !own(key)).collect()
}

/// What must be there: the source, `format.json`, and kept contents. At a packed destination: the packs of all snapshots.
async fn is_tidy(world: &World, place: &Place) {
    let mut wanted: BTreeSet<String> = if layout().is_mirror() {
        let files = tree(&world.source()).into_iter().filter(|(_, facts)| facts.0 == 'f');
        files.map(|(path, _)| String::from_utf8(path).unwrap()).collect()
    } else {
        Objects::of(&place.full).await.named()
    };
    wanted.insert(".offsite/format.json".into());
    let besides = [".offsite/kept/", ".offsite/check.json", ".offsite/keys/"];
    let other = |key: &String| !besides.iter().any(|name| key.starts_with(name));
    let there: BTreeSet<String> = current(&place.bucket).into_iter().filter(other).collect();
    assert_eq!(there, wanted);
}

async fn prune(world: &World, backend: &Arc<dyn Backend>, last: u64) -> Result<PruneOutcome> {
    let rules = KeepRules { last, ..KeepRules::default() };
    let destination = opened(backend, &world.machine).await?;
    engine::prune_over(destination, &world.machine, &rules, false, &RunControl::new(1)).await
}

#[track_caller]
pub fn deletes_nothing(script: &Faulty) {
    let calls: Vec<_> = script.calls().into_iter().filter(|call| DELETES.contains(&call.verb)).collect();
    assert!(calls.is_empty(), "{calls:?}");
}

/// A path that is absent, or has one of two contents, by a digit.
fn set(world: &World, name: &str, digit: usize, step: usize) {
    let path = world.source().join(name);
    if digit == 0 {
        let _ = fs::remove_file(path);
    } else {
        // Of the same length, so that only reading tells them apart; and a content of each time, too.
        let content = if digit == 1 { format!("one of {name}") } else { format!("{step}wo of {name}") };
        world.write(name, content.as_bytes());
    }
}

/// Step `step` of all stories of four steps: each file is one of them.
fn stories(world: &World, step: usize) {
    for story in 0..81 {
        let digit = story / 3_usize.pow(u32::try_from(step).unwrap()) % 3;
        set(world, &format!("{}/{story:02}", story % 7), digit, step);
    }
    world.write("stays", b"it stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_of_adding_changing_and_removing() {
    for (name, options) in kinds() {
        let mut world = World::new();
        let place = place(name, options);
        append_only(&mut world, &place.limited);
        for step in 0..4 {
            stories(&world, step);
            let outcome = world.synced(&place.limited).await;
            remember(&world, outcome.snapshot.unwrap());
            assert_eq!(all_come_back(&world, &place.full, name).await.len(), step + 1);
            let checked = check(&world, &place.limited).await;
            good(&checked);
            assert_eq!((checked.foreign, checked.strays, &checked.notes), (0, 0, &Vec::<Note>::new()), "{name} {step}");
        }
        deletes_nothing(&place.script);
        // A run elsewhere that may delete does what was left, and so does not harm any snapshot.
        let elsewhere = World { machine: world.elsewhere("admin"), dir: world.dir, options: crate::harness::options() };
        let pruned = prune(&elsewhere, &place.full, 9).await.unwrap();
        assert_eq!((pruned.removed.len(), pruned.kept.len()), (0, 4));
        is_tidy(&elsewhere, &place).await;
        all_come_back(&elsewhere, &place.full, name).await;
        let checked = check(&elsewhere, &place.full).await;
        good(&checked);
        assert_eq!((checked.foreign, checked.strays), (0, 0), "{name}");
        // Two snapshots go with what only they need.
        assert_eq!(prune(&elsewhere, &place.full, 2).await.unwrap().removed, [1, 2]);
        assert_eq!(all_come_back(&elsewhere, &place.full, name).await, [3, 4]);
        let checked = check(&elsewhere, &place.full).await;
        good(&checked);
        assert_eq!((checked.foreign, checked.strays), (0, 0), "{name}");
    }
}

/// Three trees, one after the other: files come, change, move, go and come back; a file becomes a directory.
fn tree_of(world: &World, step: usize) {
    for (index, story) in ["110", "101", "102", "121", "011", "012", "210", "201"].iter().enumerate() {
        let digit = story.as_bytes()[step] - b'0';
        set(world, &format!("d{}/{story}", index % 2), usize::from(digit), step);
    }
    world.write("moves-0", b"a content that moves about");
    let moves = |from: &str, to: &str| fs::rename(world.source().join(from), world.source().join(to)).unwrap();
    match step {
        0 => {
            world.write("kind", b"a file now");
        }
        1 => {
            world.remove("kind");
            world.write("kind/in", b"a directory now");
            moves("moves-0", "moves-1");
        }
        _ => {
            fs::remove_dir_all(world.source().join("kind")).unwrap();
            world.write("kind", b"a file again");
            moves("moves-1", "moves-2");
        }
    }
}

struct Told {
    world: World,
    place: Place,
}

/// The world before the run of this step. All runs so far were append-only.
async fn told(name: &str, options: MemoryOptions, step: usize) -> Told {
    let mut world = World::new();
    let place = place(name, options);
    append_only(&mut world, &place.limited);
    for before in 0..step {
        tree_of(&world, before);
        let outcome = world.synced(&place.limited).await;
        remember(&world, outcome.snapshot.unwrap());
    }
    tree_of(&world, step);
    Told { world, place }
}

/// Kills the run of each step at each of its calls. Afterwards the source goes on, or back to what it was.
async fn killed_everywhere(name: &str, options: MemoryOptions, goes_back: bool) {
    for step in 0..3 {
        for n in 1.. {
            let what = format!("{name}, step {step}, call {n}, back: {goes_back}");
            let Told { mut world, place } = told(name, options, step).await;
            let (script, backend) = without_deletes(&place.full);
            script.script().stop_at(n);
            let broken = world.sync(&backend).await;
            let over = !script.script().is_stopped();
            deletes_nothing(&script);
            remember(&world, step as u64 + 1);
            all_come_back(&world, &place.full, &what).await;
            if goes_back && step > 0 && broken.snapshot.is_none() {
                fs::remove_dir_all(world.source()).unwrap();
                fs::rename(world.path(&format!("was-{step}")), world.source()).unwrap();
                remember(&world, step as u64);
            }
            let (script, backend) = without_deletes(&place.full);
            let outcome = world.synced(&backend).await;
            remember(&world, outcome.snapshot.unwrap());
            deletes_nothing(&script);
            good(&check(&world, &place.full).await);
            // The same machine may delete from now on.
            world.options.append_only.clear();
            let outcome = world.synced(&place.full).await;
            remember(&world, outcome.snapshot.unwrap());
            is_tidy(&world, &place).await;
            all_come_back(&world, &place.full, &what).await;
            let checked = check(&world, &place.full).await;
            good(&checked);
            // A copy that the killed run kept, and that nobody needs, stays as it does without the mode.
            let strays = if goes_back { checked.strays } else { 0 };
            assert_eq!((checked.foreign, checked.strays), (strays, strays), "{what}");
            if over {
                assert_eq!(broken.exit, 0, "{what}");
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call() {
    let [copies, versions, _] = kinds();
    killed_everywhere(copies.0, copies.1, false).await;
    killed_everywhere(versions.0, versions.1, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_and_gone_back() {
    let [copies, ..] = kinds();
    killed_everywhere(copies.0, copies.1, true).await;
}

/// To abort an upload takes a right of its own. Without it, the parts stay for a rule of the bucket.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_nobody_continues_is_aborted_if_that_is_allowed() {
    let mut left = 0;
    for (n, may_abort) in (1..).flat_map(|n| [(n, false), (n, true)]) {
        let mut world = World::new();
        let place = place("uploads", MemoryOptions::default());
        append_only(&mut world, &place.limited);
        world.write("a", b"a");
        world.synced(&place.limited).await;
        world.write("big", &vec![1; 9 << 20]);
        let (script, backend) = without_deletes(&place.full);
        script.script().stop_at(n);
        world.sync(&backend).await;
        world.remove("big");
        world.write("b", b"b");
        world.synced(if may_abort { &place.full } else { &place.limited }).await;
        let unfinished = place.bucket.unfinished_uploads();
        left += unfinished;
        assert!(!may_abort || unfinished == 0, "call {n}");
        assert_eq!(place.bucket.meter().requests().delete, 0);
        if !script.script().is_stopped() {
            break;
        }
    }
    assert!(left > 0, "no upload was cut off");
}

/// The cleanup of what was left is killed too. What is gone then was not needed, and the next one ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cleanup_that_is_killed_at_every_call() {
    for n in 1.. {
        let Told { mut world, place } = told("cleanup", MemoryOptions::default(), 2).await;
        let outcome = world.synced(&place.limited).await;
        remember(&world, outcome.snapshot.unwrap());
        world.options.append_only.clear();
        let (script, backend) = faulty(&place.full);
        script.script().stop_at(n);
        let broken = prune(&world, &backend, 9).await;
        let over = !script.script().is_stopped();
        all_come_back(&world, &place.full, &format!("call {n}")).await;
        world.write("more", b"more");
        let outcome = world.synced(&place.full).await;
        remember(&world, outcome.snapshot.unwrap());
        is_tidy(&world, &place).await;
        all_come_back(&world, &place.full, &format!("call {n}, then")).await;
        if over {
            broken.unwrap();
            break;
        }
    }
}

/// A list is only a hint: a hostile one takes nothing away that a snapshot or another program has under offsite's names.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_takes_away_nothing_that_the_newest_snapshot_names() {
    let Told { world, place } = told("hostile", MemoryOptions::default(), 1).await;
    let outcome = world.synced(&place.limited).await;
    remember(&world, outcome.snapshot.unwrap());
    let mut keys = place.bucket.keys();
    keys.retain(|key| !key.starts_with(".offsite/left/"));
    for (name, body) in [
        ("evil", serde_json::json!({ "keys": keys }).to_string()),
        ("twisted", r#"{"keys":["../x",".offsite","/",""]}"#.into()),
        ("broken", "{".into()),
        ("long", serde_json::json!({ "keys": vec!["x"; 5_000] }).to_string()),
    ] {
        place.bucket.plant(&format!(".offsite/left/{name}.json"), body);
    }
    let pruned = prune(&world, &place.full, 9).await;
    all_come_back(&world, &place.full, "hostile").await;
    pruned.unwrap();
    good(&check(&world, &place.full).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_costs() {
    let Told { world, place } = told("costs", MemoryOptions::default(), 1).await;
    world.synced(&place.limited).await;
    let before = place.limited.meter().requests();
    let outcome = world.synced(&place.limited).await;
    let after = place.limited.meter().requests();
    assert_eq!((after.list - before.list, after.put - before.put, after.total() - before.total()), (1, 1, 2), "{outcome:?}");
    world.write("stays", b"one more");
    let before = after;
    world.synced(&place.limited).await;
    let after = place.limited.meter().requests();
    // The content, its pages and the snapshot; the lease is read, taken and released.
    let spent = (after.put - before.put, after.list - before.list, after.get - before.get, after.delete - before.delete);
    assert_eq!(spent, (5, 2, 1, 0), "{after:?}");
    assert_eq!(place.bucket.meter().requests().delete, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_mode_a_refused_delete_names_it() {
    let world = World::new();
    let place = place("hint", MemoryOptions::default());
    world.write("a", b"a");
    let outcome = world.sync(&place.limited).await;
    assert_eq!((outcome.exit, outcome.failure.and_then(|failure| failure.hint)), (1, Some(Hint::AppendOnly)), "{:?}", outcome.error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_that_may_not_delete_says_so_and_holds_nobody_up() {
    let Told { mut world, place } = told("prune", MemoryOptions::default(), 2).await;
    world.synced(&place.limited).await;
    let error = prune(&world, &place.limited, 1).await.unwrap_err();
    assert_eq!(Failure::from(&error).hint, Some(Hint::AppendOnly), "{error}");
    // Another machine need not wait for the lease.
    world.machine = world.elsewhere("other");
    world.write("more", b"more");
    world.synced(&place.limited).await;
    assert_eq!(prune(&world, &place.full, 1).await.unwrap().removed.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_refused() {
    let mut world = World::new();
    let backend = world.file("destination");
    world.write("a", b"a");
    append_only(&mut world, &backend);
    let outcome = world.sync(&backend).await;
    assert_eq!(outcome.exit, 2, "{outcome:?}");
    assert!(outcome.error.unwrap().contains("a directory cannot be append-only"));
}

/// Without retention, too: the machine that prunes may keep more.
#[tokio::test(flavor = "multi_thread")]
async fn if_nothing_is_to_be_kept_everything_is() {
    let mut world = World::new();
    let place = place("nothing", MemoryOptions::default());
    append_only(&mut world, &place.limited);
    world.options.keep = KeepRules { within: Some(0), ..KeepRules::default() };
    for step in 0..3 {
        tree_of(&world, step);
        let outcome = world.synced(&place.limited).await;
        remember(&world, outcome.snapshot.unwrap());
        all_come_back(&world, &place.full, "nothing is kept").await;
    }
    deletes_nothing(&place.script);
    world.options.append_only.clear();
    world.write("more", b"more");
    let outcome = world.synced(&place.full).await;
    assert_eq!(outcome.snapshot, Some(4));
    is_tidy(&world, &place).await;
    world.comes_back(&place.full).await;
}

/// Programs that do not know of the mode take a lease over that says `interrupted`.
#[tokio::test(flavor = "multi_thread")]
async fn a_released_lease_reads_as_interrupted_and_another_machine_takes_it_over() {
    let Told { mut world, place } = told("lease", MemoryOptions::default(), 1).await;
    world.synced(&place.limited).await;
    let lease = Objects::of(&place.full).await.plain(".offsite/lease.json");
    let lease: serde_json::Value = serde_json::from_slice(&lease).unwrap();
    assert_eq!((&lease["interrupted"], &lease["released"]), (&true.into(), &true.into()), "{lease}");
    world.machine = world.elsewhere("other");
    world.write("more", b"more");
    let before = place.script.count();
    world.synced(&place.limited).await;
    // It was no interrupted run, so no upload is searched for and no content is looked at.
    let heads = place.script.calls()[usize::try_from(before).unwrap()..].iter().filter(|call| call.verb == "head").count();
    assert_eq!(heads, 1, "only the look past the last snapshot");
}
