//! One pass over a listing, split by the destinations in it.
//!
//! Owns which object belongs to which destination: the innermost directory that holds a `format.json` or a snapshot
//! of offsite. The pass keeps the open directories of the current key with their sums. A directory that closes
//! becomes a row or is added to its parent. A destination that appears again (uploads are listed after versions) adds
//! to its row. Invariant: every item is counted once, and memory grows with the destinations, not with the objects.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use offsite_backends::usage::Sum;
use offsite_backends::{Listed, State, Usage};

use crate::manifest::snapshot_number;

/// offsite's own directory, and the directories for contents in it.
const OWN: &[u8] = b".offsite/";
/// Below [`OWN`]: the contents of a packed destination.
const PACKS: &[u8] = b"packs/";
const KEPT: &[u8] = b"kept/";
const ODD: &[u8] = b"odd/";

/// What one destination holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SplitUsage {
    /// Sums over everything that was listed for the destination.
    pub usage: Usage,
    /// Number of the newest snapshot that the listing shows, and when it was committed.
    pub newest: Option<(u64, DateTime<Utc>)>,
}

/// An open directory of the pass.
#[derive(Debug, Default)]
struct OpenGroup {
    /// Length of its path within the path of the innermost open directory.
    end: usize,
    /// It is a destination.
    ours: bool,
    found: SplitUsage,
}

/// The state of the pass.
#[derive(Debug, Default)]
pub struct Split {
    /// Path of the innermost open directory, with its slash.
    path: Vec<u8>,
    /// The open directories, the top first; never empty.
    open: Vec<OpenGroup>,
    rows: BTreeMap<Vec<u8>, SplitUsage>,
    /// Items listed so far.
    pub seen: u64,
}

impl Split {
    /// A pass that has seen nothing.
    pub fn new() -> Self {
        Self { open: vec![OpenGroup::default()], ..Self::default() }
    }

    /// Counts one item. Call it in the order of the listing.
    pub fn add(&mut self, listed: &Listed) {
        let key = &listed.key[..];
        let own = own_at(key);
        let end = own.unwrap_or_else(|| key.iter().rposition(|b| *b == b'/').map_or(0, |i| i + 1));
        self.enter(&key[..end]);
        self.seen += 1;
        let Some(open) = self.open.last_mut() else { return };
        open.found.usage.add(listed);
        if listed.state != State::Current {
            return;
        }
        let usage = &mut open.found.usage;
        let one = Sum { objects: 1, bytes: listed.size };
        match own.map(|at| &key[at + OWN.len()..]) {
            None => usage.names.add(b"", one),
            Some(rest) if rest.starts_with(KEPT) => usage.kept.join(one),
            Some(rest) if rest.starts_with(PACKS) => usage.names.add(b".offsite/packs/", one),
            Some(rest) if rest.starts_with(ODD) => usage.names.add(b".offsite/odd/", one),
            Some(rest) => {
                usage.records.join(one);
                let number = number(rest);
                open.ours |= number.is_some() || rest == b"format.json";
                open.found.newest = newer(open.found.newest, number.map(|n| (n, listed.modified)));
            }
        }
    }

    /// Ends the pass. Returns the destinations by directory (empty for the top itself), and the usage outside of all
    /// destinations.
    pub fn finish(mut self) -> (BTreeMap<Vec<u8>, SplitUsage>, Usage) {
        while self.open.len() > 1 {
            self.close();
        }
        let top = self.open.pop().unwrap_or_default();
        if top.ours || self.rows.contains_key(&b""[..]) {
            self.row(Vec::new(), top.found);
            return (self.rows, Usage::default());
        }
        (self.rows, top.found.usage)
    }

    /// Closes the open directories that do not contain `dir`, and opens those that lead to it.
    fn enter(&mut self, dir: &[u8]) {
        while self.open.last().is_some_and(|open| !dir.starts_with(&self.path[..open.end])) {
            self.close();
        }
        let from = self.path.len();
        for (at, _) in dir.iter().enumerate().skip(from).filter(|(_, b)| **b == b'/') {
            self.open.push(OpenGroup { end: at + 1, ..OpenGroup::default() });
        }
        self.path.extend_from_slice(&dir[from..]);
    }

    fn close(&mut self) {
        let Some(OpenGroup { end, ours, found }) = self.open.pop() else { return };
        let begin = self.open.last().map_or(0, |parent| parent.end);
        let path = self.path[..end].to_vec();
        self.path.truncate(begin);
        if ours || self.rows.contains_key(&path) {
            return self.row(path, found);
        }
        if let Some(parent) = self.open.last_mut() {
            parent.found.usage.join(&found.usage);
            if found.usage.current.objects > 0 {
                parent.found.usage.names.add(&path[begin..], found.usage.current);
            }
        }
    }

    fn row(&mut self, path: Vec<u8>, found: SplitUsage) {
        let row = self.rows.entry(path).or_default();
        row.usage.join(&found.usage);
        row.usage.records.join(found.usage.records);
        row.usage.kept.join(found.usage.kept);
        row.usage.names.join(&found.usage.names);
        row.newest = newer(row.newest, found.newest);
    }
}

