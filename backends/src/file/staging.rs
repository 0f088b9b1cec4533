//! The staging area: contents that are written and have no name in the tree yet.
//!
//! Owns temporary names, writing (holes included), copies within the tree and removal. `publish.rs` and `put.rs` give
//! staged contents their names. Everything here blocks.
//! Invariant: a temporary file is created exclusively, under a name that nobody else uses, in a directory that only
//! its owner can enter. Its guard removes it unless it is handed on.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::dirs::{LocalDirs, Make};
use super::{meta, read};
use crate::contract::error::{Error, ErrorKind, Reach, Result};
use crate::contract::tree::{FileMeta, Staged, Unset};
use crate::names::check;
use crate::staging_area::temp_name;

/// Number of directories in the staging area, used in turn. The kernel serializes the creation of files in one
/// directory, and ext4 puts all of them into one group of inodes, which is slow to search after many deletions.
/// Measured: twice as fast as a single directory.
const SHARDS: u64 = 16;
/// Aligned blocks of this many zero bytes become holes.
const HOLE: usize = 4096;
static ZEROS: [u8; HOLE] = [0; HOLE];

/// One tree's directories and its staging area.
pub(super) struct LocalStaging {
    pub dirs: LocalDirs,
    staging: Vec<u8>,
    /// Random, so that two processes that share a staging area use different names.
    prefix: u64,
    next: AtomicU64,
    /// How often the area was removed. Work holds it while it runs.
    removals: RwLock<u64>,
}

impl LocalStaging {
    pub fn open(root: &Path, staging: &[u8]) -> Result<Self> {
        check(staging).map_err(|why| Error::invalid(root.display(), why))?;
        Ok(Self {
            dirs: LocalDirs::new(root),
            staging: staging.to_vec(),
            prefix: RandomState::new().build_hasher().finish(),
            next: AtomicU64::new(0),
            removals: RwLock::new(0),
        })
    }

    /// How often the area was removed so far, for [`Self::begin`].
    pub fn removals(&self) -> u64 {
        *self.removals.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins work that was asked for when the area had been removed this often. A caller that was cancelled cannot call
    /// its work back, so work that comes too late is refused here. The area is not removed before the result is dropped.
    pub fn begin(&self, removals: u64) -> Result<RwLockReadGuard<'_, u64>> {
        let now = self.removals.read().unwrap_or_else(PoisonError::into_inner);
        if *now == removals { Ok(now) } else { Err(Error::new(ErrorKind::Other, self.dirs.shown(&self.staging), "the run has ended")) }
    }

    /// Waits for work that has begun, and then lets none begin that was asked for before. For the removal of the area.
    pub fn end(&self) -> RwLockWriteGuard<'_, u64> {
        let mut removals = self.removals.write().unwrap_or_else(PoisonError::into_inner);
        *removals += 1;
        removals
    }

    /// The staging directory, relative to the root.
    pub fn staging(&self) -> &[u8] {
        &self.staging
    }

    /// Whether a path is the staging directory or lies in it.
    pub fn is_staging(&self, path: &[u8]) -> bool {
        path.strip_prefix(&self.staging[..]).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    }

    /// An unused name in the staging directory.
    pub fn temp_name(&self) -> Vec<u8> {
        let number = self.next.fetch_add(1, Relaxed);
        let name = format!("/{:x}/{}", number % SHARDS, temp_name(self.prefix, number));
        [&self.staging, name.as_bytes()].concat()
    }

    /// Creates an empty temporary file, mode 0600.
    pub fn create(self: &Arc<Self>) -> Result<(LocalTemp, OwnedFd)> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let flags = flags | OFlags::NOFOLLOW;
        loop {
            let temp = self.temp_name();
            let made = self.dirs.at(&temp, Make::Yes, |dir, name| match rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR) {
                Err(Errno::EXIST) => Ok(None),
                done => done.map(Some),
            });
            // A name that exists is left alone, and the next one is tried. If no file can be staged, no entry can
            // succeed, so the error concerns the whole destination.
            if let Some(fd) = made.map_err(|e| e.reaching(Reach::Destination))? {
                return Ok((LocalTemp::new(self.clone(), temp), fd));
            }
        }
    }

    /// Writes a whole content with its metadata. `chunks` are its bytes in order.
    pub fn stage(self: &Arc<Self>, chunks: &[Bytes], meta: &FileMeta) -> Result<(LocalTemp, OwnedFd)> {
        let (mut temp, fd) = self.create()?;
        let mut offset = 0;
        let written = chunks.iter().try_for_each(|chunk| {
            write_at(&fd, offset, chunk, meta.sparse)?;
            offset += chunk.len() as u64;
            Ok(())
        });
        temp.unset = written.and_then(|()| finish(&fd, offset, meta)).map_err(|e| self.dirs.error(&temp.path, e))?;
        Ok((temp, fd))
    }

    /// Copies the regular file `from` to a temporary one. The copy shares blocks if the file system can do that.
    pub fn stage_copy(self: &Arc<Self>, from: &[u8], meta: &FileMeta) -> Result<(LocalTemp, OwnedFd)> {
        let (source, stat) = read::open_file(&self.dirs, from)?;
        self.stage_copy_of(&source, stat.st_size.unsigned_abs(), meta)
    }

    /// Like `stage_copy`, from an open file of `size` bytes.
    pub fn stage_copy_of(self: &Arc<Self>, source: &OwnedFd, size: u64, meta: &FileMeta) -> Result<(LocalTemp, OwnedFd)> {
        let (mut temp, fd) = self.create()?;
        let copied = copy(source, &fd, size, meta.sparse);
        temp.unset = copied.and_then(|length| finish(&fd, length, meta)).map_err(|e| self.dirs.error(&temp.path, e))?;
        Ok((temp, fd))
    }

    /// Removes a temporary file. A missing file is not an error.
    pub fn discard(&self, temp: &[u8]) -> Result<()> {
        self.dirs.at(temp, Make::No, |dir, name| match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            done => done,
        })
    }

    /// Removes the empty directories of the staging area, then the area itself if it is empty. Every step works in
    /// the open parent directory. A name that is no longer a directory (somebody put a symlink in its place) is left
    /// alone.
    pub fn remove(&self) -> Result<()> {
        self.dirs.root()?;
        for dir in self.shards().chain([self.staging.clone()]) {
            let done = self.dirs.at(&dir, Make::No, |parent, name| match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::BUSY) => Ok(()),
                done => done,
            });
            self.dirs.forget(&dir);
            match done {
                Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::Exists) => {}
                done => done?,
            }
        }
        Ok(())
    }

    pub fn shards(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        (0..SHARDS).map(|shard| [&self.staging, format!("/{shard:x}").as_bytes()].concat())
    }
}

