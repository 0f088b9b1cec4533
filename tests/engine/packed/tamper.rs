//! What was tampered with at a packed destination: never wrong bytes, the check finds it and names the files, and a
//! repair brings the newest snapshot back from the source.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use offsite::engine::{self, CheckOutcome, Note, PullOptions, RepairOptions, RunControl};
use offsite_backends::Backend;
use offsite_backends::testing::MemoryBackend;

use super::objects::Objects;
use super::{begin, comes_back_at, copy_tree, many_pieces, noise};
use crate::check::{check, check_with, good, reading};
use crate::harness::*;
use crate::repair::{repair, repair_with};

/// The kinds of objects. Each has one that only the newest snapshot needs, and one of the first snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Format,
    Snapshot,
    Page,
    Content,
    List,
}

const KINDS: [Kind; 5] = [Kind::Format, Kind::Snapshot, Kind::Page, Kind::Content, Kind::List];

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    First,
    Middle,
    Last,
    Cut,
    Longer,
    Swapped,
    Older,
    Gone,
}

const HARMS: [Harm; 8] = [Harm::First, Harm::Middle, Harm::Last, Harm::Cut, Harm::Longer, Harm::Swapped, Harm::Older, Harm::Gone];

/// A destination with two snapshots.
struct Target {
    world: World,
    bucket: MemoryBackend,
    backend: Arc<dyn Backend>,
    /// Keys of the newest and of an older object.
    keys: BTreeMap<&'static str, (String, String)>,
}

fn tree(world: &World, state: u64) {
    for i in 0..10 {
        world.write(&format!("small/{i}"), &noise(100 * state + i, 2_000));
    }
    world.write("several", &many_pieces(10 + state, 3));
    world.write("listed", &[many_pieces(20 + state, 1), many_pieces(30, 34)].concat());
    world.write("stays", b"stays");
}

async fn target() -> Target {
    let world = World::packed();
    let (bucket, backend) = memory("tampered");
    begin(&world, &backend).await;
    tree(&world, 1);
    world.synced(&backend).await;
    copy_tree(&world.source(), &world.path("tree-1"));
    let first = Objects::of(&backend).await;
    tree(&world, 2);
    world.synced(&backend).await;
    copy_tree(&world.source(), &world.path("tree-2"));
    let second = Objects::of(&backend).await;
    let mut keys = BTreeMap::new();
    let of = |folder: &str| {
        let new: Vec<String> = second.0.keys().filter(|k| k.starts_with(folder) && !first.0.contains_key(*k)).cloned().collect();
        (new, first.0.keys().filter(|k| k.starts_with(folder)).cloned().collect::<Vec<_>>())
    };
    for (name, folder) in [("snapshot", ".offsite/snapshots/"), ("page", ".offsite/pages/")] {
        let (new, old) = of(folder);
        keys.insert(name, (new[0].clone(), old[0].clone()));
    }
    let (new, old) = of(".offsite/packs/");
    assert_eq!((new.len(), old.len()), (2, 2));
    // Lists are short.
    let by_size = |keys: &[String]| {
        let mut keys = keys.to_vec();
        keys.sort_by_key(|key| second.0[key].len());
        keys
    };
    let (new, old) = (by_size(&new), by_size(&old));
    keys.insert("list", (new[0].clone(), old[0].clone()));
    keys.insert("content", (new[1].clone(), old[1].clone()));
    Target { world, bucket, backend, keys }
}

impl Target {
    fn key(&self, kind: Kind) -> (String, String) {
        match kind {
            Kind::Format => (".offsite/format.json".into(), ".offsite/format.json".into()),
            Kind::Snapshot => self.keys["snapshot"].clone(),
            Kind::Page => self.keys["page"].clone(),
            Kind::Content => self.keys["content"].clone(),
            Kind::List => self.keys["list"].clone(),
        }
    }

    /// Harms an object of the newest snapshot. Returns its key, or nothing if the harm makes no sense.
    fn harm(&self, kind: Kind, harm: Harm) -> Option<String> {
        let (key, older) = self.key(kind);
        let content = self.bucket.content(&key).unwrap();
        let flip = |at: usize| {
            let mut bytes = content.to_vec();
            bytes[at] ^= 0x04;
            Some(Bytes::from(bytes))
        };
        let new = match harm {
            Harm::First => flip(0),
            Harm::Middle => flip(content.len() / 2),
            Harm::Last => flip(content.len() - 1),
            Harm::Cut => Some(content.slice(..content.len() / 2)),
            Harm::Longer => Some([&content[..], b"more"].concat().into()),
            Harm::Swapped => match kind {
                Kind::Content => self.bucket.content(&self.key(Kind::List).0),
                Kind::List => self.bucket.content(&self.key(Kind::Content).0),
                _ => return None,
            },
            Harm::Older if kind == Kind::Format => return None,
            Harm::Older => self.bucket.content(&older),
            Harm::Gone => None,
        };
        match new {
            Some(new) => drop(self.bucket.plant(&key, new)),
            None => assert!(self.bucket.lose(&key)),
        }
        Some(key)
    }

