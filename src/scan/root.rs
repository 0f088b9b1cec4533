//! The root of a source tree: opens paths below it and nothing else.
//!
//! Owns the way from the root to a path. A path may be longer than the kernel accepts in one call.
//! Invariant: no symlink below the root is ever followed, whatever is swapped in during a scan.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat, openat2, statat};

use super::stat::Stat;

/// Longest path for one call of the kernel, in bytes.
const CHUNK: usize = 3000;

/// An open source directory.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
    /// Whether `openat2` works (Linux 5.6 or later, and no sandbox forbids it).
    beneath: AtomicBool,
}

impl Root {
    /// Opens the directory that a user named. A symlink in that name is followed.
    ///
    /// # Errors
    /// The system's error, for example if the path does not exist or is not a directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd, path: path.to_path_buf(), beneath: AtomicBool::new(true) })
    }

    /// Opens the directory that a user named, whose name ends in `inner`. The user may not control that part: another
    /// writer to the directory above it may, for example a container. A symlink in it is not followed.
    ///
    /// # Errors
    /// Besides the system's errors: `inner` contains a symlink. The error says where it points.
    pub fn open_within(path: &Path, inner: &Path) -> io::Result<Self> {
        use std::os::unix::ffi::OsStrExt;
        let parts = inner.components().count();
        let Some(base) = path.ancestors().nth(parts).filter(|_| parts > 0 && path.ends_with(inner)) else { return Self::open(path) };
        let base = Self::open(if base.as_os_str().is_empty() { Path::new(".") } else { base })?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = base.open_flags(inner.as_os_str().as_bytes(), flags).map_err(|error| base.link_within(inner).unwrap_or(error))?;
        Ok(Self { fd, path: path.to_path_buf(), beneath: base.beneath })
    }

    /// The first symlink in the path, as an error that says where it points.
    fn link_within(&self, inner: &Path) -> Option<io::Error> {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let mut ways: Vec<&Path> = inner.ancestors().filter(|way| !way.as_os_str().is_empty()).collect();
        ways.reverse();
        let (way, target) = ways.into_iter().find_map(|way| Some((way, self.read_link(way.as_os_str().as_bytes()).ok()?)))?;
        let target = PathBuf::from(std::ffi::OsString::from_vec(target));
        Some(io::Error::other(format!(
            "{} is a symlink to {}, and offsite follows no symlink below the source",
            self.path.join(way).display(),
            target.display()
        )))
    }

    /// The path as the user named it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Metadata of the root itself.
    ///
    /// # Errors
    /// The system's error, for example if the disk or mount fails.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(Stat::from_raw(&rustix::fs::fstat(&self.fd)?))
    }

    /// Metadata of a path below the root. A symlink is not followed, and a trailing slash is ignored.
    ///
    /// # Errors
    /// The system's error: the path does not exist, or a directory on the way is a symlink or cannot be entered.
    pub fn stat_at(&self, path: &[u8]) -> io::Result<Stat> {
        let bare = path.strip_suffix(b"/").unwrap_or(path);
        let (held, name) = self.parent(bare)?;
        Ok(Stat::from_raw(&statat(self.dir(held.as_ref()), name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// Opens a directory below the root. The empty path is the root.
    ///
    /// # Errors
    /// The system's error: the path does not exist, cannot be read, or is not a directory. Also if it or a directory on
    /// the way is a symlink.
    pub fn open_dir(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let bare = path.strip_suffix(b"/").unwrap_or(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        if bare.is_empty() {
            return Ok(openat(&self.fd, c".", flags, Mode::empty())?);
        }
        self.open_flags(bare, flags)
    }

    /// Opens a file below the root for reading. Never blocks on a pipe.
    ///
    /// # Errors
    /// The system's error: the path does not exist or cannot be read. Also if it or a directory on the way is a
    /// symlink.
    pub fn open_file(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.open_flags(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK)
    }

    /// Target of a symlink below the root.
    ///
    /// # Errors
    /// The system's error: the path does not exist or is not a symlink. Also if a directory on the way is a symlink.
    pub fn read_link(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let (held, name) = self.parent(path)?;
        Ok(rustix::fs::readlinkat(self.dir(held.as_ref()), name, Vec::new())?.into_bytes())
    }

    /// Opens the directory of a path, and returns it with the last component. A call with the whole path would follow
    /// symlinks on the way.
    fn parent<'a>(&self, path: &'a [u8]) -> io::Result<(Option<OwnedFd>, &'a [u8])> {
        let (held, rest) = self.descend(path)?;
        let Some(cut) = rest.iter().rposition(|b| *b == b'/') else { return Ok((held, rest)) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let dir = self.open_step(self.dir(held.as_ref()), &rest[..cut], flags)?;
        Ok((Some(dir), &rest[cut + 1..]))
    }

    fn open_flags(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let (held, rest) = self.descend(path)?;
        self.open_step(self.dir(held.as_ref()), rest, flags)
    }

    fn dir<'a>(&'a self, held: Option<&'a OwnedFd>) -> BorrowedFd<'a> {
        held.map_or(self.fd.as_fd(), |fd| fd.as_fd())
    }

    /// Opens directories on the way until the rest of the path fits one call.
    fn descend<'a>(&self, path: &'a [u8]) -> io::Result<(Option<OwnedFd>, &'a [u8])> {
        let mut held: Option<OwnedFd> = None;
        let mut rest = path;
        while rest.len() > CHUNK {
            let cut = rest[..CHUNK].iter().rposition(|b| *b == b'/').ok_or(io::ErrorKind::InvalidFilename)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let next = self.open_step(self.dir(held.as_ref()), &rest[..cut], flags)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_link_below_the_root_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("secret/deep")).unwrap();
        fs::write(at("secret/deep/f"), "x").unwrap();
        symlink("f", at("secret/deep/l")).unwrap();
        fs::create_dir_all(at("volume/web")).unwrap();
        symlink(at("secret"), at("volume/web/files")).unwrap();
        symlink("volume", at("named")).unwrap();
        for beneath in [true, false] {
            let root = Root::open(&at("volume")).unwrap();
            root.beneath.store(beneath, Ordering::Relaxed);
            assert!(root.stat_at(b"web/files").is_ok());
            for path in [&b"web/files/deep"[..], b"web/files/deep/f", b"web/files/deep/"] {
                assert!(root.stat_at(path).is_err() && root.open_dir(path).is_err(), "{}", String::from_utf8_lossy(path));
            }
            assert!(root.read_link(b"web/files/deep/l").is_err() && root.open_file(b"web/files/deep/f").is_err());
            assert_eq!(Root::open(&at("secret")).unwrap().read_link(b"deep/l").unwrap(), b"f");
        }
        // The user controls the name, but not the part below it.
        for inner in ["web/files", "web/files/deep"] {
            let error = Root::open_within(&at("named").join(inner), Path::new(inner)).unwrap_err().to_string();
            assert!(error.contains("web/files is a symlink to") && error.contains("secret"), "{error}");
        }
        assert!(Root::open_within(&at("named/web"), Path::new("web")).is_ok());
        assert!(Root::open_within(&at("volume"), Path::new("")).is_ok());
        let missing = Root::open_within(&at("volume/no/x"), Path::new("no/x")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
