//! Manifests of packed destinations made by hand: places that cannot be, lists that lie, and bombs.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use offsite::engine::{PullOptions, PullOutcome};
use offsite_backends::Backend;
use serde_json::{Value, json};

use super::noise;
use super::objects::key_of;
use crate::harness::*;
use crate::hostile::Pages;

/// Packs in the making.
#[derive(Default)]
struct Packs(Vec<Vec<u8>>);

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_string()
}

/// A place in a pack that is this frame alone.
fn place(frame: &[u8]) -> Value {
    json!({"pack": hash(frame), "frame": 0, "length": frame.len()})
}

fn with(place: &Value, more: Value) -> Value {
    let mut out = place.clone();
    out.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    out
}

impl Packs {
    /// A pack of one frame, and the place of the frame.
    fn frame(&mut self, raw: &[u8]) -> Value {
        self.pack(zstd::bulk::compress(raw, 3).unwrap())
    }

    /// A pack of these bytes, as if they were one frame.
    fn pack(&mut self, bytes: Vec<u8>) -> Value {
        let place = place(&bytes);
        self.0.push(bytes);
        place
    }

    fn piece(&mut self, raw: &[u8]) -> Value {
        let place = self.frame(raw);
        with(&place, json!({"size": raw.len(), "hash": hash(raw)}))
    }

    /// A list of these pieces, as an entry names it.
    fn list(&mut self, pieces: &[Value]) -> Value {
        let raw: Vec<u8> = pieces.iter().flat_map(|piece| format!("{piece}\n").into_bytes()).collect();
        let place = self.frame(&raw);
        let packs: BTreeMap<&str, u64> =
            pieces.iter().map(|piece| (piece["pack"].as_str().unwrap(), piece["length"].as_u64().unwrap())).collect();
        let packs: Vec<_> = packs.into_iter().collect();
        let size = pieces.iter().filter_map(|piece| piece["size"].as_u64()).fold(0u64, u64::wrapping_add);
        with(&place, json!({"size": size, "count": pieces.len(), "hash": hash(&raw), "raw": raw.len(), "packs": packs}))
    }

    /// A destination with a good file and this one, each on a page of its own, pulled.
    async fn pulled(mut self, size: u64, content: Value) -> Result<PullOutcome, String> {
        let good = self.frame(b"good");
        let good = json!({"path": "a-good-one", "size": 4, "mtime": "0.000000000", "mode": "0644",
            "content": {"hash": hash(b"good"), "since": 1, "at": good}});
        let bad = json!({"path": "bad", "size": size, "mtime": "0.000000000", "mode": "0644", "content": content});
        let mut pages = Pages::default();
        let leaves = [pages.add(&[good], 0, "a-good-one", 1, 4), pages.add(&[bad], 0, "bad", 1, size)];
        let root = pages.add(&leaves, 1, "a-good-one", 2, size.saturating_add(4));
        let (bucket, backend): (_, Arc<dyn Backend>) = pages.place_as(2, root);
        // The sums must be possible, or the snapshot is refused for them.
        let key = ".offsite/snapshots/000000000001.json";
        let mut snapshot: Value = serde_json::from_slice(&bucket.content(key).unwrap()).unwrap();
        snapshot["totals"] = json!({"entries": 2, "files": 2, "bytes": size.saturating_add(4)});
        bucket.plant(key, snapshot.to_string());
        for pack in self.0 {
            bucket.plant(&key_of(&hash(&pack)), Bytes::from(pack));
        }
        let world = World::packed();
        let pulled = world.pull(&backend, "target", &PullOptions::default()).await;
        assert!(!world.path("target/bad").exists() || pulled.as_ref().is_ok_and(|pulled| pulled.exit == 0), "{pulled:?}");
        // Where the sums of the pages wrap around, the page above is refused.
        if let Some(pulled) = pulled.as_ref().ok().filter(|_| size < u64::MAX) {
            assert_eq!(std::fs::read(world.path("target/a-good-one")).unwrap(), b"good", "{pulled:?}");
        }
        pulled.map_err(|error| error.to_string())
    }
}

/// The file is refused: as a trouble of its own, or with its page.
#[track_caller]
fn refused(what: &str, pulled: Result<PullOutcome, String>) {
    match pulled {
        Ok(pulled) => assert_eq!((pulled.exit, pulled.problems.total()), (3, 1), "{what}: {pulled:?}"),
        Err(error) => assert!(error.contains(".offsite/"), "{what}: {error}"),
    }
}

