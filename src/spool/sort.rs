//! Sorting more than fits in memory: runs of bounded size in unnamed files, merged at the end.
//!
//! Of several documents with one key only the one pushed last comes out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::lines::Reader;
use crate::error::{Error, Result};

/// Takes documents in any order.
pub struct Sorter<T> {
    dir: PathBuf,
    key: fn(&T) -> &[u8],
    held: Vec<T>,
    cap: usize,
    runs: Vec<File>,
}

impl<T: Serialize + DeserializeOwned> Sorter<T> {
    /// Holds at most `cap` documents in memory; the rest goes to unnamed files in `dir`.
    pub fn new(dir: &Path, cap: usize, key: fn(&T) -> &[u8]) -> Self {
        Self { dir: dir.into(), key, held: Vec::new(), cap: cap.max(2), runs: Vec::new() }
    }

    pub fn push(&mut self, value: T) -> Result<()> {
        self.held.push(value);
        if self.held.len() >= self.cap { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<()> {
        self.settle();
        let fail = |e| Error::local(&self.dir, e);
        let file = unnamed(&self.dir).map_err(fail)?;
        let mut out = BufWriter::with_capacity(1 << 16, file);
        for value in self.held.drain(..) {
            serde_json::to_writer(&mut out, &value).map_err(|e| fail(e.into()))?;
            out.write_all(b"\n").map_err(fail)?;
        }
        let mut file = out.into_inner().map_err(|e| fail(e.into_error()))?;
        file.rewind().map_err(fail)?;
        self.runs.push(file);
        Ok(())
    }

    /// Sorts what is held, the last of equals staying.
    fn settle(&mut self) {
        let key = self.key;
        self.held.reverse();
        self.held.sort_by(|a, b| key(a).cmp(key(b)));
        self.held.dedup_by(|later, kept| key(later) == key(kept));
    }

    /// The documents in order of their keys.
    pub fn finish(mut self) -> Result<Sorted<T>> {
        if self.runs.is_empty() {
            self.settle();
            return Ok(Sorted {
                held: std::mem::take(&mut self.held).into_iter(),
                runs: Vec::new(),
                heap: BinaryHeap::new(),
                key: self.key,
            });
        }
        if !self.held.is_empty() {
            self.spill()?;
        }
        let runs = self.runs.drain(..).map(|f| (Reader::over(f, &self.dir), None)).collect();
        let mut sorted = Sorted { held: Vec::new().into_iter(), runs, heap: BinaryHeap::new(), key: self.key };
        for index in 0..sorted.runs.len() {
            sorted.refill(index)?;
        }
        Ok(sorted)
    }
}

/// A file without a name: gone with its last user, a killed process too.
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

/// Documents in order.
pub struct Sorted<T> {
    held: std::vec::IntoIter<T>,
    runs: Vec<(Reader<T>, Option<T>)>,
    /// Smallest key first; of equal keys the newest run first.
    heap: BinaryHeap<Reverse<(Vec<u8>, Reverse<usize>)>>,
    key: fn(&T) -> &[u8],
}

/// Sorted documents that are met by keys asked for in ascending order.
pub struct Joined<T> {
    sorted: Sorted<T>,
    next: Option<T>,
}

impl<T: DeserializeOwned> Joined<T> {
    pub fn new(mut sorted: Sorted<T>) -> Result<Self> {
        let next = sorted.next_sorted()?;
        Ok(Self { sorted, next })
    }

    /// The document with this key, if there is one; those before it are passed over.
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
    fn refill(&mut self, index: usize) -> Result<()> {
        let next = self.runs[index].0.next_line()?;
        if let Some(value) = &next {
            self.heap.push(Reverse(((self.key)(value).to_vec(), Reverse(index))));
        }
        self.runs[index].1 = next;
        Ok(())
    }

    /// The next document; none at the end.
    pub fn next_sorted(&mut self) -> Result<Option<T>> {
        if self.runs.is_empty() {
            return Ok(self.held.next());
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

    proptest! {
        #[test]
        fn comes_out_sorted_with_the_last_of_each_key(values in prop::collection::vec(("[a-c]{0,3}", 0u32..100), 0..60), cap in 2usize..20) {
            let dir = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::new(dir.path(), cap, |v: &(String, u32)| v.0.as_bytes());
            let mut want = BTreeMap::new();
            for value in &values {
                sorter.push(value.clone()).unwrap();
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
}
