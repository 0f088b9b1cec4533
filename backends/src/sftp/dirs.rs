//! The path from the root to any directory below it.
//!
//! Owns path checks, the creation of missing parents, and the memory of known directories. Invariant: every component
//! of a parent was found to be a directory without following it, or was created here. It is then trusted as long as
//! this value remembers it. A server has no call that closes the gap between check and use, so others who can write
//! with the same account can lead offsite out of the root.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::link::Link;
use super::ops::attrs;
use super::packet::{self, Attrs};
use super::session::SftpFault;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::tree::FileKind;
use crate::names::{check, printable, split};

/// The most directories that are remembered: about 10 MiB of names.
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

    /// A path below the root in the form that is sent to the server.
    pub fn full(&self, path: &[u8]) -> Vec<u8> {
        match (&self.link.address.base[..], path) {
            (base, b"") => base.to_vec(),
            (b"/", path) => [b"/", path].concat(),
            (b".", path) => [b"./", path].concat(),
            (base, path) => [base, b"/", path].concat(),
        }
    }

    /// Checks that the root exists. Symlinks in its path are the user's own choice and are followed.
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

    /// Creates the root and its parents.
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
                    // Another writer may create it first. The check at the end finds that out.
                    None => {
                        session.mkdir(part, None).done().await.or_else(|fault| if fault.is(packet::FAILURE) { Ok(()) } else { Err(fault) })
                    }
                }
            });
            there.await.map_err(|error| Error { message: format!("`{}` cannot be made: {}", printable(part), error.message), ..error })?;
        }
        self.root().await
    }

    /// Checks a path that is not the root, and returns its parent and last component.
    pub fn split<'a>(&self, path: &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
        check(path).map_err(|why| Error::invalid(self.link.shown(path), why))?;
        Ok(split(path))
    }

    /// Checks that `path` is a directory, and creates it (mode 0700) if `make` says so. Returns `Exists` if another
    /// kind of file has that name, a symlink included.
    pub async fn dir(&self, path: &[u8], make: bool) -> Result<()> {
        self.root().await?;
        if path.is_empty() || self.knows(path) {
            return Ok(());
        }
        check(path).map_err(|why| Error::invalid(self.link.shown(path), why))?;
        let ends = self.unknown(path);
        // Sends all requests at once, because they do not depend on each other.
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

    /// Creates one directory whose parent exists. An existing directory is not an error.
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

    /// The ends of those prefixes of `path` that are not known to be directories, shortest first.
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

    /// Forgets `path` and everything below it.
    pub fn forget(&self, path: &[u8]) {
        self.lock().retain(|key| !(key.starts_with(path) && matches!(key.get(path.len()), None | Some(b'/'))));
    }

    /// Forgets everything, the root included, after something remembered turned out to be wrong.
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

/// The kind of file that has these attributes. If the server does not send a mode, it counts as a regular file.
pub(super) fn kind(attrs: &Attrs) -> FileKind {
    match attrs.mode.map(|mode| mode & 0o170_000) {
        Some(0o040_000) => FileKind::Dir,
        Some(0o120_000) => FileKind::Symlink,
        Some(0o100_000) | None => FileKind::File,
        Some(_) => FileKind::Other,
    }
}
