//! Manifests made by hand: pages that lie about themselves are refused, wherever they are met.

use std::sync::Arc;

use offsite::engine;
use offsite_backends::Backend;
use offsite_backends::testing::MemoryBackend;
use serde_json::{Value, json};

use crate::harness::*;

/// An object of pages in the making.
#[derive(Default)]
pub struct Pages {
    object: Vec<u8>,
}

impl Pages {
    pub fn add(&mut self, lines: &[Value], level: u8, first: &str, entries: u64, bytes: u64) -> Value {
        let raw: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
        let frame = zstd::bulk::compress(&raw, 3).unwrap();
        let offset = self.object.len();
        self.object.extend_from_slice(&frame);
        let hash = blake3::hash(&raw).to_string();
        json!({"offset": offset, "length": frame.len(), "raw": raw.len(), "hash": hash, "level": level, "first": first,
            "entries": entries, "bytes": bytes})
    }

    /// One directory a page, as many pages as there are names.
    fn leaves(&mut self, names: &[&str]) -> Vec<Value> {
        names.iter().map(|name| self.add(&[dir(name)], 0, name, 1, 0)).collect()
    }

    /// The mirror with this top page.
    fn place(self, root: Value) -> (MemoryBackend, Arc<dyn Backend>) {
        self.place_as(1, root)
    }

    /// The destination of this format with this top page.
    pub fn place_as(self, format: u32, mut root: Value) -> (MemoryBackend, Arc<dyn Backend>) {
        let (bucket, backend) = memory("hostile");
        let object = blake3::hash(&self.object).to_string();
        bucket.plant(&format!(".offsite/pages/{object}.jsonl.zst"), self.object);
        root["object"] = object.clone().into();
        let keys = json!({"any_name": false, "max_key": 900, "max_segment": 250, "changed": "", "trims": false});
        let counts = json!({"added": 0, "changed": 0, "metadata": 0, "removed": 0, "renamed": 0, "unchanged": 0, "skipped": 0});
        let snapshot = json!({"format": format, "number": 1, "time": "", "host": "h", "source": "/s", "program": "p", "run": "r",
            "root": root, "keys": keys, "objects": [object], "changes": counts, "sent": 0,
            "tree": {"mode": 493, "mtime": "0.000000000", "uid": 0, "gid": 0},
            "totals": {"entries": 1_000_000, "files": 0, "bytes": 1_000_000}});
        bucket.plant(".offsite/snapshots/000000000001.json", snapshot.to_string().into_bytes());
        (bucket, backend)
    }
}

/// What is done to the references of a good page.
type Change<'a> = &'a dyn Fn(&mut Vec<Value>);

fn dir(name: &str) -> Value {
    json!({"path": format!("{name}/"), "kind": "dir", "mtime": "0.000000000", "mode": "0755"})
}

/// What is listed of it, or why it cannot be.
async fn listed(backend: &Arc<dyn Backend>) -> Result<Vec<String>, String> {
    let world = World::new();
    let records = opened(backend, &world.machine).await.unwrap().records;
    let mut lines = Vec::new();
    let done = engine::ls_over(&records, "", None, true, &mut |line| {
        lines.push(line.path.display());
        Ok(())
    })
    .await;
    done.map(|_| lines).map_err(|error| error.to_string())
}

/// A page over these pages, and what comes of it.
async fn over(pages: Pages, children: &[Value], first: &str, entries: u64) -> Result<Vec<String>, String> {
    let mut pages = pages;
    let root = pages.add(children, 1, first, entries, 0);
    listed(&pages.place(root).1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_lie_are_refused() {
    let names = ["a/", "b/", "c/"];
    let with = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut pages = Pages::default();
        let mut children = pages.leaves(&["a", "b", "c"]);
        children.iter_mut().zip(names).for_each(|(child, name)| child["first"] = name.into());
        change(&mut children);
        (pages, children)
    };
    let (pages, children) = with(&|_| {});
    assert_eq!(over(pages, &children, "a/", 3).await.unwrap(), names);
    let refused: [(&str, Change<'_>, u64); 9] = [
        ("backwards", &|c| c.reverse(), 3),
        ("one page twice", &|c| c.insert(1, c[0].clone()), 4),
        (
            "one page twice under another name",
            &|c| {
                c.insert(1, {
                    let mut again = c[0].clone();
                    again["first"] = "aa/".into();
                    again
                });
            },
            4,
        ),
        ("a first that is not the page's", &|c| c[1]["first"] = "bb/".into(), 3),
        ("an empty first", &|c| c[0]["first"] = "".into(), 3),
        ("no entries", &|c| c[1]["entries"] = 0.into(), 2),
        ("sums that are too small", &|_| {}, 2),
        ("sums that wrap", &|c| (c[0]["entries"], c[1]["entries"]) = (u64::MAX.into(), 2.into()), 2),
        ("bytes that nothing has", &|c| c[2]["bytes"] = 7.into(), 3),
    ];
    for (what, change, entries) in refused {
        let (pages, children) = with(change);
        let error = over(pages, &children, "a/", entries).await.unwrap_err();
        assert!(error.contains(".offsite/pages/"), "{what}: {error}");
    }
    let (pages, children) = with(&|_| {});
    assert!(over(pages, &children, "0/", 3).await.is_err(), "a first before that of the first page below");
}

/// A tower in which each page names the one below it a hundred times has room in 2 KB, and a million leaves.
#[tokio::test(flavor = "multi_thread")]
async fn a_tower_of_pages_falls_at_its_top() {
    let mut pages = Pages::default();
    let mut page = pages.add(&[dir("a")], 0, "a/", 1, 0);
    for level in 1..=3 {
        page = pages.add(&vec![page; 100], level, "a/", 100u64.pow(u32::from(level)), 0);
    }
    let error = listed(&pages.place(page).1).await.unwrap_err();
    assert!(error.contains("out of order"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_holds_no_more_than_it_says() {
    for (entries, bytes) in [(1_000_001, 0), (1, 1_000_001)] {
        let mut pages = Pages::default();
        let root = pages.add(&[dir("a")], 0, "a/", entries, bytes);
        let error = listed(&pages.place(root).1).await.unwrap_err();
        assert!(error.contains("more than the whole snapshot"), "{error}");
    }
}

/// A page of entries that goes on beyond the next one's first path is refused, and not the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_goes_too_far_hurts_only_itself() {
    let mut pages = Pages::default();
    let far = pages.add(&[dir("a"), dir("x")], 0, "a/", 2, 0);
    let good = pages.add(&[dir("m"), dir("n")], 0, "m/", 2, 0);
    let root = pages.add(&[far, good], 1, "a/", 4, 0);
    let (_, backend) = pages.place(root);
    let world = World::new();
    let pulled = world.pull(&backend, "back", &Default::default()).await.unwrap();
    assert_eq!((pulled.exit, pulled.problems.total()), (3, 1), "{pulled:?}");
    assert!(world.path("back/m").is_dir() && world.path("back/n").is_dir() && !world.path("back/a").exists());
}

/// More lines than a page can have are not read to their end.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_a_bounded_number_of_lines() {
    let mut pages = Pages::default();
    let lines: Vec<Value> = (0..20_000).map(|i| dir(&format!("{i:05}"))).collect();
    let root = pages.add(&lines, 0, "00000/", 20_000, 0);
    let error = listed(&pages.place(root).1).await.unwrap_err();
    assert!(error.contains("more lines"), "{error}");
}
