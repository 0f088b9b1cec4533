//! The path from the root to any directory below it, one component at a time.
//!
//! Owns path checks, the descriptors of the root, a small cache of open parent directories, and the names in errors.
//! Changes nothing, except that it creates missing parents and unlocks read-only directories for one operation.
//! Invariant: every component is opened by name in its parent with `O_NOFOLLOW|O_DIRECTORY`. So no symlink in the
//! tree leads out of the root, and `PATH_MAX` does not limit the length of a path.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::contract::error::{Error, ErrorKind, Reach, Result};
use crate::names::{check, printable, split};

/// How to handle missing parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Make {
    /// Return `NotFound`.
    No,
    /// Create them, mode 0700.
    Yes,
    /// Create them, and bring their names to stable storage too.
    Durable,
}

const WALK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The most descriptors in the cache, well below the usual limit of 1,024 for a process.
const CACHED: usize = 192;
/// How long a cached descriptor is trusted. The time is short, so that offsite does not write for long to a directory
/// that another process has moved away.
const FRESH: Duration = Duration::from_secs(1);
/// How many ancestors are looked up in the cache before the walk starts at the root.
const LEVELS: usize = 64;

struct Root {
    walk: Arc<OwnedFd>,
    /// Readable, for `syncfs`. It is open from the start, so that `syncfs` also reports the write errors that
    /// happened before the call. `None` if the root cannot be read.
    sync: Option<OwnedFd>,
}

struct CachedDir {
    fd: Arc<OwnedFd>,
    opened: Instant,
    used: u64,
}

#[derive(Default)]
struct Cache {
    entries: HashMap<Vec<u8>, CachedDir>,
    tick: u64,
}

/// Directories below one root.
pub(super) struct LocalDirs {
    root: PathBuf,
    opened: OnceLock<Root>,
    cache: Mutex<Cache>,
    unlocking: Mutex<()>,
}

