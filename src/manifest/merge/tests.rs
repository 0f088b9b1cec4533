//! The merge against a model: for any manifest and any changes it makes the pages that a new manifest would have.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::model::{Content, Time};

fn entry(number: u32, size: u64) -> Entry {
    let path = RelPath::new(format!("dir{:02}/file-{number:05}", number % 17).into_bytes());
    Entry {
        size,
        mtime: Time { secs: 1_700_000_000, nanos: number },
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        user: Some("someone".into()),
        content: Some(Content::new(Hash::of(&size.to_le_bytes()), 1)),
        ..Entry::bare(path, Kind::File)
    }
}

struct Old {
    cache: PathBuf,
    own: Option<Hash>,
    inner: Vec<PageRef>,
    merged: MergedManifest,
}

fn merge(dir: &Path, name: &str, old: Option<&Old>, steps: Vec<Step>) -> Old {
    let base = old.map_or_else(CacheReader::none, |o| CacheReader::open(&o.cache, o.own).unwrap());
    let cache = dir.join(format!("{name}.cache"));
    let mut merge = ManifestMerge::start(base, &cache, (&dir.join(format!("{name}.pack")), None), Vec::new()).unwrap();
    for step in steps {
        merge.step(step).unwrap();
    }
    let merged = merge.finish(old.map_or(&[], |o| &o.inner)).unwrap();
    Old { cache, own: merged.packed.object, inner: merged.packed.inner.clone(), merged }
}

fn sets(tree: &BTreeMap<RelPath, Entry>) -> Vec<Step> {
    tree.values().map(|e| Step::Set(Box::new(e.clone()), KnownStamps::Unknown)).collect()
}

fn pages(old: &Old) -> Vec<Hash> {
    let mut reader = CacheReader::open(&old.cache, old.own).unwrap();
    let mut out = Vec::new();
    while let Some(head) = reader.next_block().unwrap() {
        out.push(head.page.hash);
    }
    out
}

fn entries(old: &Old) -> Vec<Entry> {
    let mut reader = CacheReader::open(&old.cache, old.own).unwrap();
    let mut out = Vec::new();
    while let Some(known) = reader.peek().unwrap() {
        out.push(known.entry().unwrap());
        reader.advance();
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A merge makes the same pages as a manifest of the new tree that is written without a base.
    #[test]
    fn a_manifest_does_not_depend_on_its_history(
        start in prop::collection::btree_set(0u32..3000, 0..3000),
        removed in prop::collection::btree_set(0u32..3000, 0..40),
        set in prop::collection::btree_map(0u32..3000, 1u64..9, 0..40),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut tree: BTreeMap<RelPath, Entry> = start.iter().map(|n| (entry(*n, 5).path, entry(*n, 5))).collect();
        let first = merge(dir.path(), "first", None, sets(&tree));
        prop_assert_eq!(entries(&first), tree.values().cloned().collect::<Vec<_>>());

        let mut steps = BTreeMap::new();
        for number in &removed {
            steps.insert(entry(*number, 0).path, Step::Remove(entry(*number, 0).path));
            tree.remove(&entry(*number, 0).path);
        }
        for (number, size) in &set {
            let new = entry(*number, *size);
            steps.insert(new.path.clone(), Step::Set(Box::new(new.clone()), KnownStamps::Fresh));
            tree.insert(new.path.clone(), new);
        }
        let second = merge(dir.path(), "second", Some(&first), steps.into_values().collect());
        let scratch = merge(dir.path(), "scratch", None, sets(&tree));
        prop_assert_eq!(entries(&second), tree.values().cloned().collect::<Vec<_>>());
        prop_assert_eq!(pages(&second), pages(&scratch));
        prop_assert_eq!(second.merged.totals, scratch.merged.totals);
    }
}

#[test]
fn one_change_writes_one_page_of_entries() {
    let dir = tempfile::tempdir().unwrap();
    let tree: BTreeMap<RelPath, Entry> = (0..60_000).map(|n| (entry(n, 5).path, entry(n, 5))).collect();
    let first = merge(dir.path(), "first", None, sets(&tree));
    let whole = first.merged.packed.length;
    let changed = entry(30_000, 6);
    let second = merge(dir.path(), "second", Some(&first), vec![Step::Set(Box::new(changed), KnownStamps::Fresh)]);
    assert!(second.merged.packed.length * 20 < whole, "{} of {whole}", second.merged.packed.length);
    assert_eq!(second.merged.objects.len(), 2);
}

#[test]
fn stamps_alone_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let tree: BTreeMap<RelPath, Entry> = (0..5_000).map(|n| (entry(n, 5).path, entry(n, 5))).collect();
    let first = merge(dir.path(), "first", None, sets(&tree));
    let steps = tree.keys().map(|p| Step::Stamp(p.clone(), KnownStamps::Fresh)).collect();
    let second = merge(dir.path(), "second", Some(&first), steps);
    assert_eq!(second.merged.packed.object, None);
    assert_eq!(second.merged.packed.root, first.merged.packed.root);
}
