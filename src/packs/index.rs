//! Finds pieces that a destination has: records by BLAKE3, in a directory of sorted runs.
//!
//! Owns `head`, `head.new` and `run-*` of its directory, for one process at a time: a cache that is made anew if it is
//! damaged. Invariants: `head` names the runs of its stamp, which are on the disk before it. Of records with one hash
//! the last one counts. Memory holds [`HELD`] records and 16 bytes for each 4 KiB of the runs, and [`MOST`] runs are open.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub use super::run::Record;
use super::run::{Digest, IndexRun, RecordRest, RunWriter, damaged, merge};
use crate::spool::private_file;

/// Records that are held in memory before they become a run.
const HELD: usize = 100_000;
/// Number of runs from which on some are merged: a hash that is nowhere takes one read in each.
const MOST: usize = 4;
const MAGIC: &[u8; 16] = b"offsite index 1\n";
/// Bytes of a head without runs: magic, stamp, next id.
const FIXED: usize = 16 + 32 + 8;
/// Bytes of a run in the head: id, count, hash of its table.
const NAMED: usize = 8 + 8 + 32;

/// Records by hash.
#[derive(Debug)]
pub struct Index {
    dir: PathBuf,
    /// Newer than all runs.
    held: BTreeMap<Digest, RecordRest>,
    limit: usize,
    /// Oldest first.
    runs: Vec<IndexRun>,
    /// Number of the next run.
    next: u64,
    /// The head on the disk names only runs below this number. They stay until another head is there.
    named: u64,
}

impl Index {
    /// Opens the index that was committed with this stamp. `None` if there is none, or if it is damaged.
    ///
    /// # Errors
    /// Those of the file system, other than that a file is missing.
    pub fn open(dir: &Path, stamp: &[u8; 32]) -> io::Result<Option<Self>> {
        use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
        match Self::load(dir, stamp) {
            Err(error) if matches!(error.kind(), InvalidData | NotFound | UnexpectedEof) => Ok(None),
            loaded => loaded,
        }
    }