impl LocalDirs {
    /// Does no I/O: the first operation opens the root.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), opened: OnceLock::new(), cache: Mutex::default(), unlocking: Mutex::default() }
    }

    pub fn root_path(&self) -> &Path {
        &self.root
    }

    /// The root's descriptor (`O_PATH`).
    pub fn root(&self) -> Result<Arc<OwnedFd>> {
        Ok(self.opened()?.walk.clone())
    }

    /// Brings all data of the root's file system to stable storage.
    pub fn sync_file_system(&self) -> Result<()> {
        match &self.opened()?.sync {
            Some(fd) => rustix::fs::syncfs(fd).map_err(|e| self.error(b"", e)),
            None => {
                // Without a descriptor that names the file system, all file systems are synced.
                rustix::fs::sync();
                Ok(())
            }
        }
    }

    fn opened(&self) -> Result<&Root> {
        if let Some(root) = self.opened.get() {
            return Ok(root);
        }
        // Symlinks in the path of the root are the user's own choice and are followed.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let walk = rustix::fs::open(&self.root, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT => Error::new(
                ErrorKind::NotFound,
                printable(self.root.as_os_str().as_bytes()),
                "the directory does not exist (or its file system is not mounted)",
            )
            .reaching(Reach::Destination),
            errno => self.error(b"", errno).reaching(Reach::Destination),
        })?;
        let sync = rustix::fs::openat(&walk, c".", READ, Mode::empty()).ok();
        Ok(self.opened.get_or_init(|| Root { walk: Arc::new(walk), sync }))
    }

    /// The directory at `path` (`O_PATH`), created if `make` says so. Returns `Exists` if another kind of file has
    /// that name, a symlink included.
    pub fn dir(&self, path: &[u8], make: Make) -> Result<Arc<OwnedFd>> {
        let root = self.root()?;
        if path.is_empty() {
            return Ok(root);
        }
        check(path).map_err(|why| self.invalid(path, why))?;
        if let Some((len, fd)) = self.nearest(path) {
            match self.walk(path, len, fd, make) {
                // The cached directory may have been deleted since. Try once more from the root.
                Err(error) if error.kind == ErrorKind::NotFound => self.forget_all(),
                done => return done,
            }
        }
        self.walk(path, 0, root, make)
    }

    /// Opens `path` component by component, from its ancestor `path[..from]`, which is open as `fd`.
    fn walk(&self, path: &[u8], from: usize, mut fd: Arc<OwnedFd>, make: Make) -> Result<Arc<OwnedFd>> {
        let mut at = from;
        while at < path.len() {
            let start = if at == 0 { 0 } else { at + 1 };
            let end = path[start..].iter().position(|b| *b == b'/').map_or(path.len(), |i| start + i);
            let name = &path[start..end];
            let next = self.unlocked(&[Some(&*fd)], || step(&fd, name, make)).map_err(|errno| match errno {
                Errno::NOTDIR | Errno::LOOP => {
                    Error::new(ErrorKind::Exists, self.shown(&path[..end]), "not a directory (a symlink is not followed)")
                }
                errno => self.error(&path[..end], errno),
            })?;
            fd = Arc::new(next);
            self.remember(&path[..end], &fd);
            at = end;
        }
        Ok(fd)
    }

    /// Opens a directory so that its entries can be read, or for `fsync`.
    pub fn readable(&self, path: &[u8]) -> Result<OwnedFd> {
        let fd = self.dir(path, Make::No)?;
        rustix::fs::openat(&fd, c".", READ, Mode::empty()).map_err(|e| self.error(path, e))
    }

    /// Brings the names in the directory `path` to stable storage.
    pub fn fsync(&self, path: &[u8]) -> Result<()> {
        rustix::fs::fsync(self.readable(path)?).map_err(|e| self.error(path, e))
    }

    /// Runs `op` with the parent of `path` and the last component. If the cached parent was deleted in the meantime,
    /// runs `op` once more with a newly opened parent.
    pub fn at<T>(&self, path: &[u8], make: Make, op: impl Fn(&OwnedFd, &[u8]) -> rustix::io::Result<T>) -> Result<T> {
        self.at_from(None, path, make, op)
    }

    /// Like `at`, for an `op` that also takes a name out of the directory `from`.
    pub fn at_from<T>(
        &self,
        from: Option<&OwnedFd>,
        path: &[u8],
        make: Make,
        op: impl Fn(&OwnedFd, &[u8]) -> rustix::io::Result<T>,
    ) -> Result<T> {
        let (parent, name) = self.split(path)?;
        let run = |dir: &OwnedFd| {
            let dirs = [Some(dir), from];
            self.unlocked(&dirs, || op(dir, name))
        };
        let fd = self.dir(parent, make)?;
        let mut done = run(&fd);
        if matches!(done, Err(Errno::NOENT)) && is_gone(&fd) {
            self.forget_all();
            done = run(&*self.dir(parent, make)?);
        }
        done.map_err(|errno| self.error(path, errno))
    }

    /// Runs `op`. If the mode of one of these directories forbids it (0555) and this user owns the directory, gives
    /// the owner write permission, runs `op` again and restores the mode at once.
    pub fn unlocked<T>(&self, dirs: &[Option<&OwnedFd>], op: impl Fn() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
        match op() {
            Err(Errno::ACCESS) => {}
            done => return done,
        }
        // One call at a time: otherwise one call could restore the mode of a directory that another one has just
        // unlocked.
        let _turn = self.unlocking.lock().unwrap_or_else(PoisonError::into_inner);
        let _open: Vec<Unlocked> = dirs.iter().flatten().filter_map(|dir| Unlocked::open(dir)).collect();
        op()
    }

    /// Checks a path that is not the root, and returns its parent and last component.
    pub fn split<'a>(&self, path: &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
        check(path).map_err(|why| self.invalid(path, why))?;
        Ok(split(path))
    }

    /// Drops the cached descriptors of `path` and of everything below it.
    pub fn forget(&self, path: &[u8]) {
        self.lock().entries.retain(|key, _| !(key.starts_with(path) && matches!(key.get(path.len()), None | Some(b'/'))));
    }

    /// Drops all cached descriptors.
    pub fn forget_all(&self) {
        self.lock().entries.clear();
    }

    /// The printable name of a path of this tree.
    pub fn shown(&self, path: &[u8]) -> String {
        let root = self.root.as_os_str().as_bytes();
        match path {
            b"" => printable(root),
            path => printable(&[root.strip_suffix(b"/").unwrap_or(root), b"/", path].concat()),
        }
    }

    /// The error of a system call that failed on `path`.
    pub fn error(&self, path: &[u8], errno: Errno) -> Error {
        Error::from_io(self.shown(path), &errno.into())
    }

    fn invalid(&self, path: &[u8], why: &str) -> Error {
        Error::invalid(self.shown(path), why)
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        // Every step leaves the cache consistent, so a panic of another thread does no harm.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The longest prefix of `path` in the cache: its length and its descriptor.
    fn nearest(&self, path: &[u8]) -> Option<(usize, Arc<OwnedFd>)> {
        let mut cache = self.lock();
        cache.tick += 1;
        let tick = cache.tick;
        let mut end = path.len();
        for _ in 0..LEVELS {
            if let Some(entry) = cache.entries.get_mut(&path[..end])
                && entry.opened.elapsed() < FRESH
            {
                entry.used = tick;
                return Some((end, entry.fd.clone()));
            }
            end = path[..end].iter().rposition(|b| *b == b'/')?;
        }
        None
    }

    fn remember(&self, path: &[u8], fd: &Arc<OwnedFd>) {
        let mut cache = self.lock();
        cache.tick += 1;
        let entry = CachedDir { fd: fd.clone(), opened: Instant::now(), used: cache.tick };
        if cache.entries.len() >= CACHED && !cache.entries.contains_key(path) {
            // Drops the older half at once, so that the scan is rare.
            let middle = cache.tick.saturating_sub(CACHED as u64 / 2);
            cache.entries.retain(|_, entry| entry.used > middle);
            if cache.entries.len() >= CACHED {
                cache.entries.clear();
            }
        }
        cache.entries.insert(path.to_vec(), entry);
    }
}

