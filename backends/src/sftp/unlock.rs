//! Unlocking directories whose own mode makes them read-only to their owner (0555), for one operation.
//!
//! Owns the steps: the server denies an operation. The directories on its path that lack the owner's rights get them,
//! the operation runs once more, and the directories get their modes back. If the server refuses the new mode
//! (somebody else's directory), the operation fails. Invariant: one such operation runs at a time, so that none locks
//! a directory that another one has just unlocked.

use super::dirs::kind;
use super::ops::attrs;
use super::packet::Attrs;
use super::staging::SftpStaging;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::tree::FileKind;

/// Runs `op`, which writes in the directories that hold `paths`. `op` may run twice and must then have the same
/// result.
pub(super) async fn unlocked<T, F>(area: &SftpStaging, paths: &[&[u8]], mut op: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    match op().await {
        Err(Error { kind: ErrorKind::Denied, .. }) => {}
        done => return done,
    }
    let _turn = area.unlocking.lock().await;
    let opened = open(area, paths).await?;
    let done = op().await;
    for (dir, mode) in opened {
        // If this fails, the mode is right again once the directory's own metadata is set.
        let _ = set_mode(area, &dir, mode).await;
    }
    done
}

/// Gives the owner's rights to those directories above `paths` that lack them, outer ones first. Returns them with
/// the modes that they had.
async fn open(area: &SftpStaging, paths: &[&[u8]]) -> Result<Vec<(Vec<u8>, u32)>> {
    let mut dirs: Vec<&[u8]> = vec![b""];
    for path in paths {
        dirs.extend(path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| &path[..at]));
    }
    dirs.sort_unstable();
    dirs.dedup();
    let mut opened = Vec::new();
    for dir in dirs {
        let full = area.dirs.full(dir);
        let found = area.dirs.link.run(dir, |session, _| {
            let full = &full;
            async move { attrs(session.lstat(full)).await }
        });
        let Ok(Some(found)) = found.await else { continue };
        let Some(mode) = found.mode.filter(|mode| kind(&found) == FileKind::Dir && mode & 0o300 != 0o300) else { continue };
        if set_mode(area, dir, mode | 0o700).await.is_ok() {
            opened.push((dir.to_vec(), mode));
        }
    }
    Ok(opened)
}

async fn set_mode(area: &SftpStaging, dir: &[u8], mode: u32) -> Result<()> {
    let full = area.dirs.full(dir);
    let wanted = Attrs { mode: Some(mode & 0o7777), ..Attrs::default() };
    let set = area.dirs.link.run(dir, |session, _| {
        let asked = session.set(&full, &wanted);
        async move { asked.done().await }
    });
    set.await
}
