//! The order of writes, rule by rule, as the first section of `docs/format.md` has it.
//!
//! What each test looks at is the log of storage calls, so it holds for every store.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use offsite::engine::{self, PullOptions, RunControl};
use offsite::model::KeepRules;
use offsite_backends::ErrorKind;
use offsite_backends::testing::{Call, MemoryBackend};

use crate::harness::*;

pub const LEASE: &str = ".offsite/lease.json";
pub const WRITES: [&str; 7] = ["put", "create", "update", "delete", "copy_exact", "complete_multipart", "delete_versions"];

pub fn writes(calls: &[Call]) -> Vec<Call> {
    calls.iter().filter(|c| WRITES.contains(&c.verb)).cloned().collect()
}

/// Where the first call with this verb and a key that begins so stands.
#[track_caller]
pub fn at(calls: &[Call], verb: &str, key: &str) -> usize {
    let found = calls.iter().position(|c| c.verb == verb && c.key.starts_with(key));
    found.unwrap_or_else(|| panic!("no {verb} of {key} in {calls:#?}"))
}

pub fn last(calls: &[Call], verb: &str, key: &str) -> usize {
    calls.iter().rposition(|c| c.verb == verb && c.key.starts_with(key)).unwrap()
}

/// Two states; answers the calls that brought the second one over.
async fn second_run(world: &World, name: &str) -> (MemoryBackend, Vec<Call>) {
    let (bucket, inner) = memory(name);
    world.write("changed", b"one");
    world.write("gone", b"to be removed");
    world.write("same", b"same");
    world.synced(&inner).await;
    world.write("changed", b"two!");
    world.write("new", b"new");
    world.remove("gone");
    let (script, backend) = faulty(&inner);
    world.synced(&backend).await;
    (bucket, script.calls())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_comes_first_and_goes_last() {
    let (_, calls) = second_run(&World::new(), "lease-first").await;
    let writes = writes(&calls);
    assert_eq!((writes[0].verb, writes[0].key.as_str()), ("create", named(LEASE).as_str()));
    let end = writes.last().unwrap();
    assert_eq!((end.verb, end.key.as_str()), ("delete", named(LEASE).as_str()));
    assert!(!WRITES.contains(&calls[0].verb));
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_lease_the_snapshots_are_listed_again() {
    let (_, calls) = second_run(&World::new(), "looked-again").await;
    let lease = at(&calls, "create", LEASE);
    let next = calls.iter().skip(lease + 1).position(|c| WRITES.contains(&c.verb)).unwrap() + lease + 1;
    let listed = |part: &[Call]| part.iter().any(|c| c.verb == "list" && c.key == ".offsite/snapshots");
    assert!(listed(&calls[..lease]) && listed(&calls[lease + 1..next]), "{calls:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_is_kept_before_it_is_replaced_or_removed() {
    let (bucket, calls) = second_run(&World::new(), "kept-first").await;
    assert!(at(&calls, "copy_exact", "changed") < at(&calls, "update", "changed"));
    assert!(at(&calls, "copy_exact", "gone") < at(&calls, "delete", "gone"));
    for key in ["changed", "gone"] {
        assert!(bucket.content(&format!(".offsite/kept/000000000001/{key}")).is_some(), "{key}");
    }
}

/// So the put of a writer that was stopped, which comes to the store after another one's commit, changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_content_is_put_only_over_the_one_that_is_known() {
    let (_, calls) = second_run(&World::new(), "conditions").await;
    let verbs = |key: &str| calls.iter().filter(|c| c.key == key && c.verb != "copy_exact").map(|c| c.verb).collect::<Vec<_>>();
    assert_eq!((verbs("changed"), verbs("new")), (vec!["update"], vec!["create"]));
}

/// Another program replaced one and made another; a run that was cut off may have done so as well.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_as_known_is_looked_at_and_then_replaced() {
    let world = World::new();
    let (bucket, inner) = memory("not-as-known");
    world.write("changed", b"one");
    world.write("lost", b"one");
    world.synced(&inner).await;
    bucket.plant("changed", "of another program");
    bucket.plant("new", "of another program");
    bucket.lose("lost");
    for path in ["changed", "lost", "new"] {
        world.write(path, b"two!");
    }
    let (script, backend) = faulty(&inner);
    world.synced(&backend).await;
    let calls = script.calls();
    let verbs = |key: &str| calls.iter().filter(|c| c.key == key && c.verb != "copy_exact").map(|c| c.verb).collect::<Vec<_>>();
    assert_eq!(verbs("changed"), ["update", "head", "update"]);
    assert_eq!(verbs("lost"), ["update", "head", "create"]);
    assert_eq!(verbs("new"), ["create", "head", "update"]);
    world.comes_back(&inner).await;
}

/// The end of an upload in parts and a copy at the store are puts like any other.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_and_a_copy_is_made_only_over_what_is_known() {
    let world = World::new();
    let (bucket, inner) = memory("over-what-is-known");
    world.write("big", &vec![1; 9 << 20]);
    world.write("old name", b"renamed");
    world.synced(&inner).await;
    // "old name" is copied to its new name and to where its old version is kept; each is refused at first.
    let second = async |plant: bool| {
        let (script, backend) = faulty(&inner);
        if plant {
            for key in ["big", "new name", ".offsite/kept/000000000001/old name"] {
                bucket.plant(key, "of a writer that went on meanwhile");
            }
        }
        world.synced(&backend).await;
        let calls = script.calls();
        let of = |verbs: &[&str], key: &str| {
            calls.iter().filter(|c| c.key == key && verbs.contains(&c.verb)).map(|c| c.verb).collect::<Vec<_>>()
        };
        (of(&["complete_multipart", "head"], "big"), of(&["head"], "new name"), of(&["copy_exact"], "old name"))
    };
    world.write("big", &vec![2; 9 << 20]);
    std::fs::rename(world.source().join("old name"), world.source().join("new name")).unwrap();
    assert_eq!(second(true).await, (vec!["complete_multipart", "head", "complete_multipart"], vec!["head"], vec!["copy_exact"; 4]));
    assert!(bucket.content(".offsite/kept/000000000001/old name").is_some_and(|kept| kept == b"renamed".as_slice()));
    world.comes_back(&inner).await;
    world.write("big", &vec![3; 9 << 20]);
    assert_eq!(second(false).await.0, ["complete_multipart"]);
    world.comes_back(&inner).await;
}