/// A temporary file that is removed when this value is dropped, unless it was handed on.
pub(super) struct LocalTemp {
    area: Arc<LocalStaging>,
    pub path: Vec<u8>,
    /// The attributes that could not be set.
    pub unset: Vec<Unset>,
    armed: bool,
}

impl LocalTemp {
    pub fn new(area: Arc<LocalStaging>, path: Vec<u8>) -> Self {
        Self { area, path, unset: Vec::new(), armed: true }
    }

    /// Disarms the guard and returns the name. The file was renamed, or the caller takes care of it.
    pub fn release(mut self) -> Vec<u8> {
        self.armed = false;
        std::mem::take(&mut self.path)
    }

    pub fn into_staged(mut self) -> Staged {
        let unset = std::mem::take(&mut self.unset);
        Staged { temp: self.release(), unset }
    }
}

impl Drop for LocalTemp {
    fn drop(&mut self) {
        if self.armed {
            // Nobody can handle an error here. `clear` removes files that stay.
            let _ = self.area.discard(&self.path);
        }
    }
}

/// Sets length and metadata of a file whose bytes are written.
pub(super) fn finish(fd: &OwnedFd, length: u64, meta: &FileMeta) -> rustix::io::Result<Vec<Unset>> {
    if meta.sparse {
        rustix::fs::ftruncate(fd, length)?;
    }
    meta::apply_new(fd, meta)
}

/// Writes all of `data` at `offset`. With `sparse`, leaves out pieces of aligned blocks that are all zeros. The file
/// must then have been empty there, and the caller sets its length in the end.
pub(super) fn write_at(fd: &OwnedFd, offset: u64, data: &[u8], sparse: bool) -> rustix::io::Result<()> {
    if !sparse {
        return write_all(fd, offset, data);
    }
    // Pieces end at block boundaries, no matter how the content was cut into blocks before.
    let (mut from, mut at) = (0, 0);
    while at < data.len() {
        let begun = ((offset + at as u64) % HOLE as u64) as usize;
        let end = (at + HOLE - begun).min(data.len());
        if data[at..end] == ZEROS[..end - at] {
            write_all(fd, offset + from as u64, &data[from..at])?;
            from = end;
        }
        at = end;
    }
    write_all(fd, offset + from as u64, &data[from..])
}

pub(super) fn write_all(fd: &OwnedFd, mut offset: u64, mut data: &[u8]) -> rustix::io::Result<()> {
    while !data.is_empty() {
        match retry_on_intr(|| rustix::io::pwrite(fd, data, offset))? {
            0 => return Err(Errno::IO),
            n => {
                data = &data[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}

/// Copies the content of `from` to the empty file `to`. Returns the number of bytes.
fn copy(from: &OwnedFd, to: &OwnedFd, size: u64, sparse: bool) -> rustix::io::Result<u64> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(rustix::fs::fstat(to)?.st_size.unsigned_abs());
    }
    // The kernel's copy would write holes as zeros.
    let mut done = if sparse { 0 } else { copy_in_kernel(from, to, size)? };
    let mut buffer = vec![0; 1 << 20];
    loop {
        match read::read_full(from, &mut buffer, done)? {
            0 => return Ok(done),
            n => {
                write_at(to, done, &buffer[..n], sparse)?;
                done += n as u64;
            }
        }
    }
}

/// Copies from the start in the kernel. Returns the number of bytes, which can be less than `size`.
fn copy_in_kernel(from: &OwnedFd, to: &OwnedFd, size: u64) -> rustix::io::Result<u64> {
    let (mut read, mut written) = (0, 0);
    while written < size {
        let length = usize::try_from(size - written).unwrap_or(usize::MAX);
        let length = length.min(1 << 30);
        let (off_in, off_out) = (Some(&mut read), Some(&mut written));
        match retry_on_intr_copy(from, off_in, to, off_out, length) {
            Ok(0) => break,
            Ok(_) => {}
            // The kernel cannot copy between these file systems. The caller reads and writes the rest.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::BADF) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(written)
}

fn retry_on_intr_copy(
    from: &OwnedFd,
    mut off_in: Option<&mut u64>,
    to: &OwnedFd,
    mut off_out: Option<&mut u64>,
    length: usize,
) -> rustix::io::Result<usize> {
    retry_on_intr(|| rustix::fs::copy_file_range(from, off_in.as_deref_mut(), to, off_out.as_deref_mut(), length))
}
