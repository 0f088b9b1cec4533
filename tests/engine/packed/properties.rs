//! Whatever happens to a tree, every snapshot that is kept brings back what the tree was, and retention keeps the packs
//! that these snapshots name and no other.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use offsite_backends::Backend;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::objects::Objects;
use super::repack::History;
use super::{comes_back_at, copy_tree, exact, last, many_pieces, noise, prune};
use crate::harness::*;

/// Runs so many cases, the same each time.
pub fn each_case<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value))
where
    S::Value: Debug,
{
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 40, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    runner
        .run(&strategy, |value| {
            test(value);
            Ok(())
        })
        .unwrap();
}

/// What happens between two runs, to files with these numbers.
#[derive(Debug, Clone)]
enum Edit {
    /// A new content of so many bytes.
    Write(u8, u64, usize),
    /// Pieces in the front change, and the rest stays.
    Grow(u8, u64, usize),
    Overwrite(u8, u64),
    Remove(u8),
    Rename(u8, u8),
    Duplicate(u8, u8),
    Touch(u8),
}

/// What happens to what this machine knows.
#[derive(Debug, Clone)]
enum Known {
    Stays,
    IndexLost,
    IndexDamaged(usize),
    CacheLost,
}

#[derive(Debug, Clone)]
struct Day {
    edits: Vec<Edit>,
    known: Known,
    /// How many snapshots retention keeps afterwards.
    keep: Option<u64>,
}

/// Days with up to six edits of twelve files, or with many edits of a few small ones whose contents come back.
fn days() -> impl Strategy<Value = Vec<Day>> {
    days_of((0..12, 0..40), 0..200_000, 0..6, 2..9)
}

fn busy_days() -> impl Strategy<Value = Vec<Day>> {
    days_of((0..8, 0..9), 15_000..15_002, 2..9, 6..12)
}

fn days_of(
    (file, seed): (Range<u8>, Range<u64>),
    sizes: Range<usize>,
    edits: Range<usize>,
    count: Range<usize>,
) -> impl Strategy<Value = Vec<Day>> {
    let edit = prop_oneof![
        4 => (file.clone(), seed.clone(), sizes).prop_map(|(file, seed, size)| Edit::Write(file, seed, size)),
        1 => (file.clone(), seed.clone(), 2..40usize).prop_map(|(file, seed, pieces)| Edit::Grow(file, seed, pieces)),
        2 => (file.clone(), seed).prop_map(|(file, seed)| Edit::Overwrite(file, seed)),
        2 => file.clone().prop_map(Edit::Remove),
        2 => (file.clone(), file.clone()).prop_map(|(from, to)| Edit::Rename(from, to)),
        2 => (file.clone(), file.clone()).prop_map(|(from, to)| Edit::Duplicate(from, to)),
        1 => file.prop_map(Edit::Touch),
    ];
    let known = prop_oneof![
        5 => Just(Known::Stays),
        1 => Just(Known::IndexLost),
        1 => any::<usize>().prop_map(Known::IndexDamaged),
        1 => Just(Known::CacheLost),
    ];
    let keep = proptest::option::of(1..4u64);
    let day = (vec(edit, edits), known, keep).prop_map(|(edits, known, keep)| Day { edits, known, keep });
    vec(day, count)
}

fn name(file: u8) -> String {
    format!("{}/{file}", ["a", "b/c", "d"][usize::from(file % 3)])
}

fn apply(world: &World, edit: &Edit) {
    let path = |file: u8| world.source().join(name(file));
    let exists = |file: u8| path(file).exists();
    match *edit {
        Edit::Write(file, seed, size) => world.write(&name(file), &noise(seed, size)),
        Edit::Grow(file, seed, pieces) => world.write(&name(file), &[many_pieces(seed, 1), many_pieces(7, pieces)].concat()),
        Edit::Overwrite(file, seed) if exists(file) => {
            let mut content = fs::read(path(file)).unwrap();
            let (at, change) = (content.len() / 2, noise(seed, 100));
            content.splice(at..content.len().min(at + 100), change);
            fs::write(path(file), content).unwrap();
        }
        Edit::Remove(file) if exists(file) => fs::remove_file(path(file)).unwrap(),
        Edit::Rename(from, to) if exists(from) => {
            fs::create_dir_all(path(to).parent().unwrap()).unwrap();
            fs::rename(path(from), path(to)).unwrap();
        }
        Edit::Duplicate(from, to) if exists(from) && from != to => {
            let content = fs::read(path(from)).unwrap();
            world.write(&name(to), &content);
        }
        Edit::Touch(file) if exists(file) => {
            let open = fs::File::options().write(true).open(path(file)).unwrap();
            open.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)).unwrap();
        }
        _ => {}
    }
}

/// The files of the index of the only destination.
fn index_files(world: &World) -> Vec<PathBuf> {
    let caches = fs::read_dir(world.path("cache")).into_iter().flatten().map(|entry| entry.unwrap().path().join("pieces"));
    let files = caches.filter_map(|dir| fs::read_dir(dir).ok()).flatten().map(|entry| entry.unwrap().path());
    files.collect()
}

