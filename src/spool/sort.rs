//! Sorting more than fits in memory: runs of bounded size in unnamed files, merged in levels.
//!
//! Owns the bounds. Memory is bounded by bytes, however many or large the documents are. The number of open files is
//! bounded by [`FAN`] for each level, and a level holds [`FAN`] times as much as the level below: 20 million names take
//! two levels. Invariant: of several documents with one key, only the last one pushed comes out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::lines::Reader;
use crate::error::{Error, Result};

/// Bytes that are held in memory before they are written to a file.
const HELD: usize = 8 << 20;
/// Number of runs of one level that are merged into one run of the next.
const FAN: usize = 32;

/// Takes documents in any order, and returns them sorted by key.
///
/// # Examples
///
/// ```
/// use offsite::spool::Sorter;
///
/// fn name(document: &(String, u64)) -> &[u8] {
///     document.0.as_bytes()
/// }
///
/// # let dir = tempfile::tempdir()?;
/// let mut sorter = Sorter::new(dir.path(), name);
/// for (name, size) in [("robots.txt", 1), ("index.html", 14), ("robots.txt", 2)] {
///     sorter.push(&(name.to_owned(), size))?;
/// }
/// let mut sorted = sorter.finish()?;
/// // In the order of the keys, and of two documents with one key only the last.
/// assert_eq!(sorted.next_sorted()?, Some(("index.html".to_owned(), 14)));
/// assert_eq!(sorted.next_sorted()?, Some(("robots.txt".to_owned(), 2)));
/// assert_eq!(sorted.next_sorted()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sorter<T> {
    dir: PathBuf,
    key: fn(&T) -> &[u8],
    held: HeapItem,
    limit: usize,
    /// Runs by level, in the order they were pushed. Those of a higher level are older.
    levels: Vec<Vec<File>>,
}

impl<T: Serialize + DeserializeOwned> Sorter<T> {
    /// Writes documents that do not fit in memory to unnamed files in `dir`.
    pub fn new(dir: &Path, key: fn(&T) -> &[u8]) -> Self {
        Self::holding(dir, HELD, key)
    }

    /// Holds at most `limit` bytes and one more document in memory.
    fn holding(dir: &Path, limit: usize, key: fn(&T) -> &[u8]) -> Self {
        Self { dir: dir.into(), key, held: HeapItem::default(), limit, levels: Vec::new() }
    }

