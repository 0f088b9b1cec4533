//! What an unfinished run has done, so that the next run continues there.
//!
//! Owns a local file of JSON lines, to which a run appends each finished step. It is valid for one destination, one
//! base and one run. [`Header`] says which, and the engine uses it only while the lease of the destination still names
//! that run. A line that a crash left incomplete counts as not written.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::{Entry, Hash, Kind, Piece, RelPath, Stamps, Time};
use crate::spool::{Reader, Sorted, Sorter, Writer};

/// Identifies the run that a journal belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The `id` in the destination's `format.json`.
    pub destination: String,
    /// Random name of the run.
    pub run: String,
    /// The number of the snapshot that the run was going to commit.
    pub number: u64,
}

/// A finished step: the destination has the entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The entry as read, with the location of its content.
    pub entry: Entry,
    /// Stamps of the file when it was read.
    pub stamps: Stamps,
    /// The file changed during every attempt to read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unstable: bool,
}

/// An upload in parts that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Path of the file.
    pub path: RelPath,
    /// Key of the object.
    pub key: String,
    /// The store's id of the upload.
    pub id: String,
    /// Length of each part but the last, in bytes.
    pub part_size: u64,
    /// Length of the file when the upload began, in bytes.
    pub size: u64,
    /// Time of its last modification then.
    pub mtime: Time,
    /// Its stamps then.
    pub stamps: Stamps,
    /// The store's ids of the parts that it has, by their index from 0 on.
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
    /// The upload is completed or aborted.
    Closed {
        id: String,
    },
    /// The destination refused what the run had planned for this path.
    Refused {
        path: RelPath,
    },
    /// A pack is about to be written.
    Pack {
        name: Hash,
    },
    /// A pack is about to be deleted.
    Unpacked {
        name: Hash,
    },
    /// The destination has a pack with these pieces: hash, offset and length of the frame, skip, size.
    Packed {
        name: Hash,
        pieces: Vec<(Hash, u64, u64, u64, u64)>,
    },
}

/// The journal of this run. Errors are those of the cache.
pub struct Journal {
    out: Writer<JournalRecord>,
    path: PathBuf,
    flushed: Instant,
}

/// How often lines are written to the file. A killed run loses those in between. At a slow store that must not be
/// minutes of work, and at a fast one a call for each line would be too slow.
const FLUSH_EVERY: Duration = Duration::from_millis(50);

impl Journal {
    /// Starts a new journal in place of any old one.
    ///
    /// # Errors
    /// `Error::Local` if the file cannot be created or written.
    pub fn create(path: &Path, header: Header) -> Result<Self> {
        let mut out = Writer::create(path)?;
        out.push(&JournalRecord::Header(header))?;
        out.flush()?;
        Ok(Self { out, path: path.into(), flushed: Instant::now() })
    }

