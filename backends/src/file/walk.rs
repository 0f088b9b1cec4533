//! Listing: every regular file below a directory, with its raw key.
//!
//! Owns the walk and its order. Leaves out directories, symlinks, special files and the staging area, whose files are
//! not objects yet.
//! Invariant: the stream ends with an error or is complete. An entry that vanishes during the walk counts as missing.
//! An entry that cannot be read is an error.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use rustix::fs::{AtFlags, FileType, RawDir, Stat};
use rustix::io::Errno;
use tokio::sync::mpsc;

use super::staging::LocalStaging;
use crate::contract::error::{Error, ErrorKind, Result};

/// Files in one batch of the stream.
const BATCH: usize = 512;
/// Size of the buffer for directory entries, in bytes.
const ENTRIES: usize = 64 << 10;

/// A regular file that was found.
#[derive(Debug)]
pub(super) struct WalkedFile {
    pub key: Vec<u8>,
    pub stat: Stat,
}

/// The order of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Byte order of the whole key. Keeps the entries of one directory per level in memory.
    Bytes,
    /// The order in which the file system lists entries. Keeps only the names of directories in memory.
    Any,
}

/// Lists the files below the directory `start`, or none if it does not exist. A missing root is an error.
pub(super) fn list(area: Arc<LocalStaging>, start: Vec<u8>, order: Order) -> BoxStream<'static, Result<WalkedFile>> {
    // The walk starts at the first poll, so that a stream that nobody polls reads nothing.
    stream::once(async move {
        let (sender, receiver) = mpsc::channel(4);
        // Not awaited: the thread ends with the walk, or at the next batch after the stream is dropped.
        drop(tokio::task::spawn_blocking(move || {
            let mut walk = LocalWalk { area, order, sender, batch: Vec::with_capacity(BATCH) };
            if let Err(error) = walk.run(start) {
                walk.batch.push(Err(error));
            }
            walk.flush();
        }));
        stream::unfold(receiver, |mut receiver| async {
            let batch: Vec<_> = receiver.recv().await?;
            Some((stream::iter(batch), receiver))
        })
        .flatten()
    })
    .flatten()
    .boxed()
}

struct LocalWalk {
    area: Arc<LocalStaging>,
    order: Order,
    sender: mpsc::Sender<Vec<Result<WalkedFile>>>,
    batch: Vec<Result<WalkedFile>>,
}

enum Todo {
    Dir(Vec<u8>),
    File(WalkedFile),
}

impl Todo {
    /// The sort key of an entry. A directory sorts where the keys below it do.
    fn rank(&self) -> impl Iterator<Item = u8> + '_ {
        let (path, slash) = match self {
            Self::Dir(path) => (path, Some(b'/')),
            Self::File(found) => (&found.key, None),
        };
        path.iter().copied().chain(slash)
    }
}

impl LocalWalk {
    fn run(&mut self, start: Vec<u8>) -> Result<()> {
        self.area.dirs.root()?;
        let mut todo = vec![Todo::Dir(start)];
        while let Some(next) = todo.pop() {
            match next {
                Todo::File(found) => {
                    if !self.emit(found) {
                        return Ok(());
                    }
                }
                Todo::Dir(path) => {
                    let at = todo.len();
                    if !self.read_dir(&path, &mut todo)? {
                        return Ok(());
                    }
                    if self.order == Order::Bytes {
                        todo[at..].sort_unstable_by(|a, b| b.rank().cmp(a.rank()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads one directory. Returns false if the stream was dropped.
    fn read_dir(&mut self, path: &[u8], todo: &mut Vec<Todo>) -> Result<bool> {
        let area = self.area.clone();
        let dir = match area.dirs.readable(path) {
            // It was deleted, or replaced by another kind of file, since its parent was read.
            Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::Exists) => return Ok(true),
            dir => dir?,
        };
        let mut wanted = true;
        each_entry(&dir, |name, kind| {
            if !wanted {
                return Ok(());
            }
            let key = join(path, name);
            match entry(&dir, name, kind)? {
                WalkEntry::Dir if !area.is_staging(&key) => todo.push(Todo::Dir(key)),
                WalkEntry::File(stat) if self.order == Order::Bytes => {
                    todo.push(Todo::File(WalkedFile { key, stat }));
                }
                WalkEntry::File(stat) => wanted = self.emit(WalkedFile { key, stat }),
                _ => {}
            }
            Ok(())
        })
        .map_err(|errno| area.dirs.error(path, errno))?;
        Ok(wanted)
    }

    fn emit(&mut self, found: WalkedFile) -> bool {
        self.batch.push(Ok(found));
        self.batch.len() < BATCH || self.flush()
    }

    fn flush(&mut self) -> bool {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        self.sender.blocking_send(batch).is_ok()
    }
}

/// The content of one directory: regular files with their keys, and the keys of directories, each sorted.
pub(super) fn level(area: &LocalStaging, path: &[u8]) -> Result<(Vec<WalkedFile>, Vec<Vec<u8>>)> {
    area.dirs.root()?;
    let (mut files, mut dirs) = (Vec::new(), Vec::new());
    let dir = match area.dirs.readable(path) {
        Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::Exists) => {
            return Ok((files, dirs));
        }
        dir => dir?,
    };
    each_entry(&dir, |name, kind| {
        let key = join(path, name);
        match entry(&dir, name, kind)? {
            WalkEntry::Dir if !area.is_staging(&key) => dirs.push(key),
            WalkEntry::File(stat) => files.push(WalkedFile { key, stat }),
            _ => {}
        }
        Ok(())
    })
    .map_err(|errno| -> Error { area.dirs.error(path, errno) })?;
    files.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    dirs.sort_unstable();
    Ok((files, dirs))
}

/// The names in a directory, without `.` and `..`.
pub(super) fn names(dir: &OwnedFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    each_entry(dir, |name, _| {
        names.push(name.to_vec());
        Ok(())
    })?;
    Ok(names)
}

enum WalkEntry {
    Dir,
    File(Stat),
    Other,
}

fn entry(dir: &OwnedFd, name: &[u8], kind: FileType) -> rustix::io::Result<WalkEntry> {
    match kind {
        FileType::Directory => return Ok(WalkEntry::Dir),
        FileType::RegularFile | FileType::Unknown => {}
        _ => return Ok(WalkEntry::Other),
    }
    let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(WalkEntry::Other),
        stat => stat?,
    };
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => WalkEntry::Dir,
        FileType::RegularFile => WalkEntry::File(stat),
        _ => WalkEntry::Other,
    })
}

fn each_entry(dir: &OwnedFd, mut each: impl FnMut(&[u8], FileType) -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    let mut buffer = vec![MaybeUninit::uninit(); ENTRIES];
    let mut entries = RawDir::new(dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            // The directory was removed while it was read.
            Err(Errno::NOENT) => return Ok(()),
            entry => entry?,
        };
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            each(name, entry.file_type())?;
        }
    }
    Ok(())
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path {
        b"" => name.to_vec(),
        path => [path, b"/", name].concat(),
    }
}
