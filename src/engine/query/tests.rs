//! The query verbs over a bucket in memory, with manifests that the tests build.
//!
//! Owns what each verb says and how many requests it sends. It does not need the sync engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::TimeDelta;
use offsite_backends::Backend;
use offsite_backends::testing::MemoryBackend;

use super::cat::{cat_over, write_content};
use super::diff::{DiffLine, DiffTotals, diff_over};
use super::history::history_over;
use super::listing::snapshots_over;
use super::ls::{LsLine, LsTotals, ls_over};
use crate::engine::destination::Destination;
use crate::engine::machine::Machine;
use crate::error::{Error, Result};
use crate::manifest::{CacheReader, KeyRules, KnownStamps, ManifestMerge, MergedManifest, Records, Step};
use crate::model::{Content, Counts, Entry, Hash, Kind, PageRef, RelPath, Snapshot, Time, TreeRoot};

type Tree = BTreeMap<RelPath, Entry>;

/// A bucket with snapshots that a test builds.
struct Depot {
    backend: MemoryBackend,
    destination: Destination,
    /// Without the fence, because the tests take no lease.
    records: Records,
    dir: tempfile::TempDir,
    base: Option<(PathBuf, Option<Hash>, Vec<PageRef>)>,
    tree: Tree,
    number: u64,
}

fn entry(path: &str, content: &[u8]) -> Entry {
    let kind = if path.ends_with('/') { Kind::Dir } else { Kind::File };
    let hash = Hash::of(content);
    Entry {
        size: content.len() as u64,
        mtime: Time { secs: 1_700_000_000, nanos: 5 },
        mode: 0o644,
        content: (kind == Kind::File).then_some(Content::new(hash, 1)),
        ..Entry::bare(path.into(), kind)
    }
}

fn symlink(path: &str, target: &str) -> Entry {
    Entry { kind: Kind::Symlink, link: Some(target.into()), content: None, ..entry(path, b"") }
}

fn snapshot(number: u64, merged: &MergedManifest) -> Snapshot {
    Snapshot {
        format: 1,
        number,
        parent: None,
        time: String::new(),
        host: "here".into(),
        job: None,
        kind: None,
        source: "/src".into(),
        program: "test".into(),
        run: "r".into(),
        root: merged.packed.root.clone(),
        keys: KeyRules { any_name: false, max_key: 900, max_segment: 250, changed: String::new(), trims: false, edges: false, disk: None },
        objects: merged.objects.clone(),
        tree: TreeRoot { mode: 0o755, mtime: Time::default(), uid: 0, gid: 0, xattrs: Vec::new() },
        totals: merged.totals,
        changes: Counts { added: 1, ..Counts::default() },
        sent: 7,
        unread: Default::default(),
        unread_total: None,
        unstable: Default::default(),
        unstable_total: None,
        troubles: None,
        destination: None,
        trail: Vec::new(),
        opens: None,
        left: false,
        copied: None,
    }
}

impl Depot {
    fn new() -> Self {
        let backend = MemoryBackend::new("look").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine { cache_dir: dir.path().join("cache"), host: "here".into(), ..Machine::default() };
        let destination = Destination::over(Arc::new(backend.clone()), &machine).unwrap();
        let records = Records::new(Arc::new(backend.clone()));
        Self { backend, destination, records, dir, base: None, tree: Tree::new(), number: 0 }
    }

    fn records(&self) -> &Records {
        &self.records
    }

    fn set(&mut self, path: &str, content: &str) -> &mut Self {
        let entry = entry(path, content.as_bytes());
        self.tree.insert(entry.path.clone(), entry);
        self
    }

    fn remove(&mut self, path: &str) -> &mut Self {
        self.tree.remove(&RelPath::from(path));
        self
    }