/// The position of offsite's own directory in a key, if the key is in one; the outermost counts.
fn own_at(key: &[u8]) -> Option<usize> {
    if key.starts_with(OWN) {
        return Some(0);
    }
    key.windows(OWN.len() + 1).position(|part| part[0] == b'/' && &part[1..] == OWN).map(|at| at + 1)
}

/// The number of a snapshot, from the key of its object below `.offsite/`.
fn number(rest: &[u8]) -> Option<u64> {
    let name = std::str::from_utf8(rest.strip_prefix(b"snapshots/")?).ok()?;
    // At a sealed destination it has another ending.
    snapshot_number(name.strip_suffix(".age").unwrap_or(name))
}

fn newer(one: Option<(u64, DateTime<Utc>)>, other: Option<(u64, DateTime<Utc>)>) -> Option<(u64, DateTime<Utc>)> {
    [one, other].into_iter().flatten().max_by_key(|(number, _)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(key: &str, size: u64, state: State) -> Listed {
        Listed { key: key.into(), size, etag: None, modified: DateTime::UNIX_EPOCH, state, version: None, class: None }
    }

    fn split(keys: &[(&str, u64)]) -> (BTreeMap<Vec<u8>, SplitUsage>, Usage) {
        let mut split = Split::new();
        keys.iter().for_each(|(key, size)| split.add(&thing(key, *size, State::Current)));
        split.finish()
    }

    const MIXED: [(&str, u64); 10] = [
        ("a-site/.offsite/format.json", 100),
        ("a-site/.offsite/kept/000000000001/x", 7),
        ("a-site/.offsite/odd/abc", 5),
        ("a-site/.offsite/snapshots/000000000012.json", 10),
        ("a-site/docs/deep/er/y", 3),
        ("a-site/x", 2),
        ("logs/2026/11/a", 40),
        ("logs/b", 2),
        ("stray", 1),
        ("teams/one/.offsite/snapshots/000000000003.json", 9),
    ];

    #[track_caller]
    fn as_mixed(rows: &BTreeMap<Vec<u8>, SplitUsage>, nobodys: &Usage) {
        assert_eq!(rows.keys().map(Vec::as_slice).collect::<Vec<_>>(), [&b"a-site/"[..], b"teams/one/"]);
        let site = &rows[&b"a-site/"[..]];
        let figures = [site.usage.current, site.usage.records, site.usage.kept].map(|sum| (sum.objects, sum.bytes));
        assert_eq!((figures, site.newest.map(|n| n.0)), ([(6, 127), (2, 110), (1, 7)], Some(12)));
        assert_eq!((nobodys.current.objects, nobodys.current.bytes), (3, 43));
        let names: Vec<_> = nobodys.names.clone().largest().0.into_iter().map(|(name, sum)| (name, sum.objects, sum.bytes)).collect();
        assert_eq!(names, [(b"".to_vec(), 1, 1), (b"logs/".to_vec(), 2, 42)]);
    }

    #[test]
    fn each_destination_is_a_row_and_the_rest_is_nobodys() {
        let (rows, nobodys) = split(&MIXED);
        as_mixed(&rows, &nobodys);
        let (names, others) = rows[&b"a-site/"[..]].usage.names.clone().largest();
        let names: Vec<_> = names.into_iter().map(|(name, sum)| (String::from_utf8(name).unwrap(), sum.bytes)).collect();
        assert_eq!((names, others), (vec![(String::new(), 2), (".offsite/odd/".into(), 5), ("docs/".into(), 3)], Sum::default()));
    }

    #[test]
    fn what_comes_back_after_its_directory_closed_finds_its_row() {
        let mut back = MIXED;
        back.swap(5, 9);
        let (rows, nobodys) = split(&back);
        as_mixed(&rows, &nobodys);
        let mut split = Split::new();
        MIXED.iter().for_each(|(key, size)| split.add(&thing(key, *size, State::Current)));
        split.add(&thing("a-site/big.bin", 8, State::Unfinished));
        split.add(&thing("logs/big.bin", 9, State::Unfinished));
        let (rows, nobodys) = split.finish();
        assert_eq!((rows[&b"a-site/"[..]].usage.unfinished.bytes, nobodys.unfinished.bytes), (8, 9));
    }

    #[test]
    fn a_place_of_its_own_is_one_row_and_a_removed_one_is_none() {
        let (rows, nobodys) = split(&[(".offsite/format.json", 3), ("a", 1)]);
        assert_eq!((rows[&b""[..]].usage.current.bytes, nobodys.is_empty()), (4, true));
        let mut gone = Split::new();
        gone.add(&thing("site/.offsite/format.json", 3, State::Old));
        gone.add(&thing("site/.offsite/format.json", 0, State::Marker));
        let (rows, nobodys) = gone.finish();
        assert_eq!((rows.len(), nobodys.old.objects, nobodys.markers), (0, 1, 1));
    }

    #[test]
    fn odd_keys_are_counted() {
        let (rows, nobodys) = split(&[("//a", 1), ("/b", 2), ("a//b/", 3), ("a/", 4), (".offsitex/y", 5)]);
        assert_eq!((rows.len(), nobodys.current.objects, nobodys.current.bytes), (0, 5, 15));
    }
}
