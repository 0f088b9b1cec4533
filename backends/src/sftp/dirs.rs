//! The way from the root to any directory below it.
//!
//! Owns checking paths, making missing parents, and remembering which directories are known to be ones.
//! Invariant: every component of a parent was looked at without following it and is a directory, or was
//! made here; what was seen is believed as long as this value lives. A server has no call that would
//! close the gap between look and use, so an account that others can write with is theirs as well.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::link::Link;
use super::ops::attrs;
use super::packet::{self, Attrs};
use super::session::SftpFault;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::tree::FileKind;
use crate::file::dirs::{check, split};

/// Directories remembered; some 10 MiB of names at the most.
const KNOWN: usize = 100_000;

/// Directories below the root of one destination.
pub(super) struct SftpDirs {
    pub link: Arc<Link>,
    rooted: AtomicBool,
    known: Mutex<HashSet<Vec<u8>>>,
}

impl SftpDirs {
    pub fn new(link: Arc<Link>) -> Self {
        Self { link, rooted: AtomicBool::new(false), known: Mutex::default() }
    }

    /// A path below the root as the server is asked for it.
    pub fn full(&self, path: &[u8]) -> Vec<u8> {
        match (&self.link.address.base[..], path) {
            (base, b"") => base.to_vec(),
            (b"/", path) => [b"/", path].concat(),
            (b".", path) => [b"./", path].concat(),
            (base, path) => [base, b"/", path].concat(),
        }
    }

    /// Makes sure that the root is there; symlinks on the way to it are the user's own choice.
    pub async fn root(&self) -> Result<()> {
        if self.rooted.load(Relaxed) {
            return Ok(());
        }
        let found = self.link.run(b"", |session, _| {
            let root = self.full(b"");
            async move { attrs(session.stat(&root)).await }
        });
        match found.await? {
            Some(attrs) if matches!(kind(&attrs), FileKind::Dir) => {
                self.rooted.store(true, Relaxed);
                Ok(())
            }
            Some(_) => Err(Error::new(ErrorKind::Exists, self.link.shown(b""), "this is not a directory")),
            None => Err(Error::new(
                ErrorKind::NotFound,
                self.link.shown(b""),
                "the directory does not exist (or its file system is not mounted); a sync creates it",
            )),
        }
    }

    /// Makes the root with its parents.
    pub async fn make_root(&self) -> Result<()> {
        match self.root().await {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            done => return done,
        }
        let base = self.full(b"");
        let mut ends: Vec<usize> = base.iter().enumerate().filter(|(at, b)| **b == b'/' && *at > 0).map(|(at, _)| at).collect();
        ends.push(base.len());
        for end in ends {
            let part = &base[..end];
            let there = self.link.run(b"", |session, _| async move {
                match attrs(session.stat(part)).await? {
                    Some(_) => Ok(()),
                    // Another writer may be faster: the look at the end tells.
                    None => {
                        session.mkdir(part, None).done().await.or_else(|fault| if fault.is(packet::FAILURE) { Ok(()) } else { Err(fault) })
                    }
                }
            });
            there.await.map_err(|error| Error {
                message: format!("`{}` cannot be made: {}", super::link::printable(part), error.message),
                ..error
            })?;
        }
        self.root().await
    }

    /// Parent and last component of a path that is not the root, checked.
    pub fn split<'a>(&self, path: &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
        check(path).map_err(|why| Error::invalid(self.link.shown(path), why))?;
        Ok(split(path))
    }

    /// Makes sure that `path` is a directory, made (mode 0700) if `make` says so. Something else of that
    /// name, a symlink included, answers `Exists`.
    pub async fn dir(&self, path: &[u8], make: bool) -> Result<()> {
        self.root().await?;
        if path.is_empty() || self.knows(path) {
            return Ok(());
        }
        check(path).map_err(|why| Error::invalid(self.link.shown(path), why))?;
        let ends = self.unknown(path);
        // All at once: they are independent of each other.
        let found = self.link.run(path, |session, _| {
            let asked: Vec<_> = ends.iter().map(|end| session.lstat(&self.full(&path[..*end]))).collect();
            async move {
                let mut found = Vec::new();
                for asked in asked {
                    found.push(attrs(asked).await?);
                }
                Ok(found)
            }
        });
        for (end, found) in ends.iter().zip(found.await?) {
            let part = &path[..*end];
            match found {
                Some(attrs) if kind(&attrs) == FileKind::Dir => self.remember(part),
                Some(_) => return Err(self.no_directory(part)),
                None if make => self.make_one(part).await?,
                None => return Err(self.link.error(path, &SftpFault::Refused(no_such_file()))),
            }
        }
        Ok(())
    }

    /// Makes one directory of which the parent is there. One that exists is no error.
    pub async fn make_one(&self, path: &[u8]) -> Result<()> {
        let full = self.full(path);
        let made = self.link.run(path, |session, _| {
            let full = &full;
            async move {
                match session.mkdir(full, Some(0o700)).done().await {
                    Err(fault) if fault.is(packet::FAILURE) || fault.is(packet::DENIED) => match attrs(session.lstat(full)).await? {
                        Some(attrs) => Ok(kind(&attrs) == FileKind::Dir),
                        None => Err(fault),
                    },
                    done => done.map(|()| true),
                }
            }
        });
        if !made.await? {
            return Err(self.no_directory(path));
        }
        self.remember(path);
        Ok(())
    }

    fn no_directory(&self, path: &[u8]) -> Error {
        Error::new(ErrorKind::Exists, self.link.shown(path), "not a directory (a symlink is not followed)")
    }

    /// Where the components of `path` end that nothing is known of, shortest first.
    fn unknown(&self, path: &[u8]) -> Vec<usize> {
        let known = self.lock();
        let mut ends = vec![path.len()];
        ends.extend(path.iter().enumerate().rev().filter(|(_, b)| **b == b'/').map(|(at, _)| at));
        ends.retain(|end| !known.contains(&path[..*end]));
        ends.reverse();
        ends
    }

    pub fn knows(&self, path: &[u8]) -> bool {
        self.lock().contains(path)
    }

    fn remember(&self, path: &[u8]) {
        let mut known = self.lock();
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(path.to_vec());
    }

    /// Drops what is remembered of `path` and of everything below it.
    pub fn forget(&self, path: &[u8]) {
        self.lock().retain(|key| !(key.starts_with(path) && matches!(key.get(path.len()), None | Some(b'/'))));
    }

    /// Drops all that is remembered: something turned out to be otherwise.
    pub fn forget_all(&self) {
        self.lock().clear();
        self.rooted.store(false, Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Vec<u8>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_such_file() -> packet::Status {
    packet::Status { code: packet::NO_SUCH_FILE, message: String::new() }
}

/// What kind of thing attributes are of. A server that does not say has shown a file.
pub(super) fn kind(attrs: &Attrs) -> FileKind {
    match attrs.mode.map(|mode| mode & 0o170_000) {
        Some(0o040_000) => FileKind::Dir,
        Some(0o120_000) => FileKind::Symlink,
        Some(0o100_000) | None => FileKind::File,
        Some(_) => FileKind::Other,
    }
}
