//! Repacking: packs that the newest snapshot hardly uses are emptied from the source, and go with the last snapshot that
//! names them. Nothing is downloaded, nothing is lost, and no pack comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use chrono::TimeDelta;
use offsite::engine::{
    self, Destination, KeyRing, Machine, Outcome, PacksInUse, PlanReport, PullOptions, ReportOptions, RunControl, SealWish,
};
use offsite::model::{KeepRules, Sample, Zone};
use offsite::plan::Prices;
use offsite::seal::Identity;
use offsite_backends::testing::{MemoryBackend, MemoryOptions};
use offsite_backends::{Backend, Requests};

use super::objects::Objects;
use super::{comes_back_at, copy_tree, exact, last, many_pieces, noise, prune};
use crate::append_only::{append_only, deletes_nothing, place};
use crate::harness::*;
use crate::requests::spent;

/// Bytes of a small file here.
const SIZE: usize = 9_000;

/// A packed destination whose clock the test sets.
pub struct Calendar {
    pub world: World,
    pub bucket: MemoryBackend,
    pub backend: Arc<dyn Backend>,
    day: i64,
    history: History,
    /// What each snapshot must bring back.
    trees: BTreeMap<u64, String>,
}

/// The packs that snapshots named, in the order of the snapshots.
#[derive(Debug, Default)]
pub struct History {
    seen: BTreeSet<String>,
    before: BTreeSet<String>,
}

impl History {
    /// A pack belongs to consecutive snapshots: one that the last snapshot did not name never comes back.
    #[track_caller]
    pub fn add(&mut self, named: BTreeSet<String>, about: &str) {
        let back: Vec<_> = named.iter().filter(|pack| self.seen.contains(*pack) && !self.before.contains(*pack)).collect();
        assert!(back.is_empty(), "{about}: packs came back: {back:?}");
        self.seen.extend(named.iter().cloned());
        self.before = named;
    }
}

impl Calendar {
    fn new(name: &str) -> Self {
        let (bucket, backend) = memory(name);
        let mut world = World::packed();
        world.options.keep = KeepRules { within: Some(400 * 86_400), ..KeepRules::default() };
        Self { world, bucket, backend, day: 0, history: History::default(), trees: BTreeMap::new() }
    }

    fn later(&mut self, days: i64) {
        self.day += days;
        self.bucket.set_clock_offset(TimeDelta::days(self.day));
    }

    fn files(&self, numbers: std::ops::Range<u64>, generation: u64) {
        for i in numbers {
            self.world.write(&format!("{:02}/{i:03}", i % 4), &noise(generation * 1_000 + i, SIZE));
        }
    }

    /// A run that must come out clean, whose snapshot is remembered.
    async fn run(&mut self) -> Outcome {
        let backend = Arc::clone(&self.backend);
        let outcome = self.world.synced(&backend).await;
        self.remember().await;
        outcome
    }

    async fn remember(&mut self) {
        let objects = Objects::of(&self.backend).await;
        let Some(number) = objects.snapshots().last().copied() else { return };
        if self.trees.contains_key(&number) {
            return;
        }
        let name = format!("was-{number}");
        copy_tree(&self.world.source(), &self.world.path(&name));
        self.trees.insert(number, name);
        self.history.add(objects.named_by(number), &format!("snapshot {number}"));
    }

    /// Every snapshot that is there comes back.
    async fn all_come_back(&self, about: &str) {
        for number in Objects::of(&self.backend).await.snapshots() {
            comes_back_at(&self.world, &self.world.machine, &self.backend, number, &self.world.path(&self.trees[&number]), about).await;
        }
    }

    async fn plan(&self) -> PlanReport {
        let opened = vec![(self.backend.location().to_string(), Ok(Arc::clone(&self.backend)))];
        let control = RunControl::new(1);
        engine::plan_over(&self.world.machine, &self.world.source(), opened, &self.world.options, &control, None).await.remove(0)
    }

