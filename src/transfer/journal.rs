//! What an unfinished run has done, so that the next one goes on there.
//!
//! Owns a local file of JSON lines, appended as things finish. It holds for one destination, one base and
//! one run; [`Header`] says which, and the engine believes it only while the destination's lease still
//! names that run. A line that a crash cut off counts as not written.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::{Entry, Kind, RelPath, Stamps, Time};
use crate::spool::{Reader, Sorted, Sorter, Writer};

/// Which run a journal is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// `id` of the destination's `format.json`.
    pub destination: String,
    pub run: String,
    /// The snapshot it was going to commit.
    pub number: u64,
}

/// A file that is at the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub entry: Entry,
    pub stamps: Stamps,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unstable: bool,
}

/// An upload in parts that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    pub path: RelPath,
    pub key: String,
    /// The store's id for it.
    pub id: String,
    pub part_size: u64,
    pub size: u64,
    pub mtime: Time,
    pub stamps: Stamps,
    /// What the store said of the parts that are there, by their index.
    #[serde(default)]
    pub parts: BTreeMap<usize, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum JournalRecord {
    Header(Header),
    Done(Box<Done>),
    Upload(Box<Upload>),
    Part {
        id: String,
        index: usize,
        content: String,
    },
    /// The upload is finished or given up.
    Closed {
        id: String,
    },
    /// The destination did not take what the run had planned for this path.
    Refused {
        path: RelPath,
    },
}

/// The journal of this run.
pub struct Journal {
    out: Writer<JournalRecord>,
    path: PathBuf,
    flushed: Instant,
}

/// What was written goes to the kernel so often. A killed run loses the rest: at a slow store that must not be
/// minutes of work, at a fast one a call for each line would be felt.
const FLUSH_EVERY: Duration = Duration::from_millis(50);

impl Journal {
    /// Begins a new one.
    pub fn create(path: &Path, header: Header) -> Result<Self> {
        let mut out = Writer::create(path)?;
        out.push(&JournalRecord::Header(header))?;
        out.flush()?;
        Ok(Self { out, path: path.into(), flushed: Instant::now() })
    }

    /// Goes on with the one that is there, as this run.
    pub fn resume(path: &Path, header: Header) -> Result<Self> {
        // A line that was cut off must not swallow the next one.
        mend(path)?;
        let mut out = Writer::append(path)?;
        out.push(&JournalRecord::Header(header))?;
        out.flush()?;
        Ok(Self { out, path: path.into(), flushed: Instant::now() })
    }

    fn push(&mut self, record: &JournalRecord, now: bool) -> Result<()> {
        self.out.push(record)?;
        if now || self.flushed.elapsed() >= FLUSH_EVERY {
            self.out.flush()?;
            self.flushed = Instant::now();
        }
        Ok(())
    }

    pub fn done(&mut self, done: Done) -> Result<()> {
        self.push(&JournalRecord::Done(Box::new(done)), false)
    }

    pub fn upload(&mut self, upload: Upload) -> Result<()> {
        self.push(&JournalRecord::Upload(Box::new(upload)), true)
    }

    pub fn part(&mut self, id: &str, index: usize, content: &str) -> Result<()> {
        self.push(&JournalRecord::Part { id: id.into(), index, content: content.into() }, true)
    }

    pub fn closed(&mut self, id: &str) -> Result<()> {
        self.push(&JournalRecord::Closed { id: id.into() }, true)
    }

    pub fn refused(&mut self, path: &RelPath) -> Result<()> {
        self.push(&JournalRecord::Refused { path: path.clone() }, false)
    }

    /// Everything so far is in the file.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All that is done, in order of paths; of a path done twice the last.
    pub fn sorted(path: &Path, spill: &Path) -> Result<Sorted<Done>> {
        let mut sorter = Sorter::new(spill, |d: &Done| d.entry.path.as_bytes());
        if path.exists() {
            let mut reader = Reader::<JournalRecord>::open(path)?;
            while let Some(record) = reader.next_line()? {
                if let JournalRecord::Done(done) = record {
                    sorter.push(&done)?;
                }
            }
        }
        sorter.finish()
    }

