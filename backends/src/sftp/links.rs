//! Second names: kept contents, hard links, and names that must not replace anything.
//!
//! Owns the ways to create one, which are tried in turn: a hard link, version 3's rename if it refuses to replace, a
//! copy. Invariant: if several writers create one name, exactly one learns that it did, except if the server has
//! neither hard links nor such a rename. [`exclusive_rename`] tells that.

use std::sync::Arc;

use super::dirs::kind;
use super::meta;
use super::ops::{OpenMode, attrs};
use super::packet::{self, Attrs};
use super::read::{is_dir, look, lstat};
use super::rename::{in_the_way, remove_dir, rename, stage_symlink};
use super::session::SftpFault;
use super::staging::SftpStaging;
use crate::contract::error::Result;
use crate::contract::tree::{FileKind, FileMeta};

/// Whether a file of this kind is kept: a socket or a device has no content to keep.
pub(super) fn is_kept(found: &Attrs) -> bool {
    matches!(kind(found), FileKind::File | FileKind::Symlink)
}

/// Gives the file at `path`, if one exists, the second name `keep`. A `keep` that exists already stays.
pub(super) async fn keep_old(area: &Arc<SftpStaging>, path: &[u8], keep: &[u8]) -> Result<()> {
    let found = match look(area, path).await? {
        Some(found) if is_dir(&found) => {
            if !remove_dir(area, path).await? {
                return Err(in_the_way(area, path));
            }
            None
        }
        found => found,
    };
    let Some(found) = found.filter(is_kept) else { return Ok(()) };
    let (parent, _) = area.dirs.split(keep)?;
    area.dirs.dir(parent, true).await?;
    match link(area, path, keep).await? {
        Linked::Yes | Linked::Taken => Ok(()),
        Linked::Cannot => keep_copy(area, path, keep, &found).await,
    }
}

/// Like `keep_old`, with a copy, for a server without hard links.
async fn keep_copy(area: &Arc<SftpStaging>, path: &[u8], keep: &[u8], found: &Attrs) -> Result<()> {
    if lstat(area, keep).await?.is_some() {
        return Ok(());
    }
    let old = FileMeta { mode: found.mode.map(|mode| mode & 0o7777), mtime: Some(meta::stamp(found)), ..FileMeta::default() };
    let temp = if meta::is_file(found) {
        area.stage_copy(path, found.size.unwrap_or_default(), &old, false).await?
    } else {
        let full = area.dirs.full(path);
        let target = area.dirs.link.run(path, |session, _| {
            let full = &full;
            async move { session.read_link(full).await }
        });
        stage_symlink(area, &target.await?, &old).await?
    };
    rename(area, &temp.path, keep).await?;
    temp.release();
    Ok(())
}

/// See [`crate::Tree::read_link`].
pub(super) async fn read_link(area: &SftpStaging, path: &[u8]) -> Result<Option<Vec<u8>>> {
    if !look(area, path).await?.is_some_and(|found| kind(&found) == FileKind::Symlink) {
        return Ok(None);
    }
    let full = area.dirs.full(path);
    let target = area.dirs.link.run(path, |session, _| {
        let full = &full;
        async move { session.read_link(full).await }
    });
    Ok(Some(target.await?.to_vec()))
}

/// The result of creating a second name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Linked {
    Yes,
    /// The name exists. After a lost connection it may be the link itself.
    Taken,
    /// The server, or its file system, has no hard links.
    Cannot,
}

/// Makes `new` another name of `existing` unless `new` exists. Its parents must exist.
pub(super) async fn link(area: &SftpStaging, existing: &[u8], new: &[u8]) -> Result<Linked> {
    let (full, full_new) = (area.dirs.full(existing), area.dirs.full(new));
    let linked = area.dirs.link.run(new, |session, _| {
        let (full, full_new) = (&full, &full_new);
        async move {
            if !session.offers.hardlink {
                return Ok(Linked::Cannot);
            }
            match session.hard_link(full, full_new).done().await {
                Ok(()) => Ok(Linked::Yes),
                // OpenSSH returns the same code for a name that exists and for a file system without links.
                Err(fault) if [packet::FAILURE, packet::DENIED, packet::UNSUPPORTED].iter().any(|code| fault.is(*code)) => {
                    match attrs(session.lstat(full_new)).await? {
                        Some(_) => Ok(Linked::Taken),
                        None => Ok(Linked::Cannot),
                    }
                }
                Err(fault) => Err(fault),
            }
        }
    });
    linked.await
}

