//! Setting metadata on new and existing files, directories and symlinks.
//!
//! Owns the order: owner first (a change of owner clears set-id bits), then attributes of the user namespace (they
//! need a writable mode), mode, other attributes (an ACL follows the mode that it refines), mtime.
//! Invariant: no symlink is followed. A file that could block or act when it is opened (a FIFO, a device) is opened
//! only with `O_PATH`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::{Errno, Result};

use crate::contract::tree::{FileMeta, Stamp, Unset};

/// Whether a raw mode is that of a regular file.
pub(super) fn is_file(mode: u32) -> bool {
    FileType::from_raw_mode(mode) == FileType::RegularFile
}

/// Whether this process may change the owner of files.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Sets metadata on a file that this process has just created and holds open. The file is ours, so the refusal of a
/// mode means that the file system cannot keep it (FAT). Such a refusal is ignored.
pub(super) fn apply_new(fd: &OwnedFd, meta: &FileMeta) -> Result<Vec<Unset>> {
    let mut unset = Vec::new();
    if let Some((uid, gid)) = ids(meta) {
        pass(rustix::fs::fchown(fd, uid, gid))?;
    }
    set_xattrs(meta, true, &mut unset, |name, value| rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()))?;
    if let Some(mode) = mode(meta) {
        pass(rustix::fs::fchmod(fd, mode))?;
    }
    set_xattrs(meta, false, &mut unset, |name, value| rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()))?;
    if let Some(mtime) = meta.mtime {
        rustix::fs::futimens(fd, &times(mtime)?)?;
    }
    Ok(unset)
}

/// Sets metadata on `name` in `dir`, whatever kind of file it is.
pub(super) fn apply_at(dir: &OwnedFd, name: &[u8], meta: &FileMeta) -> Result<Vec<Unset>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return apply_symlink(dir, name, meta).map(|()| Vec::new());
    }
    apply_open(&fd, &stat, meta)
}

/// Sets metadata on the file or directory behind an `O_PATH` descriptor.
pub(super) fn apply_open(fd: &OwnedFd, stat: &Stat, meta: &FileMeta) -> Result<Vec<Unset>> {
    let mut unset = Vec::new();
    if let Some((uid, gid)) = ids(meta) {
        pass(rustix::fs::chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW))?;
    }
    // This name leads to exactly the open inode, so nobody can put another file in its place. Unlike `fchmod` it
    // works on an `O_PATH` descriptor.
    let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let set = |name: &[u8], value: &[u8]| rustix::fs::setxattr(&*link, name, value, XattrFlags::empty());
    let has_user = meta.xattrs.iter().any(|(name, _)| is_user(name));
    if has_user && stat.st_mode & 0o200 == 0 && !is_root() {
        // Attributes of the user namespace need write permission. The mode is restored below.
        pass(rustix::fs::chmod(&*link, Mode::from_raw_mode(stat.st_mode & 0o7777 | 0o200)))?;
        let done = set_xattrs(meta, true, &mut unset, set);
        pass(rustix::fs::chmod(&*link, Mode::from_raw_mode(stat.st_mode & 0o7777)))?;
        done?;
    } else {
        set_xattrs(meta, true, &mut unset, set)?;
    }
    if let Some(mode) = mode(meta) {
        rustix::fs::chmod(&*link, mode)?;
    }
    set_xattrs(meta, false, &mut unset, set)?;
    if let Some(mtime) = meta.mtime {
        rustix::fs::utimensat(rustix::fs::CWD, &*link, &times(mtime)?, AtFlags::empty())?;
    }
    Ok(unset)
}

/// Sets owner and mtime of the symlink itself. A symlink has no mode and no user attributes.
pub(super) fn apply_symlink(dir: &OwnedFd, name: &[u8], meta: &FileMeta) -> Result<()> {
    if let Some((uid, gid)) = ids(meta) {
        pass(rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))?;
    }
    match meta.mtime {
        Some(mtime) => rustix::fs::utimensat(dir, name, &times(mtime)?, AtFlags::SYMLINK_NOFOLLOW),
        None => Ok(()),
    }
}

/// The modification time of a file.
pub(super) fn stamp(stat: &Stat) -> Stamp {
    Stamp { secs: stat.st_mtime, nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or_default() }
}

/// Sets the mtime and leaves the atime.
pub(super) fn times(mtime: Stamp) -> Result<Timestamps> {
    // Larger values are commands to the kernel (now, omit), not times.
    if mtime.nanos >= 1_000_000_000 {
        return Err(Errno::INVAL);
    }
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let mtime = Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() };
    Ok(Timestamps { last_access: omit, last_modification: mtime })
}

fn ids(meta: &FileMeta) -> Option<(Option<Uid>, Option<Gid>)> {
    // To the kernel the highest number means "leave it", so it cannot be an owner.
    let (uid, gid) = meta.owner.filter(|_| is_root())?;
    Some(((uid != u32::MAX).then(|| Uid::from_raw(uid)), (gid != u32::MAX).then(|| Gid::from_raw(gid))))
}

fn mode(meta: &FileMeta) -> Option<Mode> {
    meta.mode.map(|mode| Mode::from_raw_mode(mode & 0o7777))
}

fn is_user(name: &[u8]) -> bool {
    name.starts_with(b"user.")
}

/// Sets the attributes of the user namespace, or all others. A refused attribute is noted in `unset`, and the others
/// are still set. `ENOSPC` for an attribute means that the file system has no room for one of that size, not that the
/// disk is full.
fn set_xattrs(meta: &FileMeta, user: bool, unset: &mut Vec<Unset>, set: impl Fn(&[u8], &[u8]) -> Result<()>) -> Result<()> {
    for (name, value) in meta.xattrs.iter().filter(|(name, _)| is_user(name) == user) {
        let why = match set(name, value) {
            Ok(()) => continue,
            Err(errno @ (Errno::ROFS | Errno::IO | Errno::STALE)) => return Err(errno),
            Err(Errno::NOSPC | Errno::TOOBIG | Errno::RANGE | Errno::DQUOT) => {
                format!("it has {} bytes, more than the file system allows", value.len())
            }
            Err(Errno::NOTSUP) => "the file system has no such attributes".to_owned(),
            Err(Errno::PERM | Errno::ACCESS) => "this user is not allowed to set it".to_owned(),
            Err(errno) => errno.to_string(),
        };
        unset.push(Unset { name: name.clone(), why });
    }
    Ok(())
}

/// Ignores a failure that comes from missing rights or from a file system without support.
fn pass(done: Result<()>) -> Result<()> {
    match done {
        Err(Errno::PERM | Errno::NOTSUP) => Ok(()),
        done => done,
    }
}