fn befall(world: &World, known: &Known) {
    match known {
        Known::Stays => {}
        Known::IndexLost => index_files(world).iter().for_each(|path| fs::remove_file(path).unwrap()),
        Known::IndexDamaged(at) => {
            let mut files = index_files(world);
            files.sort();
            let Some(path) = files.get(at % files.len().max(1)) else { return };
            let mut bytes = fs::read(path).unwrap();
            if !bytes.is_empty() {
                let at = at / 7 % bytes.len();
                bytes[at] ^= 0x10;
                fs::write(path, bytes).unwrap();
            }
        }
        Known::CacheLost => drop(fs::remove_dir_all(world.path("cache"))),
    }
}

/// `clock` sets the number of the day at a store that has one. There a run repacks every day.
async fn story(days: &[Day], backend: &Arc<dyn Backend>, world: &World, clock: impl Fn(usize)) -> u64 {
    let (mut trees, mut history, mut repacked) = (BTreeMap::new(), History::default(), 0);
    for (index, day) in days.iter().enumerate() {
        clock(index);
        day.edits.iter().for_each(|edit| apply(world, edit));
        befall(world, &day.known);
        let outcome = world.synced(backend).await;
        let number = outcome.snapshot.unwrap();
        let tree = world.path(&format!("tree-{number}"));
        copy_tree(&world.source(), &tree);
        trees.insert(number, tree);
        repacked += outcome.repack.map_or(0, |repack| repack.packs);
        let objects = Objects::of(backend).await;
        exact(&objects, &format!("day {index}, before retention"));
        history.add(objects.named_by(number), &format!("day {index}"));
        if let Some(keep) = day.keep {
            prune(world, backend, &last(keep)).await.unwrap();
        }
        let objects = Objects::of(backend).await;
        exact(&objects, &format!("day {index}, after retention"));
        for number in objects.snapshots() {
            comes_back_at(world, &world.machine, backend, number, &trees[&number], &format!("day {index}")).await;
        }
    }
    repacked
}

#[test]
fn every_kept_snapshot_comes_back_and_retention_is_exact() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    each_case(14, days(), |days| {
        runtime.block_on(async {
            let world = World::packed();
            if days.len() % 3 == 0 {
                story(&days, &world.file("destination"), &world, |_| ()).await;
            } else {
                story_by_day(&days, &world).await;
            }
        });
    });
}

/// Every run is a day after the one before, and may repack.
async fn story_by_day(days: &[Day], world: &World) -> u64 {
    let (bucket, backend) = memory("property");
    story(days, &backend, world, |day| bucket.set_clock_offset(chrono::TimeDelta::days(day as i64))).await
}

#[test]
fn the_same_where_much_changes_and_is_repacked() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let repacked = std::cell::Cell::new(0);
    each_case(8, busy_days(), |days| {
        runtime.block_on(async { repacked.set(repacked.get() + story_by_day(&days, &World::packed()).await) });
    });
    println!("packs repacked: {}", repacked.get());
    assert!(repacked.get() >= 5, "{}", repacked.get());
}

/// Another kind of damage each time.
fn harm_file(path: &Path, number: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = (number * 4_001 + 11) % bytes.len();
    bytes[at] ^= 1;
    match number % 5 {
        0..3 => fs::write(path, bytes).unwrap(),
        3 => fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
        _ => fs::remove_file(path).unwrap(),
    }
}

/// An index that is lost or damaged changes nothing but what is sent, wherever the damage is.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_damaged_anywhere_does_no_harm() {
    let world = World::packed();
    let (_, backend) = memory("index");
    for i in 0..400 {
        world.write(&format!("{:02}/{i}", i % 9), &noise(i, 300));
    }
    world.write("several", &many_pieces(1, 6));
    world.write("listed", &many_pieces(2, 34));
    world.synced(&backend).await;
    let mut harmed = 0;
    for round in 0..24 {
        let mut files = index_files(&world);
        files.sort();
        // Where damage was met the index is gone, and the next run makes it anew.
        if !files.is_empty() {
            harm_file(&files[harmed % files.len()], harmed);
            harmed += 1;
        }
        // Most of these pieces are known, whatever the index says.
        fs::rename(world.source().join("several"), world.source().join("moved")).unwrap();
        world.write("several", &[many_pieces(100 + round as u64, 1), many_pieces(1, 6)].concat());
        world.write("listed", &[many_pieces(200 + round as u64, 1), many_pieces(2, 34)].concat());
        world.write(&format!("copy-{round}"), &noise(round as u64, 300));
        world.synced(&backend).await;
        if round % 4 == 3 {
            world.comes_back(&backend).await;
        }
        fs::remove_file(world.source().join("moved")).unwrap();
    }
    assert!(harmed >= 10, "{harmed}");
    world.synced(&backend).await;
    world.comes_back(&backend).await;
    exact(&Objects::of(&backend).await, "many times damaged");
}