/// SeaweedFS does so where other keys lie below it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_calls_there_and_does_not_have_is_put_all_the_same() {
    let world = World::new();
    let (_, inner) = memory("called-there");
    world.write("same", b"same");
    world.synced(&inner).await;
    world.write("new", b"new");
    let (script, backend) = faulty(&inner);
    // The first one is the lease's.
    script.script().fail_verb("create", 2, ErrorKind::Exists);
    world.synced(&backend).await;
    let verbs: Vec<_> = script.calls().iter().filter(|c| c.key == "new").map(|c| c.verb).collect();
    assert_eq!(verbs, ["create", "head", "put"]);
    world.comes_back(&inner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_then_pages_then_the_snapshot() {
    let (_, calls) = second_run(&World::new(), "snapshot-last").await;
    let pages = at(&calls, "put", ".offsite/pages/");
    let contents: Vec<_> = calls.iter().enumerate().filter(|(_, c)| WRITES[..3].contains(&c.verb) && !c.key.starts_with('.')).collect();
    assert_eq!(contents.len(), 2);
    assert!(contents.iter().all(|(at, _)| *at < pages), "{calls:#?}");
    assert!(last(&calls, "copy_exact", "") < pages);
    assert!(last(&calls, "put", ".offsite/pages/") < at(&calls, "create", ".offsite/snapshots/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_come_after_the_commit_and_a_look_at_the_lease() {
    let (_, calls) = second_run(&World::new(), "deletes-last").await;
    let commit = at(&calls, "create", ".offsite/snapshots/");
    let first = calls.iter().position(|c| c.verb == "delete").unwrap();
    let looked = calls.iter().rposition(|c| c.verb == "get" && c.key == LEASE).unwrap();
    assert!(commit < looked && looked < first, "{calls:#?}");
}

/// Whoever took the lease over may count on what the run that lost it would have deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_deletes_nothing() {
    let world = World::new();
    let (bucket, inner) = memory("lost-lease");
    for i in 0..5 {
        world.write(&format!("{i}"), b"x");
    }
    world.synced(&inner).await;
    world.remove("3");
    let (script, backend) = faulty(&inner);
    script.script().delay(Duration::from_millis(100));
    let taker = async {
        while bucket.content(".offsite/snapshots/000000000002.json").is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let text = String::from_utf8(bucket.content(LEASE).unwrap().to_vec()).unwrap();
        let mut lease: serde_json::Value = serde_json::from_str(&text).unwrap();
        lease["run"] = "somebody else's".into();
        bucket.plant(LEASE, lease.to_string());
    };
    let (outcome, ()) = tokio::join!(world.sync(&backend), taker);
    assert_eq!((outcome.snapshot, outcome.exit), (Some(2), 3), "{outcome:?}");
    assert!(outcome.warnings.iter().any(offsite::engine::Warning::is_unfinished), "{outcome:?}");
    assert!(bucket.content("3").is_some());
}

/// Snapshots, `format.json` and the lease are put create-only; pages have the hash of their bytes for a name.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_once_is_not_written_again() {
    let world = World::new();
    let (bucket, inner) = memory("once");
    let (script, backend) = faulty(&inner);
    for state in 0..4 {
        world.write("f", format!("{state}").as_bytes());
        world.synced(&backend).await;
    }
    world.synced(&backend).await;
    let calls = writes(&script.calls());
    for prefix in [".offsite/snapshots/", ".offsite/format.json", ".offsite/pages/"] {
        let keys: Vec<_> = calls.iter().filter(|c| c.key.starts_with(prefix)).collect();
        let mut names: Vec<_> = keys.iter().map(|c| &c.key).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), keys.len(), "{keys:#?}");
        assert!(keys.iter().all(|c| c.verb == "create") || prefix == ".offsite/pages/", "{keys:#?}");
    }
    // At a sealed destination, the name is a keyed hash of the plaintext.
    for key in bucket.keys().iter().filter(|k| k.starts_with(".offsite/pages/") && !sealed()) {
        let hash = blake3::hash(&bucket.content(key).unwrap()).to_hex().to_string();
        assert_eq!(*key, format!(".offsite/pages/{hash}.jsonl.zst"));
    }
}

