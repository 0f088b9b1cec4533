//! Little at the destination that wants much memory or time.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::child::run;
use crate::made::{Made, dir, line, snapshot};

const RECORD: usize = 16 << 20;
const PAGE: usize = 32 << 20;

/// Every verb that reads a manifest. The first four go every way that the others go; `cargo test` runs only these,
/// `integration/fuzz` runs all.
const VERBS: &[&[&str]] = &[
    &["sync", "site", "copy"],
    &["status", "copy"],
    &["check", "copy", "--no-record"],
    &["pull", "copy", "back"],
    &["ls", "copy"],
    &["ls", "copy", "--recursive"],
    &["history", "copy", "a"],
    &["snapshots", "copy"],
];

fn verbs() -> &'static [&'static [&'static str]] {
    if std::env::var_os("OFFSITE_FUZZ_SECONDS").is_some() { VERBS } else { &VERBS[..4] }
}

fn place(name: &str, make: impl FnOnce(&Path)) -> tempfile::TempDir {
    let place = tempfile::Builder::new().prefix(name).tempdir().unwrap();
    fs::create_dir(place.path().join("site")).unwrap();
    fs::write(place.path().join("site/new"), "n").unwrap();
    make(&place.path().join("copy"));
    place
}

/// Runs the verbs over it; the most that one took, in MiB.
fn all_verbs(name: &str, make: impl FnOnce(&Path)) -> u64 {
    let place = place("bomb", make);
    let peak = verbs().iter().map(|verb| run(place.path(), verb).peak).max().unwrap();
    eprintln!("{name}: at most {} MiB", peak >> 20);
    peak >> 20
}

fn with_page(copy: &Path, raw: &[u8], level: u8, first: &str, entries: u64) {
    let mut made = Made::new(copy.into());
    let root = made.page(raw, level, first, entries);
    made.finish(1, root);
}

fn with_snapshot(copy: &Path, body: &[u8]) {
    Made::new(copy.into()).put("snapshots/000000000001.json", body);
}

fn tower(copy: &Path, levels: u8, fan: usize) {
    let mut made = Made::new(copy.into());
    let mut page = made.page(&line(&dir("a/")), 0, "a/", 1);
    for level in 1..=levels {
        page = made.page(&line(&page).repeat(fan), level, "a/", 1);
    }
    made.finish(1, page);
}

#[test]
fn no_bomb_takes_more_than_256_mib() {
    all_verbs("a tower of 8 levels", |copy| tower(copy, 8, 100));
    all_verbs("a wide page of references", |copy| tower(copy, 1, 100_000));
    all_verbs("the largest page of directories", |copy| {
        let lines: Vec<u8> = (0..PAGE / 64)
            .flat_map(|i| line(&json!({"path": format!("{i:07x}/"), "kind": "dir", "mtime": "0.000000000", "mode": "0"})))
            .collect();
        with_page(copy, &lines[..lines.len().min(PAGE)], 0, "0000000/", 1);
    });
    all_verbs("one entry that fills a page with attributes", |copy| {
        let value = "v".repeat(PAGE / 600);
        let xattrs: Vec<_> = (0..500).map(|i| json!({"name": format!("user.{i}"), "value": value})).collect();
        with_page(copy, &line(&json!({"path": "a/", "kind": "dir", "mtime": "0.000000000", "mode": "0", "xattrs": xattrs})), 0, "a/", 1);
    });
    all_verbs("an entry with a million attributes", |copy| {
        let xattrs = [r#"{"name":"","value":""}"#; 1_000_000].join(",");
        let entry = format!(r#"{{"path":"a/","kind":"dir","mtime":"0.000000000","mode":"0","xattrs":[{xattrs}]}}{}"#, "\n");
        with_page(copy, entry.as_bytes(), 0, "a/", 1);
    });
    all_verbs("a frame that unpacks to 1 GiB", |copy| {
        let mut made = Made::new(copy.into());
        let zeros = zstd::stream::encode_all(std::io::Read::take(std::io::repeat(0), 1 << 30), 1).unwrap();
        let root = made.frame(&zeros, PAGE as u64, &"0".repeat(64), 0, "a/", 1);
        made.finish(1, root);
    });
}

#[test]
fn no_record_takes_more_than_256_mib() {
    let fill =
        |element: &str| format!("{{\"format\":1,\"x\":[{}{element}]}}", format!("{element},").repeat((RECORD - 100) / (element.len() + 1)));
    all_verbs("a snapshot of numbers", |copy| with_snapshot(copy, fill("0").as_bytes()));
    all_verbs("a snapshot of objects", |copy| with_snapshot(copy, fill("{\"\":0}").as_bytes()));
    all_verbs("a snapshot of brackets", |copy| with_snapshot(copy, "[".repeat(RECORD).as_bytes()));
    all_verbs("a snapshot of objects of pages", |copy| {
        let objects: Vec<String> = (0..240_000).map(|i| format!("{i:064x}")).collect();
        with_snapshot(copy, snapshot(1, &json!({"objects": objects})).to_string().as_bytes());
    });
    all_verbs("a snapshot of unreadable paths", |copy| {
        let unread = vec![json!({"path": "p", "problem": "x"}); 500_000];
        with_snapshot(copy, snapshot(1, &json!({"unread": unread})).to_string().as_bytes());
    });
    all_verbs("twenty of the largest snapshots", |copy| {
        let made = Made::new(copy.into());
        let body = fill("[]");
        (1..=20).for_each(|number| made.put(&format!("snapshots/{number:012}.json"), body.as_bytes()));
    });
    for name in ["format.json", "run.json", "check.json", "lease.json"] {
        for body in [fill("[]"), "[".repeat(1 << 20), " ".repeat(RECORD + 1)] {
            all_verbs(name, |copy| {
                with_page(copy, &line(&dir("a/")), 0, "a/", 1);
                fs::write(copy.join(".offsite").join(name), &body).unwrap();
            });
        }
    }
}
