//! `check`: every kind of damage is found and named, and what is no damage is not called one.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use offsite::engine::{self, CheckOptions, CheckOutcome, Finding, Flaw, Note, RunControl};
use offsite::model::{KeepRules, Sample};
use offsite_backends::testing::{MemoryBackend, MemoryOptions};
use offsite_backends::{Backend, ErrorKind, Requests};

use crate::harness::*;

pub async fn check_with(world: &World, backend: &Arc<dyn Backend>, options: &CheckOptions) -> CheckOutcome {
    let destination = opened(backend, &world.machine).await.unwrap();
    engine::check_over(destination, &world.machine, options, &RunControl::new(1)).await.unwrap()
}

pub async fn check(world: &World, backend: &Arc<dyn Backend>) -> CheckOutcome {
    check_with(world, backend, &CheckOptions::default()).await
}

pub fn reading(share: f64) -> CheckOptions {
    CheckOptions { read_data: Some(share), ..CheckOptions::default() }
}

#[track_caller]
pub fn good(outcome: &CheckOutcome) {
    assert_eq!((outcome.exit, &outcome.findings), (0, &Vec::new()), "{outcome:?}");
    assert_eq!((outcome.missing, outcome.changed, outcome.damaged, &outcome.unread), (0, 0, 0, &Sample::default()), "{outcome:?}");
}

/// Flaw and path of each finding.
pub fn flaws(outcome: &CheckOutcome) -> Vec<(Flaw, String)> {
    outcome.findings.iter().map(|f: &Finding| (f.flaw, f.path.display())).collect()
}

fn flip(bucket: &MemoryBackend, key: &str) {
    let mut bytes = bucket.content(key).unwrap().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bucket.plant(key, bytes);
}

fn some(world: &World, files: usize) {
    for i in 0..files {
        world.write(&format!("{:02}/{i:04}", i % 20), format!("content of {i}").as_bytes());
    }
}

/// Names that are odd keys, one that sorts around `.offsite`, an empty file, a file of several parts.
fn every_kind(world: &World) {
    some(world, 60);
    for name in ["-before", "zz\ncontrol", ".offsite/own", "empty", "a/b", "a-b", "a.b"] {
        world.write(name, if name == "empty" { b"" } else { name.as_bytes() });
    }
    world.write("large", &vec![7; 20 << 20]);
    let _ = symlink("large", world.source().join("link"));
    fs::create_dir_all(world.source().join("hollow")).unwrap();
}

