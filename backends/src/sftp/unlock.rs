//! Directories of ours that our own mode keeps us from writing in (0555), opened for the moment of one operation.
//!
//! Owns the way: the server says "denied", the directories on the way that lack the owner's rights get them, the
//! operation is done once more, and they get their modes back. One such operation at a time, so that none shuts
//! what another one has just opened. A server that does not let us (somebody else's directory) has the last word.

use super::dirs::kind;
use super::ops::attrs;
use super::packet::Attrs;
use super::staging::SftpStaging;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::tree::FileKind;

/// Does `op`, which writes in the directories that hold `paths`; done twice, it must come to the same.
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
        // What stays open is shut when the directory's own metadata is set.
        let _ = set_mode(area, &dir, mode).await;
    }
    done
}

/// Opens those of the directories above `paths` that need it, outer ones first; with the modes they had.
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