    /// Commits the tree as a snapshot that is this many days old.
    async fn commit(&mut self, days_ago: i64) -> u64 {
        self.number += 1;
        let open = |base: &Option<(PathBuf, Option<Hash>, Vec<PageRef>)>| match base {
            Some((path, own, _)) => CacheReader::open(path, *own).unwrap(),
            None => CacheReader::none(),
        };
        let mut steps = BTreeMap::new();
        let mut old = open(&self.base);
        while let Some(known) = old.peek().unwrap() {
            let path = RelPath::from(&known.path[..]);
            steps.insert(path.clone(), Step::Remove(path));
            old.advance();
        }
        steps.extend(self.tree.values().map(|e| (e.path.clone(), Step::Set(Box::new(e.clone()), KnownStamps::Unknown))));
        let cache = self.dir.path().join(format!("cache-{}", self.number));
        let mut merge = ManifestMerge::start(open(&self.base), &cache, (&self.dir.path().join("pack"), None), Vec::new()).unwrap();
        steps.into_values().for_each(|step| merge.step(step).unwrap());
        let inner = self.base.as_ref().map_or(&[][..], |(_, _, inner)| inner);
        let merged = merge.finish(inner).unwrap();
        self.backend.set_clock_offset(TimeDelta::days(-days_ago));
        if let Some(object) = &merged.packed.object {
            self.records().put_pages(object, &merged.packed.file, merged.packed.length).await.unwrap();
        }
        let snapshot = snapshot(self.number, &merged);
        assert!(self.records().commit(&snapshot, true).await.unwrap().is_some());
        self.backend.set_clock_offset(TimeDelta::zero());
        self.base = Some((cache, merged.packed.object, merged.packed.inner));
        self.number
    }

    async fn ls(&self, path: &str, at: Option<&str>, recursive: bool) -> Result<(Vec<LsLine>, LsTotals)> {
        let mut lines = Vec::new();
        let mut sink = |line| {
            lines.push(line);
            Ok(())
        };
        let totals = ls_over(self.records(), path, at, recursive, &mut sink).await?;
        Ok((lines, totals))
    }

    async fn diff(&self, from: &str, to: Option<&str>) -> Result<(Vec<DiffLine>, DiffTotals)> {
        let mut lines = Vec::new();
        let mut sink = |line| {
            lines.push(line);
            Ok(())
        };
        let totals = diff_over(&self.destination, from, to, &mut sink).await?;
        Ok((lines, totals))
    }

    async fn cat(&self, path: &str, at: Option<&str>) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        cat_over(self.records(), path, at, &mut out).await.map(|()| out)
    }

    fn gets(&self) -> u64 {
        self.backend.meter().requests().get
    }

    /// A tree large enough for pages of references: two directories of many files, one of few.
    fn many(&mut self) -> &mut Self {
        for dir in ["big/", "big/deep/", "few/", "other/"] {
            self.set(dir, "");
        }
        for number in 0..6000 {
            self.set(&format!("big/deep/file-{number:05}"), "12345");
            self.set(&format!("other/file-{number:05}"), "123");
        }
        self.set("few/a", "1").set("few/b", "22").set("zoo", "4444")
    }
}

fn brief(lines: &[LsLine]) -> Vec<(String, u64, Option<u64>)> {
    lines.iter().map(|l| (l.path.display(), l.size, l.entries)).collect()
}