/// Moves `from` to `to` unless `to` exists. Creates the parents of `to`. Returns whether it moved the file.
pub(super) async fn rename_new(area: &Arc<SftpStaging>, from: &[u8], to: &[u8]) -> Result<bool> {
    let (parent, _) = area.dirs.split(to)?;
    area.dirs.dir(parent, true).await?;
    match link(area, from, to).await? {
        Linked::Yes => area.discard(from).await.map(|()| true),
        Linked::Taken => Ok(false),
        Linked::Cannot if exclusive_rename(area).await? => match plain_rename(area, from, to).await? {
            Ok(()) => Ok(true),
            Err(fault) if fault.is(packet::FAILURE) && lstat(area, to).await?.is_some() => Ok(false),
            Err(fault) => Err(area.dirs.link.error(to, &fault)),
        },
        // Only a look before the rename is left.
        Linked::Cannot => match lstat(area, to).await? {
            Some(_) => Ok(false),
            None => rename(area, from, to).await.map(|()| true),
        },
    }
}

/// Version 3's rename. The inner result is the server's reply to the rename.
async fn plain_rename(area: &SftpStaging, from: &[u8], to: &[u8]) -> Result<Result<(), SftpFault>> {
    let (full_from, full_to) = (area.dirs.full(from), area.dirs.full(to));
    let renamed = area.dirs.link.run(to, |session, again| {
        let (from, to) = (&full_from, &full_to);
        async move {
            match session.rename(from, to).done().await {
                Err(SftpFault::Lost) => Err(SftpFault::Lost),
                // The earlier try took effect.
                Err(fault) if again && attrs(session.lstat(from)).await?.is_none() => {
                    Ok(attrs(session.lstat(to)).await?.map(drop).ok_or(fault))
                }
                done => Ok(done),
            }
        }
    });
    renamed.await
}

/// Whether version 3's rename refuses to replace a file here. Tested once, on two temporary files.
pub(super) async fn exclusive_rename(area: &Arc<SftpStaging>) -> Result<bool> {
    let probe = async || {
        let (one, first) = area.create().await?;
        let (two, second) = area.create().await?;
        for handle in [first, second] {
            handle.close().done().await.map_err(|fault| area.dirs.link.error(&one.path, &fault))?;
        }
        Ok(plain_rename(area, &one.path, &two.path).await?.is_err())
    };
    area.exclusive_rename.get_or_try_init(probe).await.copied()
}

/// See [`crate::Tree::hard_link`]. Makes a copy if the server has no hard links.
pub(super) async fn hard_link(area: &Arc<SftpStaging>, existing: &[u8], path: &[u8]) -> Result<()> {
    let (parent, _) = area.dirs.split(path)?;
    area.dirs.dir(area.dirs.split(existing)?.0, false).await?;
    area.dirs.dir(parent, true).await?;
    // Usually the name is free.
    if link(area, existing, path).await? == Linked::Yes {
        return Ok(());
    }
    let temp = area.temp_name().await?;
    let temp = match link(area, existing, &temp.path).await? {
        Linked::Yes => temp,
        _ => {
            let found = look(area, existing).await?.unwrap_or_default();
            let same = FileMeta { mode: found.mode.map(|mode| mode & 0o7777), mtime: Some(meta::stamp(&found)), ..FileMeta::default() };
            area.stage_copy(existing, found.size.unwrap_or_default(), &same, false).await?
        }
    };
    // The guard stays armed: a rename between two names of one file leaves both of them.
    rename(area, &temp.path, path).await
}

/// Creates an empty file of this name, exclusively. Returns whether it did. Its parents must exist.
pub(super) async fn claim(area: &SftpStaging, path: &[u8]) -> Result<bool> {
    let full = area.dirs.full(path);
    let session = area.dirs.link.session().await?;
    match session.open_file(&full, OpenMode::New).await {
        Ok(handle) => {
            handle.close().done().await.map_err(|fault| area.dirs.link.error(path, &fault))?;
            Ok(true)
        }
        Err(fault) if fault.is(packet::FAILURE) => Ok(false),
        Err(fault) => Err(area.dirs.link.error(path, &fault)),
    }
}