    /// Makes an empty index, and deletes the one that is in the directory.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let index = Self::empty(dir);
        // First, so that no head is left that names what is gone.
        index.remove("head")?;
        index.sweep()?;
        Ok(index)
    }

    /// The record with this hash, also if it is not committed.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the index is damaged where the record would be, and those of the file system.
    /// The index should then be made anew.
    pub fn get(&mut self, hash: &[u8; 32]) -> io::Result<Option<Record>> {
        if let Some(rest) = self.held.get(hash) {
            return Ok(Some(Record::new(*hash, rest)));
        }
        for run in self.runs.iter().rev() {
            if let Some(record) = run.find(hash)? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Adds a record. It replaces one with the same hash.
    ///
    /// # Errors
    /// As for [`Self::get`], because the records in memory may be written and runs merged.
    pub fn insert(&mut self, record: Record) -> io::Result<()> {
        self.held.insert(record.hash, record.rest());
        if self.held.len() < self.limit { Ok(()) } else { self.spill() }
    }

    /// Puts everything inserted so far on the disk, for this stamp. After a crash the directory has either that, or what
    /// was committed before.
    ///
    /// # Errors
    /// As for [`Self::insert`].
    pub fn commit(&mut self, stamp: &[u8; 32]) -> io::Result<()> {
        self.spill()?;
        for run in self.runs.iter().filter(|run| run.id >= self.named) {
            run.sync()?;
        }
        self.sync_names()?;
        // Whether or not the head gets there: what it names stays.
        self.named = self.next;
        self.write_head(stamp)?;
        self.sweep()
    }

    /// Number of records, those that were replaced included.
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|run| run.count).sum::<u64>() + self.held.len() as u64
    }

    fn empty(dir: &Path) -> Self {
        Self { dir: dir.into(), held: BTreeMap::new(), limit: HELD, runs: Vec::new(), next: 0, named: 0 }
    }

    fn load(dir: &Path, stamp: &[u8; 32]) -> io::Result<Option<Self>> {
        let mut head = Vec::new();
        private_file().read(true).open(dir.join("head"))?.read_to_end(&mut head)?;
        let (body, digest) = head.split_last_chunk::<32>().ok_or_else(|| damaged("the index has no head"))?;
        if blake3::hash(body).as_bytes() != digest || body.len() < FIXED || !body.starts_with(MAGIC) {
            return Err(damaged("the head of the index is damaged"));
        }
        let (fixed, named) = body.split_at(FIXED);
        if fixed[16..48] != stamp[..] {
            return Ok(None);
        }
        let mut index = Self::empty(dir);
        index.next = number(&fixed[48..]);
        index.named = index.next;
        for run in named.as_chunks::<NAMED>().0 {
            let (id, count) = (number(run), number(&run[8..]));
            let digest = run.last_chunk().copied().unwrap_or_default();
            index.runs.push(IndexRun::open(&index.path(id), id, count, digest)?);
        }
        index.sweep()?;
        Ok(Some(index))
    }

    fn path(&self, id: u64) -> PathBuf {
        self.dir.join(format!("run-{id:016x}"))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes the files that are no part of the index: those of runs that were merged, and of a process that was killed.
    fn sweep(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            let run = name.strip_prefix("run-").and_then(|id| u64::from_str_radix(id, 16).ok());
            if name == "head.new" || run.is_some_and(|id| self.runs.iter().all(|run| run.id != id)) {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    /// Makes a run of the records in memory.
    fn spill(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let mut out = self.writer()?;
        for (hash, rest) in &self.held {
            out.push(hash, rest)?;
        }
        self.runs.push(out.finish()?);
        self.held.clear();
        self.merge()
    }

    fn writer(&mut self) -> io::Result<RunWriter> {
        self.next += 1;
        RunWriter::create(&self.path(self.next - 1), self.next - 1)
    }

    /// If too many runs are open, those from the oldest one on that is not larger than twice all newer ones together
    /// become one. So each of 20 million records is written 6 times, and a large index only after it grew by half.
    fn merge(&mut self) -> io::Result<()> {
        if self.runs.len() <= MOST {
            return Ok(());
        }
        let (mut from, mut newer) = (self.runs.len() - 2, 0);
        for (at, run) in self.runs.iter().enumerate().rev() {
            if run.count <= 2 * newer {
                from = from.min(at);
            }
            newer += run.count;
        }
        let out = self.writer()?;
        let merged = merge(&self.runs[from..], out)?;
        let old = self.runs.split_off(from);
        self.runs.push(merged);
        old.iter().filter(|run| run.id >= self.named).try_for_each(|run| std::fs::remove_file(self.path(run.id)))
    }

    fn write_head(&self, stamp: &[u8; 32]) -> io::Result<()> {
        let mut head = [&MAGIC[..], stamp, &self.next.to_le_bytes()].concat();
        for run in &self.runs {
            head.extend([&run.id.to_le_bytes()[..], &run.count.to_le_bytes(), &run.digest].concat());
        }
        head.extend(blake3::hash(&head).as_bytes());
        let new = self.dir.join("head.new");
        let mut file = private_file().write(true).create(true).truncate(true).open(&new)?;
        file.write_all(&head)?;
        file.sync_data()?;
        std::fs::rename(&new, self.dir.join("head"))?;
        self.sync_names()
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

/// The number that stands at the beginning of these bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::os::unix::fs::FileExt;

    type Model = HashMap<Digest, Record>;
    const OLD: [u8; 32] = [1; 32];
    const NEW: [u8; 32] = [2; 32];

    /// Of every 5 hashes 4 begin with one of 3 prefixes, which so go over several blocks.
    fn record(n: u32, value: u32) -> Record {
        let mut hash = *blake3::hash(&n.to_le_bytes()).as_bytes();
        if !n.is_multiple_of(5) {
            hash[..8].fill((n % 3) as u8 * 100);
        }
        Record { hash, pack: *blake3::hash(&value.to_le_bytes()).as_bytes(), frame: n, length: value ^ n, skip: 3, size: u32::MAX - n }
    }

    fn small(mut index: Index, limit: usize) -> Index {
        index.limit = limit;
        index
    }

    fn open(dir: &Path, stamp: &[u8; 32]) -> Index {
        small(Index::open(dir, stamp).unwrap().unwrap(), 200)
    }

    fn fill(index: &mut Index, numbers: std::ops::Range<u32>, value: u32, model: &mut Model) {
        for record in numbers.map(|n| record(n, value)) {
            index.insert(record).unwrap();
            model.insert(record.hash, record);
        }
    }

    fn holds(index: &mut Index, model: &Model) {
        for n in 0..3000 {
            let hash = record(n, 0).hash;
            assert_eq!(index.get(&hash).unwrap(), model.get(&hash).copied(), "{n}");
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Copies the files that the other directory does not have.
    fn add_files(from: &Path, to: &Path) {
        for name in names(from).iter().filter(|name| !to.join(name).exists()) {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert { from: u32, count: u32, value: u32 },
        Commit(u8),
        Reopen,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0u32..2000, 0u32..900, any::<u32>()).prop_map(|(from, count, value)| Step::Insert { from, count, value }),
            2 => any::<u8>().prop_map(Step::Commit),
            1 => Just(Step::Reopen),
        ];
        prop::collection::vec(step, 1..25)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn it_is_a_map(steps in steps(), limit in 30usize..300) {
            let dir = tempfile::tempdir().unwrap();
            let mut index = small(Index::create(dir.path()).unwrap(), limit);
            let (mut model, mut committed, mut stamp) = (Model::new(), Model::new(), None);
            for step in steps {
                match step {
                    Step::Insert { from, count, value } => fill(&mut index, from..from + count, value, &mut model),
                    Step::Commit(byte) => {
                        index.commit(&[byte; 32]).unwrap();
                        (committed, stamp) = (model.clone(), Some([byte; 32]));
                        prop_assert_eq!(names(dir.path()).len(), index.runs.len() + 1);
                    }
                    // As after a crash: what was not committed is gone.
                    Step::Reopen => {
                        drop(index);
                        let opened = stamp.map_or_else(|| Index::create(dir.path()), |stamp| Ok(Index::open(dir.path(), &stamp)?.unwrap()));
                        (index, model) = (small(opened.unwrap(), limit), committed.clone());
                    }
                }
                prop_assert!(index.runs.len() <= MOST && index.held.len() < limit);
            }
            holds(&mut index, &model);
        }
    }

    #[test]
    fn another_stamp_opens_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Index::open(dir.path(), &OLD).unwrap().is_none());
        assert!(Index::open(&dir.path().join("missing"), &OLD).unwrap().is_none());
        let mut index = Index::create(&dir.path().join("new/index")).unwrap();
        index.commit(&OLD).unwrap();
        assert!(Index::open(&index.dir, &NEW).unwrap().is_none());
        holds(&mut open(&index.dir, &OLD), &Model::new());
    }

    #[test]
    fn a_new_index_replaces_the_old_one_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("packs"), "other").unwrap();
        std::fs::write(dir.path().join("run-away"), "other").unwrap();
        let mut index = small(Index::create(dir.path()).unwrap(), 10);
        fill(&mut index, 0..100, 1, &mut Model::new());
        index.commit(&OLD).unwrap();
        let mut index = Index::create(dir.path()).unwrap();
        assert_eq!(names(dir.path()), ["packs", "run-away"]);
        holds(&mut index, &Model::new());
        assert!(Index::open(dir.path(), &OLD).unwrap().is_none());
    }

    /// A committed index with several runs of several blocks.
    fn filled(dir: &Path) -> Model {
        let mut model = Model::new();
        let mut index = small(Index::create(dir).unwrap(), 200);
        for (numbers, value) in [(0..800, 1), (750..950, 2), (940..1100, 3)] {
            fill(&mut index, numbers, value, &mut model);
        }
        index.commit(&OLD).unwrap();
        assert!(index.runs.len() > 1);
        holds(&mut index, &model);
        model
    }

    #[test]
    fn a_damaged_file_tells_nothing_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let model = filled(dir.path());
        for name in names(dir.path()) {
            let path = dir.path().join(&name);
            let whole = std::fs::read(&path).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            for at in (0..whole.len()).step_by(1 + whole.len() / 40) {
                file.write_all_at(&[whole[at] ^ 1 << (at % 8)], at as u64).unwrap();
                if let Some(mut index) = Index::open(dir.path(), &OLD).unwrap() {
                    let mut errors = 0;
                    for (hash, record) in &model {
                        match index.get(hash) {
                            Ok(found) => assert_eq!(found, Some(*record)),
                            Err(error) => errors += usize::from(error.kind() == io::ErrorKind::InvalidData),
                        }
                    }
                    assert!(errors > 0 && name.starts_with("run-"), "{name} {at}");
                    // Neither does a merge carry it on.
                    let out = index.writer().unwrap();
                    assert!(merge(&index.runs, out).is_err(), "{name} {at}");
                }
                file.write_all_at(&whole[at..=at], at as u64).unwrap();
            }
            for length in [0, 1, whole.len() / 2, whole.len() - 1, whole.len() + 1] {
                std::fs::write(&path, &whole).unwrap();
                file.set_len(length as u64).unwrap();
                assert!(Index::open(dir.path(), &OLD).unwrap().is_none(), "{name} {length}");
            }
            std::fs::remove_file(&path).unwrap();
            assert!(Index::open(dir.path(), &OLD).unwrap().is_none(), "{name}");
            std::fs::write(&path, &whole).unwrap();
        }
        holds(&mut open(dir.path(), &OLD), &model);
    }

    #[test]
    fn a_crash_leaves_the_old_or_the_new() {
        let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let [dir, before, after] = [0, 1, 2].map(|n| dirs[n].path());
        let old = filled(dir);
        let mut new = old.clone();
        let mut index = open(dir, &OLD);
        // Enough that runs of the old index are merged.
        fill(&mut index, 1000..2500, 9, &mut new);
        assert!(index.runs.iter().all(|run| run.id >= index.named));
        add_files(dir, before);
        index.commit(&NEW).unwrap();
        add_files(dir, after);
        drop(index);

        // All that is written before the head is replaced, then all that is deleted afterwards.
        add_files(after, before);
        std::fs::write(before.join("head.new"), "half").unwrap();
        add_files(before, after);
        for (at, stamp, other, model) in [(before, OLD, NEW, &old), (after, NEW, OLD, &new)] {
            assert!(Index::open(at, &other).unwrap().is_none());
            let mut index = open(at, &stamp);
            holds(&mut index, model);
            assert_eq!(names(at).len(), index.runs.len() + 1);
        }
    }

    #[test]
    fn a_small_run_does_not_rewrite_a_large_index() {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::new();
        let mut index = Index::create(dir.path()).unwrap();
        fill(&mut index, 0..2500, 0, &mut model);
        index.commit(&OLD).unwrap();
        let base = index.runs[0].id;
        for day in 1..40 {
            fill(&mut index, 2500 + day * 10..2510 + day * 10, day, &mut model);
            index.commit(&[day as u8; 32]).unwrap();
            assert!(index.runs[0].id == base && index.runs.len() <= MOST);
        }
        holds(&mut index, &model);
        // Without records only the head is written.
        let next = index.next;
        index.commit(&NEW).unwrap();
        assert_eq!(open(dir.path(), &NEW).next, next);
    }
}