fn content(raw: &[u8], member: &str, value: Value) -> Value {
    json!({"hash": hash(raw), "since": 1, member: value})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_right_comes_back() {
    let raw = noise(1, 1_000);
    let mut packs = Packs::default();
    let whole = packs.frame(&raw);
    assert_eq!(packs.pulled(1_000, content(&raw, "at", whole)).await.unwrap().exit, 0);
    let mut packs = Packs::default();
    let pieces = [packs.piece(&raw[..400]), packs.piece(&raw[400..])];
    assert_eq!(packs.pulled(1_000, content(&raw, "pieces", json!(pieces))).await.unwrap().exit, 0);
    let mut packs = Packs::default();
    let pieces = [packs.piece(&raw[..400]), packs.piece(&raw[400..])];
    let list = packs.list(&pieces);
    assert_eq!(packs.pulled(1_000, content(&raw, "lists", json!([list]))).await.unwrap().exit, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn places_that_no_pack_can_have_are_refused() {
    let huge = [u64::MAX, u64::MAX - 1_000, 1 << 63, 1 << 40, 65 << 20];
    for member in ["frame", "length", "skip"] {
        for value in huge.into_iter().chain((member == "length").then_some(0)) {
            let raw = noise(1, 1_000);
            let mut packs = Packs::default();
            let whole = packs.frame(&raw);
            let at = with(&whole, json!({member: value}));
            refused(&format!("{member} {value}"), packs.pulled(1_000, content(&raw, "at", at)).await);
        }
    }
    // Within the bounds of the format, and outside of the object or of the frame.
    for (member, value) in [("frame", 500), ("frame", 1 << 20), ("length", 2_000), ("length", 10), ("skip", 1), ("skip", 1 << 20)] {
        let raw = noise(1, 1_000);
        let mut packs = Packs::default();
        let whole = packs.frame(&raw);
        let at = with(&whole, json!({member: value}));
        refused(&format!("{member} {value}"), packs.pulled(1_000, content(&raw, "at", at)).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_that_are_not_those_of_the_pieces_are_refused() {
    let raw = noise(1, 1_000);
    let parts = |packs: &mut Packs| vec![packs.piece(&raw[..400]), packs.piece(&raw[400..])];
    for size in [0, 999, 1_001, u64::MAX, 1 << 63] {
        for member in ["at", "pieces", "lists"] {
            let mut packs = Packs::default();
            let whole = packs.frame(&raw);
            let pieces = parts(&mut packs);
            let list = packs.list(&pieces);
            let value = match member {
                "at" => whole,
                "pieces" => json!(pieces),
                _ => json!([list]),
            };
            refused(&format!("{member} of {size}"), packs.pulled(size, content(&raw, member, value)).await);
        }
    }
    // Sums that wrap around to the right one.
    for member in ["pieces", "lists"] {
        let mut packs = Packs::default();
        let mut wrapping = parts(&mut packs);
        let mut value = vec![];
        if member == "lists" {
            let list = packs.list(&wrapping);
            value = vec![with(&list, json!({"size": u64::MAX})), with(&list, json!({"size": 1_001}))];
        } else {
            wrapping[0]["size"] = u64::MAX.into();
            wrapping[1]["size"] = 1_001.into();
            value.extend(wrapping);
        }
        refused(&format!("{member} that wrap"), packs.pulled(1_000, content(&raw, member, json!(value))).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_is_in_one_place_only() {
    let raw = noise(1, 1_000);
    for (first, second) in [("at", "pieces"), ("at", "lists"), ("pieces", "lists"), ("at", "key")] {
        let mut packs = Packs::default();
        let pieces = [packs.piece(&raw[..400]), packs.piece(&raw[400..])];
        let values = json!({"at": packs.frame(&raw), "pieces": pieces, "lists": [packs.list(&pieces)], "key": ".offsite/odd/x"});
        let both = with(&content(&raw, first, values[first].clone()), json!({second: values[second]}));
        refused(&format!("{first} and {second}"), packs.pulled(1_000, both).await);
    }
    let mut packs = Packs::default();
    let many: Vec<Value> = (0..33).map(|i| packs.piece(&raw[i * 30..(i + 1) * 30])).collect();
    refused("33 pieces", packs.pulled(990, content(&raw[..990], "pieces", json!(many))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_lie_are_refused() {
    let raw = noise(1, 1_000);
    type Lie<'a> = (&'a str, Value);
    let other = hash(b"another pack");
    let lies: [Lie<'_>; 11] = [
        ("fewer pieces", json!({"count": 1})),
        ("more pieces", json!({"count": 3})),
        ("no pieces", json!({"count": 0})),
        ("pieces without end", json!({"count": u64::MAX})),
        ("no packs", json!({"packs": []})),
        ("another pack", json!({"packs": [[other, 9]]})),
        ("a pack of 2^64 bytes", json!({"packs": [[other, u64::MAX]]})),
        ("packs without their lengths", json!({"packs": [other]})),
        ("a short list", json!({"raw": 10})),
        ("a huge list", json!({"raw": 1u64 << 40})),
        ("another hash", json!({"hash": other})),
    ];
    for (what, lie) in lies {
        let mut packs = Packs::default();
        let pieces = [packs.piece(&raw[..400]), packs.piece(&raw[400..])];
        let list = with(&packs.list(&pieces), lie);
        refused(what, packs.pulled(1_000, content(&raw, "lists", json!([list]))).await);
    }
}

/// A list whose pieces are the list itself, the frame of a list as a piece, and text that is no list.
#[tokio::test(flavor = "multi_thread")]
async fn lists_that_name_themselves_are_refused() {
    let raw = noise(1, 1_000);
    // No list can have its own hash in it, but one can name the pack that it is in under any hash.
    let mut packs = Packs::default();
    let piece = packs.piece(&raw);
    let list = packs.list(&[piece]);
    let own = json!({"size": 1_000, "hash": hash(&raw), "pack": list["pack"], "frame": list["frame"], "length": list["length"]});
    let around = packs.list(&[own]);
    refused("a list of a list", packs.pulled(1_000, content(&raw, "lists", json!([around]))).await);

    for text in ["", "\n", "[]\n", "{\n", "null\n", "{\"size\":1}\n"] {
        let mut packs = Packs::default();
        let piece = packs.piece(&raw);
        let place = packs.frame(text.as_bytes());
        let head = json!({"size": 1_000, "count": 1, "hash": hash(text.as_bytes()), "raw": text.len(), "packs": [[piece["pack"], piece["length"]]]});
        refused(text, packs.pulled(1_000, content(&raw, "lists", json!([with(&place, head)]))).await);
    }
    // Deeply nested, which a reader must not follow on its stack.
    let deep = ["[".repeat(1_000_000), "]".repeat(1_000_000), "\n".into()].concat();
    let mut packs = Packs::default();
    let piece = packs.piece(&raw);
    let place = packs.frame(deep.as_bytes());
    let head =
        json!({"size": 1_000, "count": 1, "hash": hash(deep.as_bytes()), "raw": deep.len(), "packs": [[piece["pack"], piece["length"]]]});
    refused("a deep list", packs.pulled(1_000, content(&raw, "lists", json!([with(&place, head)]))).await);
}

/// Frames that say less, more or nothing of what they unpack to.
#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_refused_before_they_take_memory() {
    let zeros = vec![0; 256 << 20];
    let bomb = zstd::bulk::compress(&zeros, 1).unwrap();
    let before = peak();
    // Says 256 MiB; says nothing; says 1,000 bytes and has 256 MiB.
    let silent = zstd::stream::encode_all(&zeros[..64 << 20], 1).unwrap();
    drop(zeros);
    let mut liar = bomb.clone();
    let at = header_size(&liar);
    liar[at..at + 4].copy_from_slice(&1_000u32.to_le_bytes());
    for (what, frame) in [("says it", bomb), ("says nothing", silent), ("lies", liar)] {
        let mut packs = Packs::default();
        let at = packs.pack(frame);
        refused(what, packs.pulled(1_000, content(&vec![0; 1_000], "at", at)).await);
    }
    assert!(peak() - before < 200 << 20, "{} MiB more", (peak() - before) >> 20);
}

/// Where the header of this frame has its length of four bytes.
fn header_size(frame: &[u8]) -> usize {
    let single = frame[4] & 0x20 != 0;
    assert_eq!(frame[4] >> 6, 2, "a length of four bytes");
    if single { 5 } else { 6 }
}

/// Most memory that this program ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// An object that is longer than a pack can be is not read to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_reads_no_object_that_is_longer_than_a_pack() {
    let world = World::packed();
    let (bucket, backend) = memory("long");
    world.write("f", &noise(1, 1_000));
    world.synced(&backend).await;
    let key = bucket.keys().into_iter().find(|key| key.starts_with(".offsite/packs/")).unwrap();
    let mut long = bucket.content(&key).unwrap().to_vec();
    long.resize((64 << 20) + 1, 0);
    bucket.plant(&key, long);
    let checked = crate::check::check_with(&world, &backend, &crate::check::reading(1.0)).await;
    assert_ne!(checked.exit, 0, "{checked:?}");
    // What is read of it is in front.
    world.comes_back(&backend).await;
}