    /// Pulls on a machine that knows nothing. What came is right, and what did not is named. Whether all of the newest
    /// snapshot came.
    async fn pulled(&self, about: &str) -> bool {
        let (to, cache) = (self.world.path("pulled"), self.world.elsewhere("pulling"));
        let pulled = match opened(&self.backend, &cache).await {
            Ok(destination) => engine::pull_over(destination, &to, &PullOptions::default(), &RunControl::new(1)).await,
            Err(error) => Err(error),
        };
        let _ = fs::remove_dir_all(&cache.cache_dir);
        let Ok(pulled) = pulled else {
            let _ = fs::remove_dir_all(&to);
            return false;
        };
        let want = crate::harness::tree(&self.world.path(&format!("tree-{}", pulled.snapshot)));
        let came = crate::harness::tree(&to);
        for (path, facts) in &came {
            // A directory gets its time last, and not if it is not whole.
            let same = want.get(path).is_some_and(|want| (want.0, want.1, &want.5) == (facts.0, facts.1, &facts.5));
            assert!(same, "{about}: {} is not what it was", String::from_utf8_lossy(path));
        }
        let missing = want.keys().filter(|path| !came.contains_key(*path)).count() as u64;
        let named = pulled.problems.total();
        assert!(missing == 0 || pulled.exit == 3 && named > 0, "{about}: {missing} are missing: {pulled:?}");
        assert!(missing > 0 || pulled.exit == 0, "{about}: {pulled:?}");
        fs::remove_dir_all(&to).unwrap();
        missing == 0 && pulled.snapshot == 2
    }

    async fn checked(&self, read: bool) -> Result<CheckOutcome, String> {
        let cache = self.world.elsewhere("checking");
        let destination = opened(&self.backend, &cache).await.map_err(|error| error.to_string());
        let options = if read { reading(1.0) } else { engine::CheckOptions::default() };
        let checked = match destination {
            Ok(destination) => engine::check_over(destination, &cache, &options, &RunControl::new(1)).await.map_err(|e| e.to_string()),
            Err(error) => Err(error),
        };
        let _ = fs::remove_dir_all(&cache.cache_dir);
        checked
    }
}

/// The files of the newest snapshot that have something in such an object.
fn concerned(kind: Kind) -> Vec<String> {
    match kind {
        Kind::Content => (0..10).map(|i| format!("small/{i}")).chain(["several".into(), "listed".into()]).collect(),
        Kind::List => vec!["listed".into()],
        _ => Vec::new(),
    }
}

/// What a check calls an object.
fn shown(key: &str) -> &str {
    key.trim_end_matches(".age")
}