    /// Adds a document. It replaces an earlier one with the same key.
    ///
    /// # Errors
    /// [`Error::Local`] if the document has no form in JSON, or if a file in `dir` cannot be written or read.
    /// [`Error::Damaged`] if a document in such a file cannot be decoded.
    pub fn push(&mut self, value: &T) -> Result<()> {
        self.held.push((self.key)(value), value).map_err(|e| Error::cache(&self.dir, e))?;
        if self.held.size() >= self.limit { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<()> {
        self.held.settle();
        let mut out = Run::create(&self.dir)?;
        for line in self.held.lines() {
            out.line(line)?;
        }
        self.held.clear();
        let file = out.end()?;
        self.add(0, file)
    }

    /// Adds a run. A full level becomes one run of the next level.
    fn add(&mut self, level: usize, file: File) -> Result<()> {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(file);
        if self.levels[level].len() < FAN {
            return Ok(());
        }
        let full = std::mem::take(&mut self.levels[level]);
        let mut merged = Sorted::<T>::merging(full, &self.dir, self.key)?;
        let mut out = Run::create(&self.dir)?;
        let mut line = Vec::new();
        while let Some(value) = merged.next_sorted()? {
            line.clear();
            serde_json::to_writer(&mut line, &value).map_err(|e| Error::cache(&self.dir, e.into()))?;
            line.push(b'\n');
            out.line(&line)?;
        }
        let file = out.end()?;
        self.add(level + 1, file)
    }

    /// Ends the input. The result returns the documents in byte order of their keys.
    ///
    /// # Errors
    /// [`Error::Local`] if a file in `dir` cannot be written or read. [`Error::Damaged`] if a document in such a file
    /// cannot be decoded. It cannot fail if all documents fit in memory.
    pub fn finish(mut self) -> Result<Sorted<T>> {
        if self.levels.is_empty() {
            self.held.settle();
            return Ok(Sorted { held: Some(self.held), next: 0, runs: Vec::new(), heap: BinaryHeap::new(), key: self.key, dir: self.dir });
        }
        if !self.held.index.is_empty() {
            self.spill()?;
        }
        let runs = self.levels.drain(..).rev().flatten().collect();
        Sorted::merging(runs, &self.dir, self.key)
    }
}

/// Documents in memory: keys and lines alternate.
#[derive(Default)]
struct HeapItem {
    bytes: Vec<u8>,
    index: Vec<SortItem>,
}

struct SortItem {
    key: Range<usize>,
    line: Range<usize>,
}

impl HeapItem {
    fn push<T: Serialize>(&mut self, key: &[u8], value: &T) -> std::io::Result<()> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let middle = self.bytes.len();
        serde_json::to_writer(&mut self.bytes, value)?;
        self.bytes.push(b'\n');
        self.index.push(SortItem { key: start..middle, line: middle..self.bytes.len() });
        Ok(())
    }

    fn size(&self) -> usize {
        self.bytes.len() + self.index.len() * size_of::<SortItem>()
    }

    /// Sorts by key. Of documents with one key only the last one stays.
    fn settle(&mut self) {
        let Self { bytes, index } = self;
        index.reverse();
        index.sort_by(|a, b| bytes[a.key.clone()].cmp(&bytes[b.key.clone()]));
        index.dedup_by(|later, kept| bytes[later.key.clone()] == bytes[kept.key.clone()]);
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.index.iter().map(|item| &self.bytes[item.line.clone()])
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.index.clear();
    }
}

/// A run that is being written to its file.
struct Run<'a> {
    out: BufWriter<File>,
    dir: &'a Path,
}

impl<'a> Run<'a> {
    fn create(dir: &'a Path) -> Result<Self> {
        let file = unnamed(dir).map_err(|e| Error::cache(dir, e))?;
        Ok(Self { out: BufWriter::with_capacity(1 << 16, file), dir })
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        self.out.write_all(line).map_err(|e| Error::cache(self.dir, e))
    }

    fn end(self) -> Result<File> {
        let fail = |e| Error::cache(self.dir, e);
        let mut file = self.out.into_inner().map_err(|e| fail(e.into_error()))?;
        file.rewind().map_err(fail)?;
        Ok(file)
    }
}

/// A file without a name: it disappears when its last handle is closed, even if the process is killed.
fn unnamed(dir: &Path) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    match open(dir, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR) {
        Ok(fd) => Ok(fd.into()),
        Err(_) => {
            let path = dir.join(format!("sort-{:016x}", crate::random()));
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
    }
}

/// Documents in order of their keys.
pub struct Sorted<T> {
    /// All documents, if they fit in memory.
    held: Option<HeapItem>,
    /// How many of those have been returned.
    next: usize,
    runs: Vec<(Reader<T>, Option<T>)>,
    /// Smallest key first. Of equal keys the newest run comes first.
    heap: BinaryHeap<Reverse<(Vec<u8>, Reverse<usize>)>>,
    key: fn(&T) -> &[u8],
    dir: PathBuf,
}

/// Sorted documents that are looked up by keys in ascending order.
pub struct Joined<T> {
    sorted: Sorted<T>,
    next: Option<T>,
}

impl<T: DeserializeOwned> Joined<T> {
    /// Starts at the first document.
    ///
    /// # Errors
    /// As for [`Sorted::next_sorted`].
    pub fn new(mut sorted: Sorted<T>) -> Result<Self> {
        let next = sorted.next_sorted()?;
        Ok(Self { sorted, next })
    }

