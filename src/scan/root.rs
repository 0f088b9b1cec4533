//! The root of a source tree: opens what lies below it and nothing else.
//!
//! Invariant: no symlink below the root is ever followed, whatever is swapped in while a scan runs, and
//! paths may be longer than the kernel takes in one call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat, openat2, statat};

use super::Stat;

/// Longest path handed to the kernel in one call, in bytes.
const CHUNK: usize = 3000;

/// An open source directory.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
    /// `openat2` is there (Linux 5.6, and no sandbox forbids it).
    beneath: AtomicBool,
}

impl Root {
    /// Opens the directory a user named; a symlink in that name is followed.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd, path: path.to_path_buf(), beneath: AtomicBool::new(true) })
    }

    /// As the user named it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Metadata of the root itself.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(Stat::from_raw(&rustix::fs::fstat(&self.fd)?))
    }

    /// Metadata of a path below (a trailing slash is passed over), not followed.
    pub fn stat_at(&self, path: &[u8]) -> io::Result<Stat> {
        let bare = path.strip_suffix(b"/").unwrap_or(path);
        let (held, rest) = self.descend(bare)?;
        Ok(Stat::from_raw(&statat(self.dir(&held), rest, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// Opens a directory below; the empty path is the root.
    pub fn open_dir(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let bare = path.strip_suffix(b"/").unwrap_or(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        if bare.is_empty() {
            return Ok(openat(&self.fd, c".", flags, Mode::empty())?);
        }
        self.open_flags(bare, flags)
    }

    /// Opens a file below for reading; never blocks on a pipe.
    pub fn open_file(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.open_flags(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK)
    }

    /// Target of a symlink below.
    pub fn read_link(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let (held, rest) = self.descend(path)?;
        Ok(rustix::fs::readlinkat(self.dir(&held), rest, Vec::new())?.into_bytes())
    }

    fn open_flags(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let (held, rest) = self.descend(path)?;
        self.open_step(self.dir(&held), rest, flags)
    }

    fn dir<'a>(&'a self, held: &'a Option<OwnedFd>) -> BorrowedFd<'a> {
        held.as_ref().map_or(self.fd.as_fd(), |fd| fd.as_fd())
    }

    /// Goes down until what is left fits one call.
    fn descend<'a>(&self, path: &'a [u8]) -> io::Result<(Option<OwnedFd>, &'a [u8])> {
        let mut held: Option<OwnedFd> = None;
        let mut rest = path;
        while rest.len() > CHUNK {
            let cut = rest[..CHUNK].iter().rposition(|b| *b == b'/').ok_or(io::ErrorKind::InvalidFilename)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let next = self.open_step(self.dir(&held), &rest[..cut], flags)?;
            held = Some(next);
            rest = &rest[cut + 1..];
        }
        Ok((held, rest))
    }

    fn open_step(&self, dir: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        if self.beneath.load(Ordering::Relaxed) {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match openat2(dir, path, flags, Mode::empty(), resolve) {
                Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => self.beneath.store(false, Ordering::Relaxed),
                done => return Ok(done?),
            }
        }
        let mut held: Option<OwnedFd> = None;
        let mut parts = path.split(|b| *b == b'/').peekable();
        while let Some(part) = parts.next() {
            let step = if parts.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW } else { flags };
            let next = openat(held.as_ref().map_or(dir, |fd| fd.as_fd()), part, step, Mode::empty())?;
            held = Some(next);
        }
        held.ok_or_else(|| io::ErrorKind::InvalidFilename.into())
    }
}