    /// Forty files in one pack, of which ten are left a minute later.
    async fn mostly_dead(name: &str) -> Self {
        let mut calendar = Self::new(name);
        calendar.files(0..40, 0);
        calendar.run().await;
        calendar.files(10..40, 1);
        calendar.run().await;
        calendar
    }
}

async fn newest(backend: &Arc<dyn Backend>) -> (Objects, u64) {
    let objects = Objects::of(backend).await;
    let newest = objects.snapshots().last().copied().unwrap();
    (objects, newest)
}

/// `since` of every file.
fn since(objects: &Objects, snapshot: u64) -> BTreeMap<String, u64> {
    let files = objects.entries(snapshot).into_iter().filter(|entry| !entry["content"].is_null());
    files.map(|entry| (entry["path"].to_string(), entry["content"]["since"].as_u64().unwrap())).collect()
}

/// What a report says of the packs.
async fn packs_in_use(calendar: &Calendar) -> Option<PacksInUse> {
    let destination = Destination::over(Arc::clone(&calendar.backend), &calendar.world.machine).unwrap();
    let options = ReportOptions { list: false, by_directory: false, prices: Prices::shipped().unwrap() };
    engine::report_over(&destination, None, &options).await.unwrap().rows[0].packs
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hardly_used_pack_is_emptied_from_the_source_and_goes_with_its_snapshots() {
    let mut calendar = Calendar::mostly_dead("emptied").await;
    let objects = Objects::of(&calendar.backend).await;
    let first = objects.named_by(1);
    // Of both packs, the newest snapshot uses all but thirty files.
    let packs = packs_in_use(&calendar).await.unwrap();
    assert_eq!((packs.packs, packs.bytes), (2, objects.pack_bytes()));
    let used = packs.bytes - 30 * SIZE as u64;
    assert!(packs.used.abs_diff(used) < 500, "{packs:?}, {used}");
    assert_eq!(calendar.plan().await.repack, None, "within the first day");
    calendar.later(1);
    let planned = calendar.plan().await;
    let repack = planned.repack.unwrap();
    assert_eq!((repack.packs, repack.files, planned.changes.changed), (1, 10, 0), "{planned:?}");
    assert!((90_000..95_000).contains(&repack.bytes), "{repack:?}");
    assert_eq!(calendar.plan().await.repack, Some(repack), "a plan notes nothing");

    let before = calendar.backend.meter().requests();
    let outcome = calendar.world.synced(&calendar.backend).await;
    assert_eq!(spent(&*calendar.backend, before).get, 0, "nothing is downloaded");
    calendar.remember().await;
    let repack = outcome.repack.unwrap();
    assert_eq!((repack.packs, repack.files, repack.bytes), (1, 10, 10 * SIZE as u64));
    assert_eq!((outcome.changes.changed, outcome.changes.metadata, outcome.changes.unchanged), (0, 0, 44), "{outcome:?}");
    let (objects, number) = newest(&calendar.backend).await;
    assert!(objects.named_by(number).is_disjoint(&first));
    assert_eq!(since(&objects, number), since(&objects, 2), "the contents are the same");
    exact(&objects, "repacked");
    calendar.all_come_back("repacked").await;

    // Nothing is left to repack, so the next day is like any other day without a change.
    calendar.later(1);
    let before = calendar.backend.meter().requests();
    assert_eq!(calendar.world.synced(&calendar.backend).await.repack, None);
    calendar.trees.insert(4, "was-3".into());
    assert_eq!(spent(&*calendar.backend, before), Requests { list: 1, put: 1, ..Requests::default() });
    prune(&calendar.world, &calendar.backend, &last(1)).await.unwrap();
    let objects = Objects::of(&calendar.backend).await;
    exact(&objects, "pruned");
    assert!(objects.pack_bytes() < 41 * SIZE as u64, "{}", objects.pack_bytes());
    calendar.world.comes_back(&calendar.backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_against_the_wish_not_too_early_and_not_for_more_than_the_guard_allows() {
    let mut calendar = Calendar::mostly_dead("wishes").await;
    let url = calendar.backend.location().to_string();
    calendar.later(1);
    calendar.world.options.repack_after = vec![(url.clone(), None)];
    assert_eq!(calendar.plan().await.repack, None);
    assert_eq!(calendar.run().await.repack, None, "it is switched off");
    calendar.world.options.repack_after = vec![(url, Some(30))];
    for days in [1, 20] {
        calendar.later(days);
        assert_eq!(calendar.run().await.repack, None, "the pack is billed for 30 days");
    }
    calendar.later(10);
    calendar.world.options.limits.max_bytes = Some(5 * SIZE as u64);
    assert_eq!(calendar.run().await.repack, None, "--max-bytes");
    calendar.later(1);
    calendar.world.options.limits.max_bytes = None;
    calendar.world.options.limits.max_cost = Some(0.000_02);
    assert_eq!(calendar.run().await.repack, None, "--max-cost");
    calendar.later(1);
    calendar.world.options.limits.max_cost = None;
    assert_eq!(calendar.run().await.repack.map(|repack| repack.files), Some(10));
    calendar.all_come_back("at last").await;
}

/// A refused run has not looked, and neither has one that failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_does_not_commit_puts_nothing_off() {
    let mut calendar = Calendar::mostly_dead("refused").await;
    calendar.later(1);
    calendar.world.options.limits.removals = 0.1;
    fs::rename(calendar.world.source().join("01"), calendar.world.path("away")).unwrap();
    let refused = calendar.world.sync(&calendar.backend).await;
    assert_eq!((refused.exit, refused.repack), (4, None));
    fs::rename(calendar.world.path("away"), calendar.world.source().join("01")).unwrap();
    let (script, backend) = faulty(&calendar.backend);
    script.script().fail_verb("create", 2, offsite_backends::ErrorKind::Denied);
    assert_eq!(calendar.world.sync(&backend).await.repack, None);
    assert_eq!(calendar.run().await.repack.map(|repack| repack.packs), Some(1));
    exact(&Objects::of(&calendar.backend).await, "after a failed run");
}

/// Runs `change` between the scan of a run and its reads.
async fn while_it_waits(calendar: &Calendar, change: impl FnOnce()) -> Outcome {
    let (script, backend) = faulty(&calendar.backend);
    // Its first call is the look for the newest snapshot, and its second the lease.
    script.script().pause_at(2);
    let wake = async {
        while !script.script().is_paused() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        change();
        script.script().go_on();
    };
    tokio::join!(calendar.world.sync(&backend), wake).0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_keeps_its_place() {
    let mut calendar = Calendar::mostly_dead("unread").await;
    let first = Objects::of(&calendar.backend).await.named_by(1);
    calendar.later(1);
    let (file, away) = (calendar.world.source().join("01/001"), calendar.world.path("away"));
    let (directory, modified) = (fs::File::open(file.parent().unwrap()).unwrap(), fs::metadata(file.parent().unwrap()).unwrap());
    let outcome = while_it_waits(&calendar, || fs::rename(&file, &away).unwrap()).await;
    fs::rename(&away, &file).unwrap();
    directory.set_modified(modified.modified().unwrap()).unwrap();
    assert_eq!((outcome.exit, outcome.unread.total(), outcome.vanished.total()), (0, 0, 0), "{outcome:?}");
    assert_eq!((outcome.repack.unwrap().files, outcome.changes.unchanged, outcome.changes.removed), (9, 44, 0), "{outcome:?}");
    calendar.remember().await;
    assert!(Objects::of(&calendar.backend).await.named_by(3).is_superset(&first), "the pack lives on");
    calendar.all_come_back("one file could not be read").await;
    // Another file with the content of one that is still there: it may use the pack, which was named all the time.
    calendar.later(1);
    fs::copy(&file, calendar.world.source().join("copy")).unwrap();
    // Its inode changed by the renames, so the run reads it in any case.
    assert_eq!(calendar.run().await.repack.map(|repack| (repack.packs, repack.files)), Some((1, 0)));
    let (objects, number) = newest(&calendar.backend).await;
    assert!(objects.named_by(number).is_disjoint(&first));
    exact(&objects, "read at last");
    calendar.all_come_back("read at last").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_meanwhile_is_an_ordinary_change() {
    let mut calendar = Calendar::mostly_dead("meanwhile").await;
    calendar.later(1);
    let outcome = while_it_waits(&calendar, || calendar.world.write("01/001", &noise(77, 500))).await;
    assert_eq!((outcome.exit, outcome.changes.changed, outcome.changes.unchanged), (0, 1, 43), "{outcome:?}");
    calendar.remember().await;
    calendar.all_come_back("changed meanwhile").await;
    exact(&Objects::of(&calendar.backend).await, "changed meanwhile");
}

/// Of a large file only what is in a retired pack is sent again. A renamed file keeps its place.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_large_file_only_its_pieces_in_that_pack_are_sent() {
    let mut calendar = Calendar::new("large");
    let (front, back) = (many_pieces(2, 1), many_pieces(3, 34));
    calendar.world.write("large", &back);
    calendar.world.write("renamed", &noise(8, SIZE));
    calendar.run().await;
    // A pack with one piece of the file, and much that goes.
    calendar.world.write("large", &[&front[..], &back].concat());
    calendar.world.write("filler", &noise(9, 3 * front.len()));
    calendar.run().await;
    calendar.world.remove("filler");
    calendar.run().await;
    calendar.later(1);
    let outcome = calendar.run().await;
    let repack = outcome.repack.unwrap();
    assert_eq!((repack.files, repack.bytes), (1, front.len() as u64), "{outcome:?}");
    let (objects, number) = newest(&calendar.backend).await;
    // The packs of the second run had the piece and the list.
    let second: BTreeSet<String> = objects.named_by(2).difference(&objects.named_by(1)).cloned().collect();
    let left: Vec<_> = objects.named_by(number).intersection(&second).cloned().collect();
    assert!(left.len() <= 1, "{left:?}");
    exact(&objects, "of a large file");
    calendar.all_come_back("of a large file").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_packs_become_one() {
    let mut calendar = Calendar::new("small");
    for i in 0..66 {
        calendar.world.write(&format!("{i}"), &noise(i, 700));
        calendar.run().await;
    }
    calendar.later(1);
    let outcome = calendar.run().await;
    assert_eq!(outcome.repack.map(|repack| (repack.packs, repack.files)), Some((66, 66)), "{outcome:?}");
    let (objects, number) = newest(&calendar.backend).await;
    assert_eq!(objects.named_by(number).len(), 1);
    exact(&objects, "put together");
    calendar.later(1);
    assert_eq!(calendar.run().await.repack, None);
}

/// A machine that lost its cache, or another one, lists the packs once and does the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_knows_nothing_lists_the_packs() {
    let mut calendar = Calendar::mostly_dead("lost").await;
    fs::remove_dir_all(calendar.world.path("cache")).unwrap();
    assert_eq!(calendar.run().await.repack, None, "the last run was today");
    fs::remove_dir_all(calendar.world.path("cache")).unwrap();
    calendar.later(1);
    let outcome = calendar.run().await;
    assert_eq!(outcome.repack.map(|repack| (repack.packs, repack.files)), Some((1, 10)), "{outcome:?}");
    exact(&Objects::of(&calendar.backend).await, "on another machine");
    calendar.all_come_back("on another machine").await;
}

/// Another machine writes after a run that repacks was killed at any call, or the same one does. The packs of the killed
/// run go, and none that left a snapshot comes back.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call() {
    async fn told(n: Option<u64>, elsewhere: bool) -> u64 {
        let mut calendar = Calendar::mostly_dead("killed").await;
        let first = Objects::of(&calendar.backend).await.named_by(1);
        // A large file with a list takes its time, so another machine does without.
        let pieces = if elsewhere { 3 } else { 34 };
        calendar.world.write("large", &many_pieces(5, pieces));
        calendar.world.synced(&calendar.backend).await;
        calendar.world.write("large", &[many_pieces(6, 1), many_pieces(5, pieces)].concat());
        calendar.world.write("filler", &noise(6, 500_000));
        calendar.world.synced(&calendar.backend).await;
        calendar.world.remove("filler");
        calendar.run().await;
        prune(&calendar.world, &calendar.backend, &last(1)).await.unwrap();
        calendar.later(2);
        calendar.world.write("new", &noise(4, SIZE));
        calendar.files(9..10, 5);
        let about = format!("killed at {n:?}, then another machine: {elsewhere}");
        let (script, backend) = faulty(&calendar.backend);
        if let Some(n) = n {
            script.script().stop_at(n);
        }
        let outcome = calendar.world.sync(&backend).await;
        let calls = script.count();
        calendar.remember().await;
        calendar.all_come_back(&about).await;
        if n.is_none() {
            assert_eq!(outcome.repack.map(|repack| (repack.packs, repack.files)), Some((2, 10)), "{outcome:?}");
            exact(&Objects::of(&calendar.backend).await, "not killed");
            return calls;
        }
        if elsewhere {
            calendar.world.machine = calendar.world.elsewhere("second");
            // The lease of the killed run has run out.
            calendar.later(2);
        }
        calendar.files(8..9, 6);
        calendar.run().await;
        calendar.later(2);
        calendar.run().await;
        calendar.all_come_back(&about).await;
        let (objects, number) = newest(&calendar.backend).await;
        objects.nothing_is_missing(&about);
        assert!(objects.named_by(number).is_disjoint(&first), "{about}: not repacked in the end");
        // Without its journal nobody knows the packs of the killed run.
        if !elsewhere {
            exact(&objects, &about);
        }
        0
    }
    let calls = told(None, false).await;
    assert!(calls >= 8, "{calls}");
    for n in 1..=calls {
        told(Some(n), false).await;
        told(Some(n), true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_may_not_delete_repacks_too() {
    let mut calendar = Calendar::new("append-only");
    let place = place("append-only", MemoryOptions::default());
    (calendar.bucket, calendar.backend) = (place.bucket.clone(), Arc::clone(&place.limited));
    append_only(&mut calendar.world, &place.limited);
    calendar.files(0..40, 0);
    calendar.run().await;
    calendar.files(10..40, 1);
    calendar.run().await;
    calendar.later(1);
    assert_eq!(calendar.run().await.repack.map(|repack| (repack.packs, repack.files)), Some((1, 10)));
    deletes_nothing(&place.script);
    calendar.all_come_back("repacked").await;
    let first = Objects::of(&place.full).await.named_by(1);
    let world = World { machine: calendar.world.elsewhere("admin"), dir: calendar.world.dir, options: World::packed().options };
    prune(&world, &place.full, &last(1)).await.unwrap();
    let objects = Objects::of(&place.full).await;
    exact(&objects, "pruned elsewhere");
    assert!(objects.packs().is_disjoint(&first));
    world.comes_back(&place.full).await;
}

/// A tree of which every day one file in a hundred changes, with seven daily and four weekly snapshots.
#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_changes_takes_at_most_twice_the_room() {
    const FILES: u64 = 600;
    const BYTES: usize = 60_000;
    const DAYS: u64 = 200;
    let mut calendar = Calendar::new("year");
    calendar.world.options.keep = KeepRules { daily: 7, weekly: 4, zone: Zone::named("UTC").unwrap(), ..KeepRules::default() };
    let name = |file: u64| format!("{:02}/{file:04}", file % 20);
    let mut seeds: Vec<u64> = (0..FILES).collect();
    seeds.iter().for_each(|seed| calendar.world.write(&name(*seed), &noise(*seed, BYTES)));
    let backend = Arc::clone(&calendar.backend);
    let (mut states, mut repacked) = (BTreeMap::new(), 0);
    for day in 0..=DAYS {
        let outcome = calendar.world.synced(&backend).await;
        repacked += outcome.repack.map_or(0, |repack| repack.bytes);
        states.insert(outcome.snapshot.unwrap(), seeds.clone());
        if day == DAYS {
            break;
        }
        calendar.later(1);
        for change in 0..FILES / 100 {
            let seed = (day + 1) * FILES + change;
            let file = u64::from_le_bytes(*blake3::hash(&seed.to_le_bytes()).as_bytes().first_chunk().unwrap()) % FILES;
            seeds[file as usize] = seed;
            calendar.world.write(&name(file), &noise(seed, BYTES));
        }
    }
    let objects = Objects::of(&backend).await;
    exact(&objects, "after a year");
    let (living, stored) = (FILES * BYTES as u64, objects.pack_bytes());
    let (times, daily) = (stored as f64 / living as f64, repacked as f64 / (DAYS * living) as f64 * 100.0);
    println!("a year: {times:.2} times the living bytes in {} packs, {daily:.2} % of them sent again a day", objects.packs().len());
    assert!(stored <= 2 * living, "{times:.2}");
    assert!((8..=11).contains(&objects.snapshots().len()), "{:?}", objects.snapshots());
    for number in objects.snapshots() {
        let at = PullOptions { at: Some(number.to_string()), ..PullOptions::default() };
        let pulled = calendar.world.pull(&backend, "pulled", &at).await.unwrap();
        assert_eq!(pulled.problems, Sample::default());
        for (file, seed) in states[&number].iter().enumerate() {
            let there = fs::read(calendar.world.path("pulled").join(name(file as u64))).unwrap();
            assert!(there == noise(*seed, BYTES), "snapshot {number}, {file}");
        }
        fs::remove_dir_all(calendar.world.path("pulled")).unwrap();
    }
}

/// The host has no key that opens contents, and repacks all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_destination_is_repacked_without_an_identity() {
    let mut calendar = Calendar::new("sealed-repack");
    let identity = Identity::random().unwrap();
    fs::write(calendar.world.path("owner"), format!("{}\n", *identity.reveal())).unwrap();
    let to = vec![identity.recipient().to_string()];
    calendar.world.options.seal = Some(SealWish { to, only_key: true, ..SealWish::default() });
    calendar.world.machine.keys.dir = Some(calendar.world.path("keys"));
    let packs = |calendar: &Calendar| calendar.bucket.keys().into_iter().filter(|key| key.contains("/packs/")).count();
    calendar.files(0..40, 0);
    calendar.world.synced(&calendar.backend).await;
    calendar.files(10..40, 1);
    calendar.world.synced(&calendar.backend).await;
    calendar.later(1);
    let outcome = calendar.world.synced(&calendar.backend).await;
    assert_eq!(outcome.repack.map(|repack| (repack.packs, repack.files)), Some((1, 10)));
    calendar.later(1);
    assert_eq!(calendar.world.synced(&calendar.backend).await.repack, None, "padding is no room to win");
    assert_eq!(packs(&calendar), 3);
    let mut destination = Destination::over(Arc::clone(&calendar.backend), &calendar.world.machine).unwrap();
    destination.unlock(&calendar.world.machine.keys).await.unwrap();
    engine::prune_over(destination, &calendar.world.machine, &last(1), false, &RunControl::new(1)).await.unwrap();
    assert_eq!(packs(&calendar), 2);
    let keys = KeyRing { identities: vec![calendar.world.path("owner")], ..KeyRing::default() };
    let owner = Machine { keys, ..calendar.world.elsewhere("owner-cache") };
    let mut destination = Destination::over(Arc::clone(&calendar.backend), &owner).unwrap();
    destination.unlock(&owner.keys).await.unwrap();
    let target = calendar.world.path("back");
    let pulled = engine::pull_over(destination, &target, &PullOptions::default(), &RunControl::new(1)).await.unwrap();
    assert_eq!(pulled.problems, Sample::default());
    same_trees(&calendar.world.source(), &target);
}