/// A directory of this user whose mode forbids to write in it or to enter it, unlocked for as long as this value
/// lives.
struct Unlocked<'a> {
    dir: &'a OwnedFd,
    mode: Mode,
}

impl<'a> Unlocked<'a> {
    fn open(dir: &'a OwnedFd) -> Option<Self> {
        let stat = rustix::fs::fstat(dir).ok()?;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        let shut = stat.st_uid == rustix::process::geteuid().as_raw() && !mode.contains(Mode::WUSR | Mode::XUSR);
        let opened = shut && set_mode(dir, mode | Mode::RWXU).is_ok();
        opened.then_some(Self { dir, mode })
    }
}

impl Drop for Unlocked<'_> {
    fn drop(&mut self) {
        // If this fails, the mode is right again once the directory's own metadata is set.
        let _ = set_mode(self.dir, self.mode);
    }
}

/// Uses the name that leads to exactly the open directory, because `fchmod` fails on an `O_PATH` descriptor.
fn set_mode(dir: &OwnedFd, mode: Mode) -> rustix::io::Result<()> {
    rustix::fs::chmod(format!("/proc/self/fd/{}", dir.as_raw_fd()), mode)
}

/// Opens one component, and creates it if `make` says so.
fn step(parent: &OwnedFd, name: &[u8], make: Make) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::openat(parent, name, WALK, Mode::empty()) {
        Err(Errno::NOENT) if make != Make::No => {}
        // A FUSE file system may treat two names as one. The kernel then still caches this name of a directory that
        // was removed by its other name. This removal fails, and it makes the kernel drop the cached name.
        Ok(fd) if make != Make::No && is_gone(&fd) => drop(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)),
        done => return done,
    }
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) if make == Make::Durable => {
            rustix::fs::fsync(rustix::fs::openat(parent, c".", READ, Mode::empty())?)?;
        }
        // Another task was faster.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    rustix::fs::openat(parent, name, WALK, Mode::empty())
}

/// Whether an open directory has been deleted. Asks the file system itself and not the kernel's cache. For a deleted
/// directory, a server or a FUSE program answers that there is no such file.
fn is_gone(fd: &OwnedFd) -> bool {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
    match rustix::fs::statx(fd, c"", flags, StatxFlags::NLINK) {
        Ok(stat) => stat.stx_nlink == 0,
        Err(errno) => matches!(errno, Errno::NOENT | Errno::STALE),
    }
}