    /// Returns the document with this key, if any, and skips those with smaller keys. Each document is returned once.
    ///
    /// # Errors
    /// As for [`Sorted::next_sorted`].
    pub fn meet(&mut self, key: &[u8]) -> Result<Option<T>> {
        while let Some(next) = &self.next {
            match (self.sorted.key)(next).cmp(key) {
                std::cmp::Ordering::Less => self.next = self.sorted.next_sorted()?,
                std::cmp::Ordering::Equal => return Ok(std::mem::replace(&mut self.next, self.sorted.next_sorted()?)),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(None)
    }
}

impl<T: DeserializeOwned> Sorted<T> {
    /// Merges runs. Later runs in the list are newer.
    fn merging(runs: Vec<File>, dir: &Path, key: fn(&T) -> &[u8]) -> Result<Self> {
        let runs = runs.into_iter().map(|f| (Reader::over(f, dir), None)).collect();
        let mut sorted = Self { held: None, next: 0, runs, heap: BinaryHeap::new(), key, dir: dir.into() };
        for index in 0..sorted.runs.len() {
            sorted.refill(index)?;
        }
        Ok(sorted)
    }

    fn refill(&mut self, index: usize) -> Result<()> {
        let next = self.runs[index].0.next_line()?;
        if let Some(value) = &next {
            self.heap.push(Reverse(((self.key)(value).to_vec(), Reverse(index))));
        }
        self.runs[index].1 = next;
        Ok(())
    }

    /// The next document. `None` at the end.
    ///
    /// # Errors
    /// [`Error::Local`] if a file cannot be read, or if a document that is in memory cannot be decoded.
    /// [`Error::Damaged`] if a document in a file cannot be decoded.
    pub fn next_sorted(&mut self) -> Result<Option<T>> {
        if let Some(held) = &self.held {
            let Some(item) = held.index.get(self.next) else { return Ok(None) };
            self.next += 1;
            return serde_json::from_slice(&held.bytes[item.line.clone()]).map(Some).map_err(|e| Error::cache(&self.dir, e.into()));
        }
        let Some(Reverse((key, Reverse(index)))) = self.heap.pop() else { return Ok(None) };
        let value = self.runs[index].1.take();
        self.refill(index)?;
        while let Some(Reverse((next, Reverse(other)))) = self.heap.peek() {
            if *next != key {
                break;
            }
            let other = *other;
            self.heap.pop();
            self.refill(other)?;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key(value: &(String, u32)) -> &[u8] {
        value.0.as_bytes()
    }

    proptest! {
        #[test]
        fn comes_out_sorted_with_the_last_of_each_key(values in prop::collection::vec(("[a-c]{0,3}", 0u32..100), 0..60), limit in 50usize..1000) {
            let dir = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::holding(dir.path(), limit, key);
            let mut want = BTreeMap::new();
            for value in &values {
                sorter.push(value).unwrap();
                want.insert(value.0.clone(), value.1);
            }
            let mut sorted = sorter.finish().unwrap();
            let mut got = Vec::new();
            while let Some(value) = sorted.next_sorted().unwrap() {
                got.push(value);
            }
            prop_assert_eq!(got, want.into_iter().collect::<Vec<_>>());
        }
    }

    /// Two levels: each document is a run of its own, and there are more than a level holds, twice over.
    #[test]
    fn the_runs_that_are_open_at_once_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::holding(dir.path(), 1, key);
        let count = FAN * FAN + FAN + 1;
        for n in 0..count {
            // Every key twice. The second must win although the first is in a run of a higher level.
            sorter.push(&(format!("{:05}", n / 2), n as u32)).unwrap();
            assert!(sorter.levels.iter().all(|level| level.len() < FAN));
        }
        assert_eq!(sorter.levels.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
        let mut sorted = sorter.finish().unwrap();
        let mut got = Vec::new();
        while let Some((_, n)) = sorted.next_sorted().unwrap() {
            got.push(n as usize);
        }
        assert_eq!(got, (0..count).filter(|n| n % 2 == 1 || *n == count - 1).collect::<Vec<_>>());
    }
}
