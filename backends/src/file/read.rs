//! Reading contents: opening without following symlinks, whole reads, streams of blocks.
//!
//! Owns how a file is opened for reading. Only a regular file counts as one.
//! Invariant: a read continues until the block is full or the file ends, so only the last block is short.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::dirs::{LocalDirs, Make};
use super::meta;
use super::threads::blocking;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::tree::{self, FileKind, FileStat};

/// Size of one block of a stream, in bytes.
pub(super) const BLOCK: u64 = 1 << 20;

/// The message for a file that ends before the length that it had when it was opened.
pub(super) const SHORTER: &str = "the file became shorter while it was read";

/// Opens a regular file. Returns `NotFound` if `path` is another kind of file, or if a component on the way is not a
/// directory.
pub(super) fn open_file(dirs: &LocalDirs, path: &[u8]) -> Result<(OwnedFd, Stat)> {
    // Without NONBLOCK, opening a FIFO would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let no_file = |what: &str| Error::new(ErrorKind::NotFound, dirs.shown(path), format!("{what} is there"));
    let opened = dirs.at(path, Make::No, |dir, name| {
        let fd = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Ok(None),
            fd => fd?,
        };
        let stat = rustix::fs::fstat(&fd)?;
        Ok(meta::is_file(stat.st_mode).then_some((fd, stat)))
    });
    match opened {
        Ok(Some(opened)) => Ok(opened),
        Ok(None) => Err(no_file("something that is not a regular file")),
        Err(error) if error.kind == ErrorKind::Exists => Err(no_file("something other than a directory in its place")),
        Err(error) => Err(error),
    }
}

/// Opens a regular file of `length` bytes. Returns `NotFound` for a file of another length.
pub(super) fn open_exactly(dirs: &LocalDirs, path: &[u8], length: u64) -> Result<OwnedFd> {
    let (fd, stat) = open_file(dirs, path)?;
    match stat.st_size.unsigned_abs() {
        found if found == length => Ok(fd),
        found => Err(tree::other_length(dirs.shown(path), found, length)),
    }
}

/// The metadata of `path` itself, or `None` if it does not exist.
pub(super) fn stat(dirs: &LocalDirs, path: &[u8]) -> Result<Option<FileStat>> {
    let root = dirs.root()?;
    if path.is_empty() {
        let stat = rustix::fs::fstat(&root).map_err(|e| dirs.error(path, e))?;
        return Ok(Some(file_stat(&stat)));
    }
    let found = dirs.at(path, Make::No, |dir, name| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW));
    match found {
        Ok(stat) => Ok(Some(file_stat(&stat))),
        Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::Exists) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The target of the symlink at `path`, or `None` if it is not a symlink.
pub(super) fn link(dirs: &LocalDirs, path: &[u8]) -> Result<Option<Vec<u8>>> {
    let found = dirs.at(path, Make::No, |dir, name| match rustix::fs::readlinkat(dir, name, Vec::new()) {
        Err(Errno::INVAL) => Ok(None),
        target => target.map(|target| Some(target.into_bytes())),
    });
    match found {
        Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::Exists) => Ok(None),
        found => found,
    }
}

fn file_stat(stat: &Stat) -> FileStat {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    };
    FileStat { kind, size: stat.st_size.unsigned_abs(), mtime: meta::stamp(stat), ino: stat.st_ino }
}

/// Fills `buffer` from `offset` and returns the number of bytes. Fewer bytes than the buffer holds mean that the file
/// ended.
pub(super) fn read_full(fd: &OwnedFd, buffer: &mut [u8], offset: u64) -> rustix::io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        let rest = &mut buffer[done..];
        match retry_on_intr(|| rustix::io::pread(fd, &mut *rest, offset + done as u64))? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}

/// Reads up to `length` bytes from `offset`.
pub(super) fn read_block(fd: &OwnedFd, offset: u64, length: u64) -> rustix::io::Result<Bytes> {
    let mut buffer = vec![0; usize::try_from(length).map_err(|_| Errno::FBIG)?];
    let done = read_full(fd, &mut buffer, offset)?;
    buffer.truncate(done);
    Ok(buffer.into())
}

/// Streams a range of an open file, block by block. `shown` names the file in errors. If the file ends before the
/// range does, the stream ends with an error.
pub(super) fn blocks(fd: OwnedFd, range: Range<u64>, shown: String) -> BoxStream<'static, Result<Bytes>> {
    let fd = Arc::new(fd);
    let next = move |range: Range<u64>| {
        let (fd, shown) = (fd.clone(), shown.clone());
        async move {
            let length = range.end.saturating_sub(range.start).min(BLOCK);
            if length == 0 {
                return Ok(None);
            }
            let start = range.start;
            let named = shown.clone();
            let block = blocking(move || read_block(&fd, start, length).map_err(|e| Error::from_io(named, &e.into()))).await?;
            let got = block.len() as u64;
            if got < length {
                return Err(Error::new(ErrorKind::Other, shown, SHORTER));
            }
            Ok(Some((block, start + got..range.end)))
        }
    };
    stream::try_unfold(range, next).boxed()
}
