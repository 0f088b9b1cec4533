//! Giving staged contents their names, and removing names.
//!
//! Owns renames, hard links, kept contents and removal. Everything here blocks.
//! Invariants: one rename replaces the old file by the new one. A kept content has its name before the rename. A
//! directory that blocks a name is removed only if it is empty.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::dirs::Make;
use super::meta;
use super::staging::{LocalStaging, LocalTemp};
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::fence::{self, Fence};
use crate::contract::tree::{FileMeta, Publish, Unset};

/// Above this number of files, one `syncfs` costs less than one `fsync` each.
const SYNC_ALL: usize = 8;

/// See [`crate::Tree::publish`].
pub(super) fn publish(area: &Arc<LocalStaging>, items: Vec<Publish>, durable: bool, fence: Option<&Arc<dyn Fence>>) -> Vec<Result<()>> {
    let all = match durable && items.len() > SYNC_ALL {
        true => area.dirs.sync_file_system(),
        false => Ok(()),
    };
    let each = durable && items.len() <= SYNC_ALL;
    let one = |item: Publish| {
        // The sync of the batch may have taken long, and so may the items before this one.
        fence::check_of(fence, area.dirs.shown(&item.path))?;
        let temp = LocalTemp::new(area.clone(), item.staged.temp);
        all.clone()?;
        if each {
            fsync_temp(area, &temp.path)?;
        }
        if each && fence.is_some_and(|fence| !fence.holds()) {
            temp.release();
            return Err(fence::late(area.dirs.shown(&item.path)));
        }
        if let Some(keep) = &item.keep {
            keep_old(area, &item.path, keep, durable)?;
        }
        rename(area, &temp.path, &item.path)?;
        temp.release();
        Ok(())
    };
    items.into_iter().map(one).collect()
}

/// Brings one staged file to stable storage, its times included.
fn fsync_temp(area: &LocalStaging, temp: &[u8]) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = area.dirs.at(temp, Make::No, |dir, name| {
        match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            // The mode forbids even the owner to read the file.
            Err(Errno::ACCESS) => Ok(None),
            done => done.map(Some),
        }
    })?;
    match opened {
        Some(fd) => rustix::fs::fsync(fd).map_err(|e| area.dirs.error(temp, e)),
        None => area.dirs.sync_file_system(),
    }
}

/// Moves `from` to `to` atomically, and creates the parents of `to`. Removes an empty directory at `to`. Returns
/// `Exists` for a directory that is not empty.
pub(super) fn rename(area: &LocalStaging, from: &[u8], to: &[u8]) -> Result<()> {
    let (parent, name) = area.dirs.split(from)?;
    let source = area.dirs.dir(parent, Make::No)?;
    let moved = || {
        area.dirs.at(to, Make::Yes, |dir, target| match rustix::fs::renameat(&source, name, dir, target) {
            Ok(()) => Ok(true),
            Err(Errno::ISDIR) => Ok(false),
            Err(errno) => Err(errno),
        })
    };
    if moved()? || remove_dir(area, to)? && moved()? { Ok(()) } else { Err(in_the_way(area, to)) }
}

fn in_the_way(area: &LocalStaging, path: &[u8]) -> Error {
    let what = "a directory that offsite did not create is in the place of a file; move it away, then run again";
    Error::new(ErrorKind::Exists, area.dirs.shown(path), what)
}

/// The metadata of `path` itself, without following a symlink. Returns `Exists` for a directory.
fn look(area: &LocalStaging, path: &[u8], make: Make) -> Result<Option<Stat>> {
    let stat = area.dirs.at(path, make, |dir, name| match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        stat => stat.map(Some),
    })?;
    match stat {
        Some(stat) if kind(&stat) == FileType::Directory => Err(in_the_way(area, path)),
        stat => Ok(stat),
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether a file of this kind is kept: a socket or a device has no content to keep.
fn is_kept(stat: &Stat) -> bool {
    matches!(kind(stat), FileType::RegularFile | FileType::Symlink)
}

/// Gives the file at `path`, if one exists, the second name `keep`. A `keep` that exists already stays.
fn keep_old(area: &Arc<LocalStaging>, path: &[u8], keep: &[u8], durable: bool) -> Result<()> {
    let stat = match look(area, path, Make::Yes) {
        Err(error) if error.kind == ErrorKind::Exists && remove_dir(area, path)? => None,
        looked => looked?,
    };
    let Some(stat) = stat.filter(is_kept) else { return Ok(()) };
    let (parent, name) = area.dirs.split(path)?;
    let source = area.dirs.dir(parent, Make::No)?;
    let linked = area.dirs.at(keep, Make::Yes, |dir, new| match rustix::fs::linkat(&source, name, dir, new, AtFlags::empty()) {
        Ok(()) | Err(Errno::EXIST) => Ok(true),
        Err(Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(errno) => Err(errno),
    })?;
    match linked {
        true => Ok(()),
        false => keep_copy(area, path, keep, &stat, durable),
    }
}

/// Like `keep_old`, with a copy, for a file system without hard links.
fn keep_copy(area: &Arc<LocalStaging>, path: &[u8], keep: &[u8], stat: &Stat, durable: bool) -> Result<()> {
    let old = FileMeta {
        mode: Some(stat.st_mode & 0o7777),
        mtime: Some(meta::stamp(stat)),
        owner: Some((stat.st_uid, stat.st_gid)),
        ..FileMeta::default()
    };
    let temp = if kind(stat) == FileType::Symlink {
        let target = area.dirs.at(path, Make::No, |dir, name| rustix::fs::readlinkat(dir, name, Vec::new()))?;
        stage_symlink(area, target.to_bytes(), &old)?
    } else {
        let (temp, fd) = area.stage_copy(path, &old)?;
        if durable {
            rustix::fs::fsync(&fd).map_err(|e| area.dirs.error(&temp.path, e))?;
        }
        temp
    };
    if rename_new(area, &temp.path, keep)? {
        temp.release();
    }
    Ok(())
}

/// Moves `from` to `to` unless `to` exists. Returns whether it did.
pub(super) fn rename_new(area: &LocalStaging, from: &[u8], to: &[u8]) -> Result<bool> {
    let (parent, name) = area.dirs.split(from)?;
    let source = area.dirs.dir(parent, Make::No)?;
    area.dirs.at_from(Some(&source), to, Make::Yes, |dir, target| match rename_new_at(&source, name, dir, target) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    })
}

fn rename_new_at(source: &OwnedFd, name: &[u8], dir: &OwnedFd, target: &[u8]) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(source, name, dir, target, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        done => return done,
    }
    // Some file systems (NFS) lack that flag. A hard link is as exclusive. The old name is removed after it.
    match rustix::fs::linkat(source, name, dir, target, AtFlags::empty()) {
        Ok(()) => return rustix::fs::unlinkat(source, name, AtFlags::empty()),
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {}
        Err(errno) => return Err(errno),
    }
    // Without either, only a look before the rename is left. It is enough, because a tree has only one writer.
    match rustix::fs::statat(dir, target, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Errno::EXIST),
        Err(Errno::NOENT) => rustix::fs::renameat(source, name, dir, target),
        Err(errno) => Err(errno),
    }
}