    /// Continues an existing journal as this run.
    ///
    /// # Errors
    /// `Error::Local` if the file is missing, or if it cannot be read or written.
    pub fn resume(path: &Path, header: Header) -> Result<Self> {
        // An incomplete line must not swallow the next one.
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

    /// Notes a finished step. It may stay in memory until a later line or [`Self::flush`].
    ///
    /// # Errors
    /// `Error::Local` if the journal cannot be written. A later call may report this instead.
    pub fn done(&mut self, done: Done) -> Result<()> {
        self.push(&JournalRecord::Done(Box::new(done)), false)
    }

    /// Notes a new upload in parts, and writes it to the file at once.
    ///
    /// # Errors
    /// `Error::Local` if the journal cannot be written.
    pub fn upload(&mut self, upload: Upload) -> Result<()> {
        self.push(&JournalRecord::Upload(Box::new(upload)), true)
    }

    /// Notes a part that the store has, and writes it to the file at once. `content` is the store's id of the part.
    ///
    /// # Errors
    /// `Error::Local` if the journal cannot be written.
    pub fn part(&mut self, id: &str, index: usize, content: &str) -> Result<()> {
        self.push(&JournalRecord::Part { id: id.into(), index, content: content.into() }, true)
    }

    /// Notes that an upload was completed or aborted, and writes it to the file at once.
    ///
    /// # Errors
    /// `Error::Local` if the journal cannot be written.
    pub fn closed(&mut self, id: &str) -> Result<()> {
        self.push(&JournalRecord::Closed { id: id.into() }, true)
    }

    /// Notes a path that the destination refused.
    ///
    /// # Errors
    /// `Error::Local` if the journal cannot be written. A later call may report this instead.
    pub fn refused(&mut self, path: &RelPath) -> Result<()> {
        self.push(&JournalRecord::Refused { path: path.clone() }, false)
    }

    /// Notes a pack that is about to be written, and writes it to the file at once.
    ///
    /// # Errors
    /// `Error::Local` if the journal cannot be written.
    pub fn pack(&mut self, name: Hash) -> Result<()> {
        self.push(&JournalRecord::Pack { name }, true)
    }

    /// Notes a pack that is about to be deleted, and writes it to the file at once.
    ///
    /// # Errors
    /// `Error::Local` if the journal cannot be written.
    pub fn unpacked(&mut self, name: Hash) -> Result<()> {
        self.push(&JournalRecord::Unpacked { name }, true)
    }

    /// Notes that the destination has a pack, and writes it to the file at once.
    ///
    /// # Errors
    /// `Error::Local` if the journal cannot be written.
    pub fn packed(&mut self, name: Hash, pieces: &[Piece]) -> Result<()> {
        let pieces = pieces.iter().map(|p| (p.hash, p.frame, p.length, p.skip, p.size)).collect();
        self.push(&JournalRecord::Packed { name, pieces }, true)
    }

    /// Writes everything so far to the file, but not necessarily to the disk.
    ///
    /// # Errors
    /// `Error::Local` if the journal cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }

    /// Path of the journal file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All finished steps, in order of their paths. Of several for one path, only the last. `spill` is a directory for
    /// sorting. Empty without a journal.
    ///
    /// # Errors
    /// `Error::Local` if the journal cannot be read or a file in `spill` cannot be written or read. `Error::Damaged` if
    /// a complete line of one of them cannot be decoded.
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

    /// The paths that the destination refused in the last run that wrote, in order. `None` if it refused none. `spill`
    /// is a directory for sorting.
    ///
    /// # Errors
    /// As for [`Journal::sorted`]. `Error::Local` also if the journal is missing.
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

/// A pack in a journal.
pub enum JournalPack {
    /// It was about to be written. The destination may have it.
    Begun(Hash),
    /// The destination has this piece of a pack.
    Piece(Piece),
    /// The pack was deleted, or is about to be.
    Gone(Hash),
}

impl Journal {
    /// Hands everything that a journal says of packs to `take`, in order. Nothing without a journal.
    ///
    /// # Errors
    /// Those of `take`. `Error::Local` if the journal cannot be opened. A line that cannot be read ends the reading.
    pub fn packs(path: &Path, mut take: impl FnMut(JournalPack) -> Result<()>) -> Result<()> {
        if !path.exists() {
            return Ok(());
        }
        let mut reader = Reader::<JournalRecord>::open(path)?;
        while let Ok(Some(record)) = reader.next_line() {
            match record {
                JournalRecord::Pack { name } => take(JournalPack::Begun(name))?,
                JournalRecord::Unpacked { name } => take(JournalPack::Gone(name))?,
                JournalRecord::Packed { name, pieces } => {
                    for (hash, frame, length, skip, size) in pieces {
                        take(JournalPack::Piece(Piece { size, hash, pack: name, frame, length, skip }))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Cuts the file back to its last whole line. It searches from the end, because a journal can be many gigabytes long.
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

/// The content of the journal of an earlier run.
#[derive(Debug)]
pub struct Resumed {
    /// The last run that wrote to the journal.
    pub header: Header,
    /// Uploads in parts that are not closed, by path. Of several for one path, the one that began last.
    pub uploads: HashMap<RelPath, Upload>,
    /// All other uploads that are not closed. No run continues them.
    pub older: Vec<Upload>,
    /// Number of files that it finished.
    pub done: u64,
}

impl Resumed {
    /// Reads a journal. `None` if it does not exist or does not begin with a header.
    ///
    /// # Errors
    /// `Error::Local` if the journal exists but cannot be opened. A line that cannot be read or decoded ends the
    /// reading and is no error.
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
                // Every run that continues a journal adds its header.
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
                // The run that continues tries it again. [`Journal::packs`] reads the packs.
                JournalRecord::Refused { .. }
                | JournalRecord::Pack { .. }
                | JournalRecord::Packed { .. }
                | JournalRecord::Unpacked { .. } => {}
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