    /// What the destination did not take in the run that wrote last, in order of paths; none if it took all.
    pub fn sorted_refused(path: &Path, spill: &Path) -> Result<Option<Sorted<RelPath>>> {
        let sorter = || Sorter::new(spill, RelPath::as_bytes);
        let (mut refused, mut any) = (sorter(), false);
        let mut reader = Reader::<JournalRecord>::open(path)?;
        while let Some(record) = reader.next_line()? {
            match record {
                JournalRecord::Header(_) if any => (refused, any) = (sorter(), false),
                JournalRecord::Refused { path } => {
                    refused.push(&path)?;
                    any = true;
                }
                _ => {}
            }
        }
        if any { refused.finish().map(Some) } else { Ok(None) }
    }
}

/// Cuts the file back to its last whole line, looking for it from the end: a journal can be many gigabytes long.
fn mend(path: &Path) -> Result<()> {
    use std::os::unix::fs::FileExt;
    const BLOCK: u64 = 64 << 10;
    let fail = |e| crate::error::Error::cache(path, e);
    let file = crate::spool::private_file().read(true).write(true).open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    let mut block = vec![0; BLOCK as usize];
    let mut end = length;
    let whole = loop {
        let start = end.saturating_sub(BLOCK);
        let tail = &mut block[..(end - start) as usize];
        file.read_exact_at(tail, start).map_err(fail)?;
        match tail.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => break start + at as u64 + 1,
            None if start == 0 => break 0,
            None => end = start,
        }
    };
    if whole < length { file.set_len(whole).map_err(fail) } else { Ok(()) }
}

/// What an earlier run left in its journal.
#[derive(Debug)]
pub struct Resumed {
    pub header: Header,
    /// Uploads in parts that are not closed, by path: of several for one path the one that was begun last.
    pub uploads: HashMap<RelPath, Upload>,
    /// The others, which nobody goes on with.
    pub older: Vec<Upload>,
    /// How many files it finished.
    pub done: u64,
}

impl Resumed {
    /// Reads the journal, if there is one that begins as one.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let mut reader = Reader::<JournalRecord>::open(path)?;
        let Ok(Some(JournalRecord::Header(mut header))) = reader.next_line() else { return Ok(None) };
        let mut open: HashMap<String, (usize, Upload)> = HashMap::new();
        let mut begun = 0;
        let mut done = 0;
        while let Ok(Some(record)) = reader.next_line() {
            match record {
                // Every run that goes on with a journal signs it.
                JournalRecord::Header(next) => header = next,
                JournalRecord::Done(sent) => done += u64::from(sent.entry.kind == Kind::File),
                JournalRecord::Upload(upload) => {
                    begun += 1;
                    open.insert(upload.id.clone(), (begun, *upload));
                }
                JournalRecord::Part { id, index, content } => {
                    if let Some((_, upload)) = open.get_mut(&id) {
                        upload.parts.insert(index, content);
                    }
                }
                JournalRecord::Closed { id } => drop(open.remove(&id)),
                // Tried again by whoever goes on.
                JournalRecord::Refused { .. } => {}
            }
        }
        let mut open: Vec<(usize, Upload)> = open.into_values().collect();
        open.sort_by_key(|(begun, _)| *begun);
        let (mut uploads, mut older) = (HashMap::new(), Vec::new());
        for (_, upload) in open {
            older.extend(uploads.insert(upload.path.clone(), upload));
        }
        Ok(Some(Self { header, uploads, older, done }))
    }

    /// All uploads that are not closed.
    pub fn into_uploads(self) -> impl Iterator<Item = Upload> {
        self.uploads.into_values().chain(self.older)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_journal_is_cut_back_to_its_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let long = "x".repeat(200_000);
        for (text, whole) in [
            ("", ""),
            ("one\n", "one\n"),
            ("one\ntw", "one\n"),
            ("torn", ""),
            (&*format!("one\n{long}"), "one\n"),
            (&*format!("{long}\n{long}"), &*format!("{long}\n")),
        ] {
            std::fs::write(&path, text).unwrap();
            mend(&path).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        }
    }
}
