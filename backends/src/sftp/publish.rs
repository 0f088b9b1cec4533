//! Giving staged contents their names, and removing names.
//!
//! Owns the batches, symlinks, metadata and the removal of files. Renames are in `rename.rs`, second names in
//! `links.rs`.
//! Invariant: a kept content has its name before the rename.

use std::sync::Arc;

use futures::{StreamExt, stream};

use super::links::{is_kept, keep_old, rename_new};
use super::meta;
use super::packet::{self, Attrs};
use super::read::{is_dir, look, lstat};
use super::rename::{in_the_way, refused, rename, stage_symlink};
use super::staging::{SftpStaging, SftpTemp};
use super::unlock::unlocked;
use crate::contract::error::{ErrorKind, Result};
use crate::contract::fence;
use crate::contract::tree::{FileMeta, Publish};

/// Items published at the same time.
const AT_ONCE: usize = 128;

/// See [`crate::Tree::publish`]. Staging has already synced the files, as far as the server and the settings allow.
pub(super) async fn publish(area: &Arc<SftpStaging>, items: Vec<Publish>) -> Vec<Result<()>> {
    let one = |item: Publish| {
        let area = Arc::clone(area);
        async move {
            fence::check(area.dirs.link.shown(&item.path))?;
            let temp = SftpTemp::of(&area, item.staged);
            let paths = [&item.path[..]];
            let named = unlocked(&area, &paths, || async {
                if let Some(keep) = &item.keep {
                    keep_old(&area, &item.path, keep).await?;
                }
                rename(&area, &temp.path, &item.path).await
            });
            match named.await {
                // The staged file stays, so that the caller can try again.
                Err(error) if error.kind == ErrorKind::Late => {
                    temp.release();
                    Err(error)
                }
                named => named.map(|()| drop(temp.release())),
            }
        }
    };
    stream::iter(items).map(one).buffered(AT_ONCE).collect().await
}

/// See [`crate::Tree::symlink`].
pub(super) async fn symlink(area: &Arc<SftpStaging>, path: &[u8], target: &[u8], meta: &FileMeta) -> Result<()> {
    area.dirs.split(path)?;
    let temp = stage_symlink(area, target, meta).await?;
    unlocked(area, &[path], || rename(area, &temp.path, path)).await?;
    temp.release();
    Ok(())
}

/// See [`crate::Tree::set_meta`].
pub(super) async fn set_meta(area: &SftpStaging, path: &[u8], meta: &FileMeta) -> Result<()> {
    if path.is_empty() {
        area.dirs.root().await?;
    } else {
        area.dirs.dir(area.dirs.split(path)?.0, false).await?;
    }
    let found = look(area, path).await?.ok_or_else(|| area.dirs.link.error(path, &refused(packet::NO_SUCH_FILE)))?;
    let symlink = !is_dir(&found) && !meta::is_file(&found);
    let full = area.dirs.full(path);
    let owner = area.owners.wanted(meta).filter(|wanted| wanted.owner != found.owner);
    let rest = meta::to_set(meta, symlink);
    // A change of owner clears bits of the mode, so the whole mode is set with it.
    let wanted = [owner, Some(if owner.is_none() { meta::differing(rest, &found) } else { rest })];
    let set = area.dirs.link.run(path, |session, _| {
        // Only a symlink needs `lsetstat`, which does not follow it. In a confined login `lsetstat` cannot set a
        // mode.
        let can = !symlink || session.offers.lsetstat;
        let wanted = wanted.iter().flatten().filter(|attrs| **attrs != Attrs::default() && can);
        let set = |attrs: &Attrs| if symlink { session.lset(&full, attrs) } else { session.set(&full, attrs) };
        let sets: Vec<_> = wanted.map(|attrs| (attrs.owner.is_some(), set(attrs))).collect();
        async move {
            for (is_owner, set) in sets {
                match set.done().await {
                    done if is_owner => area.owners.settle(done)?,
                    done => SftpStaging::without_unstorable(done)?,
                }
            }
            Ok(())
        }
    });
    set.await
}

/// See [`crate::Tree::remove_file`].
pub(super) async fn remove_file(area: &Arc<SftpStaging>, path: &[u8], keep: Option<&[u8]>) -> Result<()> {
    area.dirs.root().await?;
    match area.dirs.dir(area.dirs.split(path)?.0, false).await {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        done => done?,
    }
    let found = match lstat(area, path).await? {
        None => return Ok(()),
        Some(found) if is_dir(&found) => return Err(in_the_way(area, path)),
        Some(found) => found,
    };
    if let Some(keep) = keep.filter(|_| is_kept(&found))
        && rename_new(area, path, keep).await?
    {
        return Ok(());
    }
    area.discard(path).await
}
