//! Renaming one file, and removing a directory that blocks its name.
//!
//! Owns renames, the substitute for `posix-rename` on servers without it, symlinks under a temporary name, and the
//! removal of directories. Invariants: where the server has `posix-rename`, one rename replaces the old file by the
//! new one. A directory that blocks a name is removed only if it is empty.

use std::sync::Arc;

use super::meta;
use super::ops::attrs;
use super::packet::{self, Attrs};
use super::read::{is_dir, lstat};
use super::session::{SftpFault, SftpSession};
use super::staging::{SftpStaging, SftpTemp, missing_is_fine};
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::tree::FileMeta;

/// Moves `from` to `to`, and creates the parents of `to`. Removes an empty directory at `to`. Returns `Exists` for a
/// directory that is not empty.
pub(super) async fn rename(area: &Arc<SftpStaging>, from: &[u8], to: &[u8]) -> Result<()> {
    let (parent, _) = area.dirs.split(to)?;
    area.dirs.dir(parent, true).await?;
    match try_rename(area, from, to).await? {
        Err(fault) if fault.is(packet::NO_SUCH_FILE) => {
            // A remembered directory no longer exists. Try once more from the root.
            area.dirs.forget_all();
            area.dirs.dir(parent, true).await?;
        }
        Err(fault) if fault.is(packet::FAILURE) && lstat(area, to).await?.is_some_and(|found| is_dir(&found)) => {
            if !remove_dir(area, to).await? {
                return Err(in_the_way(area, to));
            }
        }
        done => return done.map_err(|fault| area.dirs.link.error(to, &fault)),
    }
    try_rename(area, from, to).await?.map_err(|fault| area.dirs.link.error(to, &fault))
}

/// One rename that replaces a file at `to`. The inner result is the server's reply to the rename.
async fn try_rename(area: &Arc<SftpStaging>, from: &[u8], to: &[u8]) -> Result<Result<(), SftpFault>> {
    let aside = match area.dirs.link.session().await?.offers.posix_rename {
        true => None,
        false => Some(area.temp_name().await?),
    };
    let aside = aside.as_ref().map(|temp| area.dirs.full(&temp.path));
    let (full_from, full_to) = (area.dirs.full(from), area.dirs.full(to));
    let renamed = area.dirs.link.run(to, |session, again| {
        let (from, to, aside) = (&full_from, &full_to, &aside);
        async move {
            // Some servers silently replace a whole directory by a file. OpenSSH, which offers `lsetstat`, refuses
            // that.
            if !session.offers.lsetstat && attrs(session.lstat(to)).await?.is_some_and(|found| is_dir(&found)) {
                return Ok(Err(refused(packet::FAILURE)));
            }
            let done = match aside {
                None => session.posix_rename(from, to).done().await,
                Some(aside) => replace(&session, from, to, aside).await,
            };
            match done {
                Err(SftpFault::Lost) => Err(SftpFault::Lost),
                // The earlier try took effect, because a temporary name is used only once.
                Err(fault) if again && fault.is(packet::NO_SUCH_FILE) => Ok(attrs(session.lstat(to)).await?.map(drop).ok_or(fault)),
                done => Ok(done),
            }
        }
    });
    renamed.await
}

/// For servers without `posix-rename`. The old file moves aside, then the new one moves to its name. The guard of the
/// temporary name removes the old file. For a moment a reader finds no file, but no content is lost.
async fn replace(session: &SftpSession, from: &[u8], to: &[u8], aside: &[u8]) -> Result<(), SftpFault> {
    match attrs(session.lstat(to)).await? {
        None => return session.rename(from, to).done().await,
        Some(found) if is_dir(&found) => return Err(refused(packet::FAILURE)),
        Some(_) => {}
    }
    session.rename(to, aside).done().await?;
    let renamed = session.rename(from, to).done().await;
    if renamed.is_err() {
        session.rename(aside, to).done().await?;
    }
    renamed
}

pub(super) fn refused(code: u32) -> SftpFault {
    SftpFault::Refused(packet::Status { code, message: String::new() })
}

pub(super) fn in_the_way(area: &SftpStaging, path: &[u8]) -> Error {
    let what = "a directory that offsite did not create is in the place of a file; move it away, then run again";
    Error::new(ErrorKind::Exists, area.dirs.link.shown(path), what)
}

/// Creates a symlink under a temporary name.
pub(super) async fn stage_symlink(area: &Arc<SftpStaging>, target: &[u8], meta: &FileMeta) -> Result<SftpTemp> {
    let temp = area.temp_name().await?;
    let full = area.dirs.full(&temp.path);
    let wanted = [area.owners.wanted_new(meta), Some(meta::to_set(meta, true))];
    let made = area.dirs.link.run(&temp.path, |session, again| {
        let (full, wanted) = (&full, &wanted);
        async move {
            if again {
                missing_is_fine(session.remove(full).done().await)?;
            }
            let made = session.symlink(target, full);
            // Without `lsetstat` the server would set the times of the symlink's target.
            let sets = wanted.iter().flatten().filter(|attrs| session.offers.lsetstat && **attrs != Attrs::default());
            let sets: Vec<_> = sets.map(|attrs| (attrs.owner.is_some(), session.lset(full, attrs))).collect();
            made.done().await?;
            for (is_owner, set) in sets {
                match set.done().await {
                    done if is_owner => area.owners.settle(done)?,
                    done => SftpStaging::without_unstorable(done)?,
                }
            }
            Ok(())
        }
    });
    made.await?;
    Ok(temp)
}

/// See [`crate::Tree::remove_dir`].
pub(super) async fn remove_dir(area: &SftpStaging, path: &[u8]) -> Result<bool> {
    area.dirs.root().await?;
    if path.is_empty() {
        return Ok(false);
    }
    match area.dirs.dir(area.dirs.split(path)?.0, false).await {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(true),
        done => done?,
    }
    let full = area.dirs.full(path);
    let removed = area.dirs.link.run(path, |session, _| {
        let full = &full;
        async move {
            match session.rmdir(full).done().await {
                Ok(()) => Ok(Some(true)),
                Err(fault) if fault.is(packet::NO_SUCH_FILE) => Ok(attrs(session.lstat(full)).await?.is_none().then_some(true)),
                Err(fault) if fault.is(packet::FAILURE) => match attrs(session.lstat(full)).await? {
                    Some(found) if is_dir(&found) => Ok(Some(false)),
                    _ => Ok(None),
                },
                Err(fault) => Err(fault),
            }
        }
    });
    let removed = removed.await;
    area.dirs.forget(path);
    let no_directory = || Error::new(ErrorKind::Exists, area.dirs.link.shown(path), "not a directory (a symlink is not followed)");
    removed?.ok_or_else(no_directory)
}