fn stores(world: &World) -> Vec<Arc<dyn Backend>> {
    let with = |name: &str, change: fn(&mut MemoryOptions)| {
        let mut options = MemoryOptions::default();
        change(&mut options);
        memory_with(name, options).1
    };
    vec![
        with("check-plain", |_| {}),
        with("check-versions", |o| o.versions = true),
        with("check-unordered", |o| o.unordered_listing = true),
        with("check-unordered-versions", |o| (o.unordered_listing, o.versions) = (true, true)),
        world.file("check-directory"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sync_left_is_good_on_every_store() {
    let world = World::new();
    for (index, backend) in stores(&world).into_iter().enumerate() {
        every_kind(&world);
        world.synced(&backend).await;
        world.write("00/0000", format!("another {index}").as_bytes());
        world.remove("a/b");
        world.write("large", &vec![8 + index as u8; 20 << 20]);
        world.synced(&backend).await;
        world.synced(&backend).await;
        for options in [CheckOptions::default(), reading(1.0), CheckOptions { at: Some("1".into()), ..reading(1.0) }] {
            let outcome = check_with(&world, &backend, &options).await;
            good(&outcome);
            assert_eq!((outcome.foreign, outcome.aside, outcome.touched), (0, 0, 0), "{outcome:?}");
            assert_eq!(outcome.snapshots, if options.at.is_some() { 1 } else { 3 });
            // Three contents of the first snapshot are there beside those of the newest.
            assert_eq!(outcome.contents, if options.at.is_some() { 68 } else { 67 + 3 }, "{outcome:?}");
        }
    }
}

/// A check of N objects costs the listing, the manifests, and nothing a content.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_for_a_content() {
    let world = World::new();
    let (_, backend) = memory("check-requests");
    some(&world, 500);
    world.synced(&backend).await;
    for (first, options) in [(true, CheckOptions::default()), (false, CheckOptions { no_record: true, ..CheckOptions::default() })] {
        let before = backend.meter().requests();
        good(&check_with(&world, &backend, &options).await);
        let after = backend.meter().requests();
        // The snapshots and everything are listed; snapshot, format, page and the record of the last check are read.
        let spent = (after.list - before.list, after.head - before.head, after.get - before.get, after.put - before.put);
        // The key files are listed and read with the format, and compared once more.
        let keys = 2 * u64::from(sealed());
        assert_eq!(spent, (2 + keys, 1, 4 + keys, u64::from(first)));
        let sum = Requests { list: 2 + keys, head: 1, get: 4 + keys, put: u64::from(first), ..Requests::default() };
        assert_eq!(after.total() - before.total(), sum.total());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_changed_and_foreign() {
    for unordered in [false, true] {
        let world = World::new();
        let (bucket, backend) = memory_with("check-flaws", MemoryOptions { unordered_listing: unordered, ..MemoryOptions::default() });
        every_kind(&world);
        world.synced(&backend).await;
        assert!(bucket.lose("01/0001"));
        bucket.plant("02/0002", b"cut".to_vec());
        flip(&bucket, "03/0003");
        bucket.plant("03/0003x", b"not ours".to_vec());
        bucket.plant(".offsite/kept/000000000001/x", b"left behind".to_vec());
        bucket.plant(".offsite/else", b"not ours".to_vec());
        let outcome = check(&world, &backend).await;
        assert_eq!(outcome.exit, 1);
        let want = [(Flaw::Missing, "01/0001"), (Flaw::Changed, "02/0002"), (Flaw::Changed, "03/0003")];
        assert_eq!(flaws(&outcome), want.map(|(flaw, path)| (flaw, path.to_owned())));
        assert_eq!((outcome.foreign, outcome.strays), (3, 1), "{:?}", outcome.foreign_listed);
        assert_eq!(outcome.notes.contains(&Note::ListingSorted), unordered, "{:?}", outcome.notes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_objects_alone_are_no_fault() {
    let world = World::new();
    let (bucket, backend) = memory("check-foreign");
    some(&world, 3);
    world.synced(&backend).await;
    bucket.plant("a//b", b"x".to_vec());
    let outcome = check(&world, &backend).await;
    good(&outcome);
    assert_eq!((outcome.foreign, outcome.foreign_bytes), (1, 1));
    assert!(bucket.content("a//b").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_no_listing_shows_is_found_by_reading() {
    let world = World::new();
    let backend = world.file("check-rot");
    every_kind(&world);
    world.synced(&backend).await;
    let path = world.path("check-rot/05/0005");
    let mtime = fs::metadata(&path).unwrap().modified().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, bytes).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(mtime).unwrap();
    good(&check(&world, &backend).await);
    let outcome = check_with(&world, &backend, &reading(1.0)).await;
    assert_eq!((flaws(&outcome), outcome.exit), (vec![(Flaw::Damaged, "05/0005".into())], 1));
    // What was found damaged is looked at by every check until it is not.
    assert_eq!(check(&world, &backend).await.damaged, 1);
    assert_eq!(check_with(&world, &backend, &reading(0.01)).await.damaged, 1);
    fs::copy(world.source().join("05/0005"), &path).unwrap();
    good(&check(&world, &backend).await);
    good(&check(&world, &backend).await);
}

/// Every content has its turn in 100/N runs, whoever makes them.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_sample_covers_everything_from_any_host() {
    let mut world = World::new();
    let (_, backend) = memory("check-rolling");
    some(&world, 200);
    world.synced(&backend).await;
    let mut read = 0;
    for run in 0..20 {
        world.machine = world.elsewhere(&format!("host-{run}"));
        let outcome = check_with(&world, &backend, &reading(0.05)).await;
        good(&outcome);
        assert!(outcome.recorded);
        let files = outcome.read.unwrap().files;
        assert!(files < 60, "run {run} read {files}");
        read += files;
    }
    assert!((200..=202).contains(&read), "{read}");
}

/// Where no record may be left the sample still moves on, on this machine.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_record_the_sample_goes_on_here() {
    let world = World::new();
    let (bucket, backend) = memory("check-unrecorded");
    some(&world, 100);
    world.synced(&backend).await;
    let mut read = 0;
    for _ in 0..4 {
        let outcome = check_with(&world, &backend, &CheckOptions { no_record: true, ..reading(0.25) }).await;
        assert!(!outcome.recorded);
        read += outcome.read.unwrap().files;
    }
    assert!((100..=101).contains(&read), "{read}");
    assert!(bucket.content(".offsite/check.json").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_takes_no_record_is_said_and_is_no_failure() {
    let world = World::new();
    let (_, inner) = memory("check-read-only");
    some(&world, 3);
    world.synced(&inner).await;
    let (script, backend) = faulty(&inner);
    script.script().fail_verb("put", 1, ErrorKind::Denied);
    let outcome = check(&world, &backend).await;
    good(&outcome);
    assert!(!outcome.recorded && matches!(outcome.notes[..], [Note::CheckUnrecorded(_)]), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_contents_pages_and_snapshots_of_older_snapshots() {
    for versions in [false, true] {
        let world = World::new();
        let (bucket, backend) = memory_with("check-history", MemoryOptions { versions, ..MemoryOptions::default() });
        some(&world, 30);
        for state in 0..4 {
            world.write("f", format!("state {state}").as_bytes());
            world.synced(&backend).await;
        }
        good(&check_with(&world, &backend, &reading(1.0)).await);
        if !versions {
            assert!(bucket.lose(".offsite/kept/000000000002/f"));
            let outcome = check(&world, &backend).await;
            assert_eq!(flaws(&outcome), [(Flaw::Missing, "f".to_owned())]);
            assert_eq!((outcome.findings[0].first_snapshot, outcome.findings[0].last_snapshot), (2, 2));
            assert_eq!(check_with(&world, &backend, &CheckOptions { at: Some("3".into()), ..CheckOptions::default() }).await.exit, 0);
            assert_eq!(check_with(&world, &backend, &CheckOptions { at: Some("2".into()), ..CheckOptions::default() }).await.exit, 1);
            flip(&bucket, ".offsite/kept/000000000001/f");
            assert_eq!(check_with(&world, &backend, &reading(1.0)).await.damaged, 1);
        }
        let pages: Vec<String> = bucket.keys().into_iter().filter(|k| k.starts_with(".offsite/pages/")).collect();
        let newest: serde_json::Value = serde_json::from_slice(&bucket.content(".offsite/snapshots/000000000004.json").unwrap()).unwrap();
        let own = newest["root"]["object"].as_str().unwrap();
        let old = pages.iter().find(|p| !p.contains(own)).unwrap();
        flip(&bucket, old);
        let outcome = check(&world, &backend).await;
        assert!(flaws(&outcome).contains(&(Flaw::Damaged, old.clone())), "{outcome:?}");
        flip(&bucket, ".offsite/snapshots/000000000002.json");
        let outcome = check(&world, &backend).await;
        assert!(flaws(&outcome).iter().any(|(f, p)| *f == Flaw::Damaged && p.contains("snapshots/000000000002")), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_pages_of_the_newest_manifest_and_format_json() {
    let world = World::new();
    let (bucket, backend) = memory("check-pages");
    some(&world, 3000);
    world.synced(&backend).await;
    let page = bucket.keys().into_iter().find(|k| k.starts_with(".offsite/pages/")).unwrap();
    let mut bytes = bucket.content(&page).unwrap().to_vec();
    bytes[100] ^= 1;
    bucket.plant(&page, bytes);
    bucket.plant(".offsite/format.json", b"{".to_vec());
    let outcome = check(&world, &backend).await;
    let page = page.trim_end_matches(".age").to_owned();
    assert_eq!(flaws(&outcome), [(Flaw::Damaged, ".offsite/format.json".to_owned()), (Flaw::Damaged, page)]);
    // Without all of the manifest nobody can say what is foreign.
    assert_eq!(outcome.foreign, 0);
    assert!(outcome.notes.contains(&Note::ForeignUncounted), "{outcome:?}");
}

/// A listing that ends early is an error; one that leaves something out is not believed.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_cut_short_is_no_verdict() {
    let world = World::new();
    let (bucket, inner) = memory("check-cut");
    some(&world, 20);
    world.synced(&inner).await;
    let (script, backend) = faulty(&inner);
    script.script().end_listing_early(2);
    let destination = opened(&backend, &world.machine).await.unwrap();
    assert!(engine::check_over(destination, &world.machine, &CheckOptions::default(), &RunControl::new(1)).await.is_err());
    assert!(bucket.content(".offsite/check.json").is_none());
}

/// A run that was cut off has put contents aside and others in their places: the last snapshot is whole all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cut_off_is_no_damage() {
    for tree in [false, true] {
        let world = World::new();
        let inner = if tree { world.file("check-interrupted") } else { memory("check-interrupted").1 };
        world.write("f", b"one");
        world.write("g", b"same");
        world.synced(&inner).await;
        world.write("f", b"two!");
        let (script, backend) = faulty(&inner);
        script.script().fail_verb("create", 2, ErrorKind::Full);
        assert_eq!(world.sync(&backend).await.exit, 1);
        let outcome = check(&world, &inner).await;
        good(&outcome);
        assert_eq!(outcome.aside, 1, "{outcome:?}");
        assert!(outcome.notes.contains(&Note::Unfinished), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_has_links_directories_and_times() {
    let world = World::new();
    let backend = world.file("check-tree");
    every_kind(&world);
    world.synced(&backend).await;
    let at = |name: &str| world.path("check-tree").join(name);
    fs::remove_file(at("link")).unwrap();
    symlink("elsewhere", at("link")).unwrap();
    fs::remove_dir(at("hollow")).unwrap();
    fs::remove_file(at("a-b")).unwrap();
    fs::create_dir(at("a-b")).unwrap();
    fs::write(at("01/0001"), "another 1!!!!").unwrap();
    let now = fs::File::options().write(true).open(at("02/0002")).unwrap();
    now.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    fs::write(at("new"), "not ours").unwrap();
    let outcome = check(&world, &backend).await;
    let want = [(Flaw::Changed, "a-b"), (Flaw::Missing, "hollow/"), (Flaw::Changed, "link")].map(|(f, p)| (f, p.to_owned()));
    let got = flaws(&outcome);
    assert!(want.iter().all(|w| got.contains(w)) && got.len() == 4, "{got:?}");
    assert!(got.iter().any(|(_, path)| path == "01/0001"), "{got:?}");
    assert_eq!((outcome.touched, outcome.foreign), (1, 1), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_three_and_what_cannot_be_reached_an_error() {
    let world = World::new();
    let (_, inner) = memory("check-denied");
    some(&world, 20);
    world.synced(&inner).await;
    let (script, backend) = faulty(&inner);
    // Snapshot, format, page, record, then the contents.
    script.script().fail_verb("get", 7, ErrorKind::Denied);
    let outcome = check_with(&world, &backend, &reading(1.0)).await;
    assert_eq!((outcome.exit, outcome.unread.total(), outcome.findings.len()), (3, 1, 0), "{outcome:?}");
    script.script().reset();
    script.script().fail_verb("get", 7, ErrorKind::Transient);
    let destination = opened(&backend, &world.machine).await.unwrap();
    assert!(engine::check_over(destination, &world.machine, &reading(1.0), &RunControl::new(1)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_prune_nothing_is_missed_and_nothing_left() {
    for versions in [false, true] {
        let world = World::new();
        let (_, backend) = memory_with("check-pruned", MemoryOptions { versions, ..MemoryOptions::default() });
        for state in 0..5 {
            world.write("f", format!("state {state}").as_bytes());
            world.write(&format!("only-{state}"), b"x");
            let _ = fs::remove_file(world.source().join(format!("only-{}", state - 1)));
            world.synced(&backend).await;
        }
        let rules = KeepRules { last: 2, ..KeepRules::default() };
        let destination = opened(&backend, &world.machine).await.unwrap();
        engine::prune_over(destination, &world.machine, &rules, false, &RunControl::new(1)).await.unwrap();
        let outcome = check_with(&world, &backend, &reading(1.0)).await;
        good(&outcome);
        assert_eq!((outcome.foreign, outcome.snapshots), (0, 2), "{:?}", outcome.foreign_listed);
    }
}

/// A bucket with versions hides what is deleted: its name is missing there, although a pull still finds the version.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_deleted_is_missing_although_its_version_is_there() {
    use object_store::ObjectStoreExt;
    let world = World::new();
    let (bucket, backend) = memory_with("check-hidden", MemoryOptions { versions: true, ..MemoryOptions::default() });
    some(&world, 5);
    world.synced(&backend).await;
    backend.store().delete(&"02/0002".into()).await.unwrap();
    let outcome = check(&world, &backend).await;
    assert_eq!(flaws(&outcome), [(Flaw::Missing, "02/0002".to_owned())]);
    assert!(outcome.findings[0].problem.contains("version"), "{outcome:?}");
    world.comes_back(&backend).await;
    bucket.plant("02/0002", b"content of 2".to_vec());
    assert_eq!(flaws(&check(&world, &backend).await), [(Flaw::Changed, "02/0002".to_owned())]);
}