/// A snapshot without changes takes no lease. A run that was under way gives its own the next number.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_without_changes_in_between_is_no_obstacle() {
    let world = World::new();
    let (bucket, inner) = memory("in-between");
    world.write("f", b"one");
    world.synced(&inner).await;
    let before = world.path("before");
    assert!(std::process::Command::new("cp").arg("-a").arg(world.source()).arg(&before).status().unwrap().success());
    world.write("f", b"two!");
    let (script, slow) = faulty(&inner);
    script.script().delay(Duration::from_millis(250));
    let other = async {
        let packs = || bucket.keys().iter().filter(|key| key.starts_with(".offsite/packs/")).count();
        while bucket.content("f").as_deref() != Some(b"two!") && packs() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let opened = vec![(String::new(), Ok(Arc::clone(&inner)))];
        engine::sync_over(&world.elsewhere("other"), &before, opened, &world.options, &RunControl::new(1)).await.destinations.remove(0)
    };
    let (changed, unchanged) = tokio::join!(world.sync(&slow), other);
    assert_eq!((unchanged.snapshot, changed.snapshot, changed.exit), (Some(2), Some(3), 0), "{changed:?} {unchanged:?}");
    world.comes_back(&inner).await;
    let old = PullOptions { at: Some("2".into()), ..PullOptions::default() };
    world.pull(&inner, "old", &old).await.unwrap();
    assert_eq!(fs::read(world.path("old/f")).unwrap(), b"one");
}

/// In a directory the last snapshot stays whole until the next commit, whatever is kept after it.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_directory_what_is_replaced_stays_until_the_commit_even_if_nothing_is_kept() {
    let mut world = World::new();
    world.options.keep = KeepRules { within: Some(0), ..KeepRules::default() };
    let inner = world.file("destination");
    world.write("f", b"one");
    world.synced(&inner).await;
    world.write("f", b"two!");
    let (script, backend) = faulty(&inner);
    // The lease is the first that is created, the snapshot the second.
    script.script().fail_verb("create", 2, ErrorKind::Full);
    assert_eq!(world.sync(&backend).await.exit, 1);
    assert_eq!(fs::read(world.path("destination/f")).unwrap(), b"two!");
    let pulled = world.pull(&inner, "back", &PullOptions::default()).await.unwrap();
    assert_eq!((pulled.snapshot, pulled.exit), (1, 0), "{pulled:?}");
    assert_eq!(fs::read(world.path("back/f")).unwrap(), b"one");
    world.synced(&inner).await;
    world.comes_back(&inner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pruned_snapshots_go_before_what_they_name() {
    let world = World::new();
    let (_, inner) = memory("pruned-in-order");
    for state in 0..3 {
        world.write("f", format!("state {state}").as_bytes());
        world.synced(&inner).await;
    }
    let (script, backend) = faulty(&inner);
    let rules = KeepRules { last: 1, ..KeepRules::default() };
    let destination = opened(&backend, &world.machine).await.unwrap();
    let done = engine::prune_over(destination, &world.machine, &rules, false, &RunControl::new(1)).await.unwrap();
    assert_eq!(done.removed, [1, 2]);
    let calls = script.calls();
    let looked = last(&calls, "get", LEASE);
    let snapshots = last(&calls, "delete", ".offsite/snapshots/");
    assert!(looked < at(&calls, "delete", ".offsite/snapshots/"));
    assert!(snapshots < at(&calls, "delete", ".offsite/kept/"));
    assert!(snapshots < at(&calls, "delete", ".offsite/pages/"));
}
