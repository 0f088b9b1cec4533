//! A manifest that names what is not its own: a prune by it deletes nothing that others need.

use offsite::engine::{self, PullOptions, RunControl};
use offsite::model::{KeepRules, Sample};
use offsite_backends::testing::{MemoryBackend, MemoryOptions};
use serde_json::Value;

use crate::harness::*;

fn snapshot(bucket: &MemoryBackend, number: u64) -> Value {
    serde_json::from_slice(&bucket.content(&format!(".offsite/snapshots/{number:012}.json")).unwrap()).unwrap()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap()
}

/// The entries of a manifest of one page.
fn entries(bucket: &MemoryBackend, snapshot: &Value) -> Vec<Value> {
    let object = bucket.content(&format!(".offsite/pages/{}.jsonl.zst", text(snapshot, "/root/object"))).unwrap();
    let number = |name: &str| snapshot["root"][name].as_u64().unwrap() as usize;
    let frame = &object[number("offset")..number("offset") + number("length")];
    let page = zstd::decode_all(frame).unwrap();
    page.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// Puts a manifest with these entries in the place of the one of a snapshot, as whoever may write there can.
fn forge(bucket: &MemoryBackend, mut snapshot: Value, entries: &[Value], objects: Vec<Value>) {
    let page: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
    let frame = zstd::encode_all(page.as_bytes(), 3).unwrap();
    let object = blake3::hash(&frame).to_string();
    let root = &mut snapshot["root"];
    (root["object"], root["offset"], root["length"]) = (object.clone().into(), 0.into(), frame.len().into());
    (root["raw"], root["hash"]) = (page.len().into(), blake3::hash(page.as_bytes()).to_string().into());
    snapshot["objects"] = [vec![object.clone().into()], objects].concat().into();
    bucket.plant(&format!(".offsite/pages/{object}.jsonl.zst"), frame);
    let key = format!(".offsite/snapshots/{:012}.json", snapshot["number"].as_u64().unwrap());
    bucket.plant(&key, snapshot.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_deletes_no_version_and_no_page_of_another_time() {
    let world = World::new();
    let (bucket, backend) = memory_with("lies", MemoryOptions { versions: true, ..MemoryOptions::default() });
    // Two on the last day, of which the earlier one goes.
    let day = |n: i64| chrono::TimeDelta::days(n - 10);
    let minute = chrono::TimeDelta::minutes(1);
    for (at, content) in [(day(1), "one"), (day(2), "two"), (day(3), "three"), (day(3) + minute, "four")] {
        bucket.set_clock_offset(at);
        world.write("f", content.as_bytes());
        world.synced(&backend).await;
    }
    let (good, lie) = (snapshot(&bucket, 1), snapshot(&bucket, 3));
    let mut forged = entries(&bucket, &lie);
    let file = forged.iter_mut().find(|entry| entry["path"] == "f").unwrap();
    file["content"]["version"] = entries(&bucket, &good)[0]["content"]["version"].clone();
    bucket.set_clock_offset(day(3));
    forge(&bucket, lie, &forged, vec![good["root"]["object"].clone()]);
    bucket.set_clock_offset(chrono::TimeDelta::zero());
    let rules = KeepRules { daily: 5, ..KeepRules::default() };
    let destination = opened(&backend, &world.elsewhere("pruner")).await.unwrap();
    let done = engine::prune_over(destination, &world.machine, &rules, false, &RunControl::new(1)).await.unwrap();
    assert_eq!(done.removed, [3]);
    for (at, content) in [("1", "one"), ("2", "two"), ("4", "four")] {
        let options = PullOptions { at: Some(at.into()), ..PullOptions::default() };
        let pulled = world.pull(&backend, at, &options).await.unwrap();
        assert_eq!((pulled.exit, pulled.problems), (0, Sample::default()), "{at}");
        assert_eq!(std::fs::read_to_string(world.path(at).join("f")).unwrap(), content);
    }
}