/// A check with all contents read finds it, and says which files of the newest snapshot are concerned.
async fn found(target: &Target, kind: Kind, key: &str, about: &str) {
    let key = shown(key);
    match target.checked(true).await {
        // The newest snapshot is not there, or it is not that one: nobody can tell by the destination alone.
        Ok(outcome) if outcome.snapshot == 1 => assert_eq!(kind, Kind::Snapshot, "{about}"),
        Ok(outcome) => {
            assert_eq!(outcome.exit, 1, "{about}: {outcome:?}");
            let paths: Vec<String> = outcome.findings.iter().map(|finding| finding.path.display()).collect();
            let want = concerned(kind);
            if kind == Kind::Snapshot {
                // One whose text is not what it was names pages that are not there.
                return;
            }
            if want.is_empty() {
                assert!(
                    paths.iter().any(|path| path == key) || outcome.findings.iter().any(|f| f.problem.contains(key)),
                    "{about}: {outcome:?}"
                );
                return;
            }
            for path in want {
                let finding = outcome.findings.iter().find(|finding| finding.path.display() == path);
                assert!(finding.is_some_and(|finding| finding.problem.contains(key)), "{about}: {path}: {outcome:?}");
            }
        }
        Err(error) => assert!(error.contains(".offsite/"), "{about}: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_harm_to_every_object_is_found_and_healed() {
    let mut seen = 0;
    let target = target().await;
    let all: BTreeMap<String, Bytes> =
        target.bucket.keys().into_iter().map(|key| (key.clone(), target.bucket.content(&key).unwrap())).collect();
    copy_tree(&target.world.path("cache"), &target.world.path("cache-before"));
    for kind in KINDS {
        for harm in HARMS {
            let about = format!("{kind:?}, {harm:?}");
            let Some(key) = target.harm(kind, harm) else { continue };
            seen += 1;
            let whole = target.pulled(&about).await;
            // A pull does not read `format.json`, nor what was added behind an object or in front of its first frame.
            let unread = kind == Kind::Format || [Harm::Longer, Harm::First].contains(&harm);
            // A text in a snapshot that nothing depends on can be another one. This machine knows its hash.
            let text = kind == Kind::Snapshot && [Harm::Middle].contains(&harm);
            assert!(!whole || unread || text, "{about}: all came back");
            // Nothing reads what is behind the last page of an object.
            if !(kind == Kind::Snapshot && whole || kind == Kind::Page && harm == Harm::Longer) {
                found(&target, kind, &key, &about).await;
            }
            if kind != Kind::Snapshot {
                healed(&target, kind, &about).await;
            }
            restore(&target, &all);
        }
    }
    println!("tamper matrix{}: {seen} cases", if sealed() { ", sealed" } else { "" });
    assert_eq!(seen, KINDS.len() * HARMS.len() - 4);
}

/// A repair makes the newest snapshot whole.
async fn healed(target: &Target, kind: Kind, about: &str) {
    let world = &target.world;
    let options = RepairOptions { read_data: Some(1.0), ..RepairOptions::default() };
    let outcome = repair_with(world, &target.backend, &options).await.unwrap_or_else(|error| panic!("{about}: {error}"));
    assert_eq!(outcome.exit, 0, "{about}: {outcome:?}");
    assert!(outcome.lost.is_empty(), "{about}: {outcome:?}");
    let newest = Objects::of(&target.backend).await.snapshots().last().copied().unwrap();
    comes_back_at(world, &world.elsewhere("healed"), &target.backend, newest, &world.source(), about).await;
    fs::remove_dir_all(world.path("healed")).unwrap();
    let again = check_with(world, &target.backend, &reading(1.0)).await;
    let old = again.findings.iter().all(|finding| finding.last_snapshot < newest);
    assert!(old && again.unread.is_empty(), "{about}: {again:?}");
    // What the older snapshots have lost is told as long as they are there, and `kind` says whether they have.
    assert!(kind != Kind::Format || again.exit == 0, "{about}: {again:?}");
    assert!(!world.synced(&target.backend).await.changes.any(), "{about}");
}

/// The destination and this machine as they were.
fn restore(target: &Target, all: &BTreeMap<String, Bytes>) {
    for key in target.bucket.keys() {
        if !all.contains_key(&key) {
            target.bucket.lose(&key);
        }
    }
    for (key, content) in all {
        if target.bucket.content(key).as_ref() != Some(content) {
            target.bucket.plant(key, content.clone());
        }
    }
    let cache = target.world.path("cache");
    fs::remove_dir_all(&cache).unwrap();
    copy_tree(&target.world.path("cache-before"), &cache);
}

/// A pack that is missing or cut is found by the listing alone.
#[tokio::test(flavor = "multi_thread")]
async fn missing_and_short_packs_are_found_without_reading() {
    for kind in [Kind::Content, Kind::List] {
        for harm in [Harm::Gone, Harm::Cut] {
            let target = target().await;
            let key = shown(&target.harm(kind, harm).unwrap()).to_owned();
            let outcome = target.checked(false).await.unwrap();
            assert_eq!(outcome.exit, 1, "{kind:?}, {harm:?}: {outcome:?}");
            let named: Vec<String> = outcome.findings.iter().filter(|f| f.problem.contains(&key)).map(|f| f.path.display()).collect();
            for path in concerned(kind) {
                assert!(named.contains(&path), "{kind:?}, {harm:?}: {path} is not among {named:?}");
            }
        }
    }
}

/// A pack with two files is harmed, a repair finds one of them in the source, and the other comes back later.
async fn comes_back_later(harm: Harm, back: impl Fn(&World)) {
    let world = World::packed();
    let (bucket, backend) = memory("lost");
    world.write("one", &noise(1, 5_000));
    world.write("two", &noise(2, 5_000));
    world.synced(&backend).await;
    let key = bucket.keys().into_iter().find(|key| key.starts_with(".offsite/packs/")).unwrap();
    if harm == Harm::Gone {
        bucket.lose(&key);
    } else {
        // Damages the only frame.
        let mut bytes = bucket.content(&key).unwrap().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bucket.plant(&key, bytes);
    }
    fs::rename(world.source().join("two"), world.path("two")).unwrap();
    let options = RepairOptions { read_data: Some(1.0), ..RepairOptions::default() };
    let outcome = repair_with(&world, &backend, &options).await.unwrap();
    assert_eq!((outcome.exit, outcome.lost.len(), outcome.repaired), (1, 1, 1), "{outcome:?}");
    back(&world);
    world.synced(&backend).await;
    let pulled = world.pull(&backend, "back", &PullOptions::default()).await.unwrap();
    assert_eq!((pulled.exit, pulled.problems.total()), (0, 0), "{harm:?}: {pulled:?}");
    same_trees(&world.source(), &world.path("back"));
}

/// It is sent, and not taken from the pack that is known to be wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_content_that_comes_back_as_a_new_file_is_sent_again() {
    for harm in [Harm::Gone, Harm::Middle] {
        comes_back_later(harm, |world| world.write("three", &noise(2, 5_000))).await;
        comes_back_later(harm, |world| fs::rename(world.path("two"), world.source().join("three")).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_content_that_comes_back_under_its_name_is_sent_again() {
    for harm in [Harm::Gone, Harm::Middle] {
        comes_back_later(harm, |world| fs::rename(world.path("two"), world.source().join("two")).unwrap()).await;
        comes_back_later(harm, |world| world.write("two", &noise(2, 5_000))).await;
    }
}

/// A repair on a machine that has lost its index, where a list is damaged: the list need not be read for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_list_is_healed_without_an_index() {
    for harm in [Harm::Gone, Harm::Middle] {
        let target = target().await;
        target.harm(Kind::List, harm).unwrap();
        for cache in fs::read_dir(target.world.path("cache")).unwrap() {
            let _ = fs::remove_dir_all(cache.unwrap().path().join("pieces"));
        }
        healed(&target, Kind::List, &format!("{harm:?}")).await;
    }
}

/// A sync on such a machine does not need the damaged list either: what it does not know it sends.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_without_an_index_needs_no_list() {
    let target = target().await;
    target.harm(Kind::List, Harm::Gone).unwrap();
    for cache in fs::read_dir(target.world.path("cache")).unwrap() {
        let _ = fs::remove_dir_all(cache.unwrap().path().join("pieces"));
    }
    target.world.write("new", b"new");
    let outcome = target.world.sync(&target.backend).await;
    assert_eq!((outcome.exit, outcome.snapshot), (0, Some(3)), "{outcome:?}");
}

/// Packs of older snapshots that are wrong are told by their keys and do not count as lost files of the newest.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_of_an_older_snapshot_is_told_as_that() {
    let target = target().await;
    let (_, older) = target.key(Kind::List);
    assert!(target.bucket.lose(&older));
    assert!(target.pulled("the newest").await);
    let outcome = target.checked(false).await.unwrap();
    let told: Vec<_> = outcome.findings.iter().map(|f| (f.path.display(), f.first_snapshot, f.last_snapshot)).collect();
    assert_eq!(told, [(shown(&older).to_owned(), 1, 1)], "{outcome:?}");
    let outcome = repair(&target.world, &target.backend).await;
    assert_eq!((outcome.exit, outcome.repaired, outcome.lost.len()), (1, 0, 1), "{outcome:?}");
}

/// Retention deletes a snapshot and its packs while it is pulled.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_expires_during_a_pull_is_said_to() {
    let target = target().await;
    let destination = opened(&target.backend, &target.world.machine).await.unwrap();
    let (bucket, content) = (target.bucket.clone(), target.key(Kind::Content).0);
    let expire = |tree| {
        bucket.keys().iter().filter(|key| key.starts_with(".offsite/snapshots/")).for_each(|key| assert!(bucket.lose(key)));
        assert!(bucket.lose(&content));
        tree
    };
    let to = target.world.path("expired");
    let pulled = engine::pull_onto(destination, &to, expire, &PullOptions::default(), &RunControl::new(1)).await.unwrap();
    assert_eq!((pulled.exit, &pulled.notes[..]), (3, &[Note::SnapshotPruned(2)][..]), "{pulled:?}");
    assert_eq!(pulled.problems.total() as usize, concerned(Kind::Content).len(), "{pulled:?}");
}

/// What is right is said to be right, on every store and after changes.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_tampered_with_is_good() {
    let target = target().await;
    for options in [engine::CheckOptions::default(), reading(1.0)] {
        let outcome = check_with(&target.world, &target.backend, &options).await;
        good(&outcome);
        assert_eq!((outcome.foreign, outcome.strays, outcome.snapshots), (0, 0, 2), "{outcome:?}");
    }
    let directory = target.world.file("directory");
    target.world.synced(&directory).await;
    good(&check(&target.world, &directory).await);
    // An object of somebody else is foreign, and a pack that nothing names is too.
    target.bucket.plant(".offsite/packs/ab/else", b"not ours".to_vec());
    let outcome = check(&target.world, &target.backend).await;
    assert_eq!((outcome.exit, outcome.foreign), (0, 1), "{outcome:?}");
}