fn stage_symlink(area: &Arc<LocalStaging>, target: &[u8], meta: &FileMeta) -> Result<LocalTemp> {
    let temp = area.temp_name();
    area.dirs.at(&temp, Make::Yes, |dir, name| rustix::fs::symlinkat(target, dir, name))?;
    let temp = LocalTemp::new(area.clone(), temp);
    area.dirs.at(&temp.path, Make::No, |dir, name| meta::apply_symlink(dir, name, meta))?;
    Ok(temp)
}

/// See [`crate::Tree::symlink`].
pub(super) fn symlink(area: &Arc<LocalStaging>, path: &[u8], target: &[u8], meta: &FileMeta) -> Result<()> {
    area.dirs.split(path)?;
    let temp = stage_symlink(area, target, meta)?;
    rename(area, &temp.path, path)?;
    temp.release();
    Ok(())
}

/// See [`crate::Tree::hard_link`].
pub(super) fn hard_link(area: &Arc<LocalStaging>, existing: &[u8], path: &[u8]) -> Result<()> {
    let (parent, name) = area.dirs.split(existing)?;
    let source = area.dirs.dir(parent, Make::No)?;
    let link_to = |to: &[u8]| {
        area.dirs.at(to, Make::Yes, |dir, new| match rustix::fs::linkat(&source, name, dir, new, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno),
        })
    };
    // Usually the name is free.
    if link_to(path)? {
        return Ok(());
    }
    let temp = area.temp_name();
    if !link_to(&temp)? {
        return Err(area.dirs.error(&temp, Errno::EXIST));
    }
    // The guard stays armed: a rename between two names of one file leaves both of them.
    let temp = LocalTemp::new(area.clone(), temp);
    rename(area, &temp.path, path)
}

/// See [`crate::Tree::set_meta`].
pub(super) fn set_meta(area: &LocalStaging, path: &[u8], meta: &FileMeta) -> Result<Vec<Unset>> {
    if !path.is_empty() {
        return area.dirs.at(path, Make::No, |dir, name| meta::apply_at(dir, name, meta));
    }
    let root = area.dirs.root()?;
    rustix::fs::fstat(&root).and_then(|stat| meta::apply_open(&root, &stat, meta)).map_err(|errno| area.dirs.error(path, errno))
}

/// See [`crate::Tree::remove_file`].
pub(super) fn remove_file(area: &LocalStaging, path: &[u8], keep: Option<&[u8]>) -> Result<()> {
    area.dirs.root()?;
    let stat = match look(area, path, Make::No) {
        Ok(Some(stat)) => stat,
        Ok(None) => return Ok(()),
        Err(e) if e.kind == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    if let Some(keep) = keep.filter(|_| is_kept(&stat))
        && rename_new(area, path, keep)?
    {
        return Ok(());
    }
    unlink(area, path)
}

/// Removes one name that is not a directory. A missing name is not an error.
pub(super) fn unlink(area: &LocalStaging, path: &[u8]) -> Result<()> {
    area.dirs.root()?;
    let done = area.dirs.at(path, Make::No, |dir, name| rustix::fs::unlinkat(dir, name, AtFlags::empty()));
    match done {
        Err(e) if e.kind == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// See [`crate::Tree::remove_dir`].
pub(super) fn remove_dir(area: &LocalStaging, path: &[u8]) -> Result<bool> {
    area.dirs.root()?;
    if path.is_empty() {
        return Ok(false);
    }
    let done = area.dirs.at(path, Make::No, |dir, name| {
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            // A mount point stays as well.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => Ok(false),
            Err(errno) => Err(errno),
        }
    });
    // After the call, because a descriptor that was cached before would lead into the removed directory.
    area.dirs.forget(path);
    match done {
        Err(e) if e.kind == ErrorKind::NotFound => Ok(true),
        done => done,
    }
}
