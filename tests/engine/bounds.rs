//! What a destination may hold: numbers at their ends, strays, records that are too large, objects that come back.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use offsite::engine::{self, PullOptions, RunControl};
use offsite::model::{KeepRules, bounds};

use crate::harness::*;

const FIRST: &str = ".offsite/snapshots/000000000001.json";

#[tokio::test(flavor = "multi_thread")]
async fn strays_beside_the_snapshots_stop_nothing() {
    let world = World::new();
    let (bucket, backend) = memory("strays");
    world.write("f", b"x");
    world.synced(&backend).await;
    let strays = ["5.json", "+00000000006.json", "0000000000000000000007.json", "18446744073709551615.json", "x", "000000000002.json~"];
    for stray in strays {
        bucket.plant(&format!(".offsite/snapshots/{stray}"), b"{}".to_vec());
    }
    world.write("f", b"xy");
    for machine in [world.machine.clone(), world.elsewhere("other")] {
        let world = World { machine, dir: tempfile::tempdir().unwrap(), options: options() };
        fs::create_dir(world.source()).unwrap();
        let records = opened(&backend, &world.machine).await.unwrap().records;
        assert_eq!(engine::snapshots_over(&records).await.unwrap().snapshots.len(), 1);
        world.pull(&backend, "back", &PullOptions::default()).await.unwrap();
        let destination = opened(&backend, &world.machine).await.unwrap();
        let checked = engine::check_over(destination, &world.machine, &Default::default(), &RunControl::new(1)).await.unwrap();
        assert_eq!(checked.foreign, strays.len() as u64);
    }
    assert_eq!(world.synced(&backend).await.snapshot, Some(2));
    world.comes_back(&backend).await;
}

/// The number after the last one does not wrap, and nothing is written that no reader takes.
#[tokio::test(flavor = "multi_thread")]
async fn after_the_last_number_there_is_none() {
    let world = World::new();
    let (bucket, backend) = memory("last");
    world.write("f", b"x");
    world.synced(&backend).await;
    let mut last: serde_json::Value = serde_json::from_slice(&bucket.content(FIRST).unwrap()).unwrap();
    for number in [bounds::NUMBER, u64::MAX] {
        last["number"] = number.into();
        bucket.plant(&format!(".offsite/snapshots/{number:012}.json"), serde_json::to_vec(&last).unwrap());
    }
    fs::remove_dir_all(world.path("cache")).unwrap();
    world.write("g", b"y");
    let before = bucket.keys();
    let outcome = world.sync(&backend).await;
    let error = outcome.error.unwrap();
    assert_eq!((outcome.exit, outcome.snapshot), (2, None));
    assert!(error.contains("is the last possible one"), "{error}");
    let new: Vec<_> = bucket.keys().into_iter().filter(|key| !before.contains(key) && !key.ends_with("lease.json")).collect();
    assert_eq!(new, Vec::<String>::new());
    let pulled = world.pull(&backend, "back", &PullOptions::default()).await.unwrap();
    assert_eq!((pulled.snapshot, pulled.files), (bounds::NUMBER, 1));
}

/// A mode that is changed and changed back makes the same object of pages again. It is not the old snapshot's alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_prune_leaves_pages_that_came_back() {
    let world = World::new();
    let (_, backend) = memory("came-back");
    world.write("f", b"x");
    for mode in [0o644, 0o600, 0o644] {
        fs::set_permissions(world.source().join("f"), fs::Permissions::from_mode(mode)).unwrap();
        world.synced(&backend).await;
    }
    let destination = opened(&backend, &world.machine).await.unwrap();
    let rules = KeepRules { last: 2, ..KeepRules::default() };
    let outcome = engine::prune_over(destination, &world.machine, &rules, false, &RunControl::new(1)).await.unwrap();
    assert_eq!(outcome.removed, [1]);
    let world = World { machine: world.elsewhere("other"), ..world };
    world.comes_back(&backend).await;
}

/// Records of a size that no writer makes, and of no shape at all, end in an error that names them.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_nobody_can_have_written_is_refused() {
    let world = World::new();
    let (bucket, backend) = memory("records");
    world.write("f", b"x");
    world.synced(&backend).await;
    let good = bucket.content(FIRST).unwrap();
    let list = |element: &str| format!("[{}{element}]", format!("{element},").repeat(bounds::OBJECTS));
    let objects = list(&format!("\"{}\"", "0".repeat(64)));
    let with = |name: &str, value: &str| {
        let mut text = String::from_utf8(good.to_vec()).unwrap();
        let at = text.find(&format!("\"{name}\":")).unwrap() + name.len() + 3;
        let end = at + text[at..].find(if value.starts_with('[') { "]," } else { "," }).unwrap() + usize::from(value.starts_with('['));
        text.replace_range(at..end, value);
        text
    };
    let long = format!("\"{}\"", "h".repeat(bounds::TEXT + 1));
    for body in [with("objects", &objects), with("host", &long), " ".repeat(17 << 20), String::new(), "[".repeat(1 << 20)] {
        bucket.plant(FIRST, body.into_bytes());
        let records = opened(&backend, &world.elsewhere("looking")).await.unwrap().records;
        let error = engine::resolve_at(&records, None).await.unwrap_err().to_string();
        assert!(error.contains(FIRST), "{error}");
    }
    // What a reader does not know is passed over, however much it is.
    let junk = format!("{{\"junk\":[{}0],", "[],".repeat(3 << 20));
    bucket.plant(FIRST, [junk.as_bytes(), &good[1..]].concat());
    let records = opened(&backend, &world.elsewhere("looking")).await.unwrap().records;
    assert_eq!(engine::resolve_at(&records, None).await.unwrap().0.host, "test-host");
}