fn usage<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(Error::Usage(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_there_says_so() {
    let depot = Depot::new();
    let want = "no snapshot at s3://memory/look; is the URL right, and was it ever synced?";
    assert_eq!(usage(depot.ls("", None, false).await), want);
    assert_eq!(usage(depot.diff("1", None).await), want);
    assert_eq!(usage(depot.cat("a", None).await), want);
    assert_eq!(usage(history_over(depot.records(), "a").await), want);
    assert_eq!(usage(snapshots_over(depot.records()).await), want);
}

#[tokio::test]
async fn the_newest_takes_one_list_one_get_and_a_look_past_it() {
    let mut depot = Depot::new();
    depot.set("a", "1").commit(3).await;
    depot.set("a", "2").commit(0).await;
    let before = depot.backend.meter().requests();
    let (snapshot, _, list) = super::at::resolve_at(depot.records(), None).await.unwrap();
    let after = depot.backend.meter().requests();
    assert_eq!((snapshot.number, list.len()), (2, 2));
    assert_eq!((after.list - before.list, after.get - before.get, after.head - before.head), (1, 1, 1));
    assert_eq!(super::at::resolve_at(depot.records(), Some("2d")).await.unwrap().0.number, 1);
    let error = usage(super::at::resolve_at(depot.records(), Some("9")).await.map(|_| ()));
    assert_eq!(error, "s3://memory/look: no snapshot 9; the nearest is 2, and the snapshots are 1 to 2");
}

#[tokio::test]
async fn a_damaged_snapshot_hides_no_other() {
    let mut depot = Depot::new();
    for days in [3, 2, 1] {
        depot.set("a", &days.to_string()).commit(days).await;
    }
    depot.backend.plant(".offsite/snapshots/000000000002.json", "{");
    let listing = snapshots_over(depot.records()).await.unwrap();
    let rows: Vec<_> = listing.snapshots.iter().map(|r| (r.number, r.files, r.problem.is_some())).collect();
    assert_eq!(rows, [(1, 1, false), (2, 0, true), (3, 1, false)]);
    let row = &listing.snapshots[0];
    assert_eq!((row.host.as_str(), row.sent, row.changes.added), ("here", 7, 1));
    assert!(row.time.ends_with('Z') && row.time.len() == 20, "{}", row.time);
}

#[tokio::test]
async fn ls_sums_directories_up() {
    let mut depot = Depot::new();
    depot.set("a.txt", "12").set("a/", "").set("a/b/", "").set("a/b/c", "333").set("a/d", "1").set("a/e/", "").set("b", "");
    let link = symlink("s", "a/d");
    depot.tree.insert(link.path.clone(), link);
    depot.commit(0).await;
    let (lines, totals) = depot.ls("", None, false).await.unwrap();
    let want = [("a.txt", 2, None), ("a/", 4, Some(4)), ("b", 0, None), ("s", 0, None)];
    assert_eq!(brief(&lines), want.map(|(p, s, e)| (p.to_string(), s, e)));
    assert_eq!((totals.entries, totals.bytes, totals.snapshot), (8, 6, 1));
    assert_eq!(lines[3].link, Some("a/d".into()));
    assert_eq!(lines[0].mode.as_deref(), Some("0644"));
    for text in ["a", "a/", "./a"] {
        let (lines, totals) = depot.ls(text, None, false).await.unwrap();
        let want = [("a/b/", 3, Some(1)), ("a/d", 1, None), ("a/e/", 0, Some(0))];
        assert_eq!(brief(&lines), want.map(|(p, s, e)| (p.to_string(), s, e)), "{text}");
        assert_eq!((totals.entries, totals.bytes), (4, 4));
    }
    let (lines, totals) = depot.ls("a", None, true).await.unwrap();
    assert_eq!(lines.iter().map(|l| l.path.display()).collect::<Vec<_>>(), ["a/b/", "a/b/c", "a/d", "a/e/"]);
    assert_eq!((totals.entries, totals.bytes), (4, 4));
    let (lines, _) = depot.ls("a/b/c", None, false).await.unwrap();
    assert_eq!(brief(&lines), [("a/b/c".to_string(), 3, None)]);
    assert!(depot.ls("a/e", None, false).await.unwrap().0.is_empty());
    assert_eq!(usage(depot.ls("nope", None, false).await), "nope is not in snapshot 1 of s3://memory/look");
}

#[tokio::test]
async fn ls_reads_no_page_inside_a_directory() {
    let mut depot = Depot::new();
    depot.many().commit(0).await;
    let object = depot.backend.keys().into_iter().find(|k| k.starts_with(".offsite/pages/")).unwrap();
    let whole = depot.backend.content(&object).unwrap();
    let source = crate::manifest::PageSource::new(depot.records().clone());
    let (snapshot, ..) = super::at::resolve_at(depot.records(), None).await.unwrap();
    let (leaves, ..) = source.leaves(&snapshot, |_, _| true).await.unwrap();
    assert!(leaves.len() > 12, "{}", leaves.len());
    // Every page inside big/deep/ or other/ is damaged, and `ls` must not notice.
    let mut broken = whole.to_vec();
    let mut count = 0;
    for pair in leaves.windows(2) {
        let both = |dir: &[u8]| pair.iter().all(|p| p.first.as_bytes().starts_with(dir) && p.first.as_bytes() != dir);
        if both(b"big/") && pair[0].first.as_bytes() != b"big/deep/" || both(b"other/") {
            broken[pair[0].offset as usize..][..pair[0].length as usize].fill(0);
            count += 1;
        }
    }
    assert!(count > 8, "{count}");
    depot.backend.plant(&object, broken);
    let (lines, totals) = depot.ls("", None, false).await.unwrap();
    let want = [("big/", 30_000, Some(6001)), ("few/", 3, Some(2)), ("other/", 18_000, Some(6000)), ("zoo", 4, None)];
    assert_eq!(brief(&lines), want.map(|(p, s, e)| (p.to_string(), s, e)));
    assert_eq!((totals.entries, totals.bytes), (12_007, 48_007));
    let (lines, _) = depot.ls("big", None, false).await.unwrap();
    assert_eq!(brief(&lines), [("big/deep/".to_string(), 30_000, Some(6000))]);
    assert_eq!(depot.ls("few", None, true).await.unwrap().0.len(), 2);
    assert!(matches!(depot.ls("other", None, true).await, Err(Error::Damaged { .. })));
}

#[tokio::test]
async fn diff_says_what_differs_and_leaves_nothing_behind() {
    let mut depot = Depot::new();
    depot.many().commit(2).await;
    depot.set("big/deep/file-03000", "other").set("few/c", "new").remove("other/file-00000").remove("few/");
    depot.tree.get_mut(&RelPath::from("zoo")).unwrap().mode = 0o600;
    // Only the place of the content has changed: no difference.
    depot.tree.get_mut(&RelPath::from("few/a")).unwrap().content.as_mut().unwrap().since = 2;
    depot.commit(1).await;
    let (lines, totals) = depot.diff("1", None).await.unwrap();
    let got: Vec<_> = lines.iter().map(|l| (l.change, l.path.display(), l.size_before, l.size_after)).collect();
    let want = [
        ("changed", "big/deep/file-03000", Some(5), Some(5)),
        ("removed", "few/", None, None),
        ("added", "few/c", None, Some(3)),
        ("removed", "other/file-00000", Some(3), None),
        ("metadata", "zoo", Some(4), Some(4)),
    ];
    assert_eq!(got, want.map(|(c, p, b, a)| (c, p.to_string(), b, a)));
    assert_eq!((totals.from, totals.to, totals.added, totals.removed, totals.changed, totals.metadata), (1, 2, 1, 2, 1, 1));
    assert_eq!((totals.bytes_before, totals.bytes_after), (48_007, 48_007));
    let (back, _) = depot.diff("2", Some("1")).await.unwrap();
    assert_eq!(back.len(), 5);
    assert_eq!(back[1].change, "added");
    let failed = diff_over(&depot.destination, "1", None, &mut |_| Err(Error::Interrupted)).await;
    assert!(matches!(failed, Err(Error::Interrupted)));
    let left =
        std::fs::read_dir(&depot.destination.dir).unwrap().flatten().filter(|e| e.file_name().to_string_lossy().starts_with("diff-"));
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn diff_of_the_same_tree_fetches_no_page() {
    let mut depot = Depot::new();
    depot.many().commit(2).await;
    depot.commit(1).await;
    let before = depot.gets();
    let (lines, totals) = depot.diff("1", Some("2")).await.unwrap();
    assert!(lines.is_empty() && totals.bytes_after == 48_007);
    assert_eq!(depot.gets() - before, 2, "the two snapshots");
}

#[tokio::test]
async fn history_tells_what_became_of_a_path() {
    let mut depot = Depot::new();
    depot.set("x", "").commit(9).await;
    depot.set("a", "one").commit(8).await;
    depot.set("x", "!").commit(7).await;
    depot.set("a", "two!").commit(6).await;
    depot.tree.get_mut(&RelPath::from("a")).unwrap().mtime.secs += 1;
    depot.commit(5).await;
    depot.commit(4).await;
    depot.remove("a").commit(3).await;
    depot.set("a/", "").commit(2).await;
    depot.backend.plant(".offsite/snapshots/000000000006.json", "{");
    let lines = history_over(depot.records(), "a").await.unwrap();
    let got: Vec<_> = lines.iter().map(|l| (l.snapshot, l.change, l.size)).collect();
    let want = [
        (8, "added", None),
        (7, "removed", None),
        (6, "damaged", None),
        (5, "metadata", Some(4)),
        (4, "changed", Some(4)),
        (2, "added", Some(3)),
    ];
    assert_eq!(got, want);
    assert_eq!(lines[3].hash, Some(Hash::of(b"two!")));
    assert!(lines[2].problem.is_some());
    // A damaged snapshot is listed even if it never had the path.
    assert_eq!(history_over(depot.records(), "nope").await.unwrap().len(), 1);
    depot.backend.lose(".offsite/snapshots/000000000006.json");
    assert_eq!(usage(history_over(depot.records(), "nope").await), "nope is in no snapshot of s3://memory/look");
    usage(history_over(depot.records(), "").await);
}

#[tokio::test]
async fn history_reads_a_page_once_however_many_snapshots_share_it() {
    let mut depot = Depot::new();
    depot.many().commit(30).await;
    for day in 0..10 {
        depot.set("zoo", &"z".repeat(day + 10)).commit(20 - day as i64).await;
    }
    for day in 0..5 {
        depot.commit(5 - day).await;
    }
    let before = depot.gets();
    let lines = history_over(depot.records(), "big/deep/file-00100").await.unwrap();
    assert_eq!(lines.iter().map(|l| (l.snapshot, l.change)).collect::<Vec<_>>(), [(1, "added")]);
    // 16 snapshots, 11 distinct roots, one page.
    assert_eq!(depot.gets() - before, 16 + 11 + 1);
}

#[tokio::test]
async fn history_of_a_directory() {
    let mut depot = Depot::new();
    depot.set("d/", "").set("d-x", "").set("d/a", "1").commit(2).await;
    depot.tree.get_mut(&RelPath::from("d/")).unwrap().mode = 0o700;
    depot.commit(1).await;
    let lines = history_over(depot.records(), "d").await.unwrap();
    assert_eq!(lines.iter().map(|l| (l.snapshot, l.change)).collect::<Vec<_>>(), [(2, "metadata"), (1, "added")]);
}

#[tokio::test]
async fn cat_gives_what_was_stored_or_nothing() {
    let mut depot = Depot::new();
    depot.set("d/", "").set("d/f", "hello").set("empty", "");
    let link = symlink("s", "d/f");
    depot.tree.insert(link.path.clone(), link);
    depot.commit(1).await;
    depot.backend.plant("d/f", "hello");
    assert_eq!(depot.cat("d/f", None).await.unwrap(), b"hello");
    assert_eq!(depot.cat("empty", None).await.unwrap(), b"");
    // Replaced by a newer content: the old one is among the kept versions.
    depot.backend.plant("d/f", "HELLO");
    depot.backend.plant(".offsite/kept/000000000001/d/f", "hello");
    assert_eq!(depot.cat("d/f", Some("1")).await.unwrap(), b"hello");
    depot.backend.plant(".offsite/kept/000000000001/d/f", "hxllo");
    let mut out = Vec::new();
    let failed = cat_over(depot.records(), "d/f", None, &mut out).await;
    assert!(matches!(failed, Err(Error::Damaged { .. })) && out.is_empty(), "{failed:?}");
    let there = "in snapshot 1 of s3://memory/look";
    assert_eq!(usage(depot.cat("d", None).await), format!("d/ is a directory {there}, not a file"));
    assert_eq!(usage(depot.cat("s", None).await), format!("s is a symlink to d/f {there}, not a file"));
    assert_eq!(usage(depot.cat("d/nope", None).await), format!("d/nope is not {there}"));
}

#[tokio::test]
async fn a_large_content_ends_in_an_error_if_it_is_wrong() {
    let depot = Depot::new();
    let rules = KeyRules::any();
    let entry = entry("f", b"hello");
    depot.backend.plant("f", "hello");
    let mut out = Vec::new();
    write_content(depot.records(), &rules, &entry, 0, &mut out).await.unwrap();
    assert_eq!(out, b"hello");
    depot.backend.plant("f", "HELLO");
    depot.backend.plant(".offsite/kept/000000000001/f", "hello");
    let mut out = Vec::new();
    let failed = write_content(depot.records(), &rules, &entry, 0, &mut out).await;
    assert!(matches!(failed, Err(Error::Damaged { .. })), "{failed:?}");
    assert_eq!(out, b"HELLO", "never followed by another try");
}

#[tokio::test]
async fn a_large_old_content_on_a_tree_is_not_mistaken_for_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join(".offsite/kept/000000000001");
    std::fs::create_dir_all(&kept).unwrap();
    std::fs::write(dir.path().join("f"), "HELLO").unwrap();
    std::fs::write(kept.join("f"), "hello").unwrap();
    let backend = offsite_backends::open(dir.path().to_str().unwrap()).await.unwrap();
    let mut out = Vec::new();
    write_content(&Records::new(backend), &KeyRules::any(), &entry("f", b"hello"), 0, &mut out).await.unwrap();
    assert_eq!(out, b"hello");
}

#[test]
fn verbs_can_run_on_any_thread() {
    fn send<T: Send>(_: T) {}
    let machine = Machine { cache_dir: PathBuf::new(), host: String::new(), ..Machine::default() };
    send(super::listing::snapshots(&machine, ""));
    send(super::ls(&machine, "", "", None, false, &mut |_| Ok(())));
    send(super::diff(&machine, "", "1", None, &mut |_| Ok(())));
    send(super::history(&machine, "", ""));
    send(super::cat(&machine, "", "", None, &mut std::io::sink()));
}
