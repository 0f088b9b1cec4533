//! The initialize hook behind SFTP: that the directory is there.
//!
//! Owns the one thing that can be made here. Whether it can be written to shows only by writing, which
//! looking must not do. All else that can be wished is a bucket's: those rows say what does the same.

use std::fmt;

use super::SftpBackend;
use super::ops::attrs;
use super::read::is_dir;
use crate::initialize::{Initialize, Mode, Rights, Setting, for_directories, settle};
use crate::{Backend, Error, ErrorKind, Result};

/// What a path is.
enum Found {
    Nothing,
    Dir,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "missing",
            Self::Dir => "there",
        })
    }
}

pub(super) async fn initialize(backend: &SftpBackend, want: &Initialize, mode: Mode) -> Result<Vec<Setting>> {
    // Without a login nothing at all can be said.
    backend.area.dirs.link.session().await?;
    let rights = Rights { look: "the right to search the directories above it", make: "the right to write to the directory above it" };
    let found = look(backend).await;
    let is_there = |found: &Found| matches!(found, Found::Dir);
    let mut rows = vec![settle("directory", mode, &rights, found, "there", is_there, async || backend.prepare().await).await];
    rows.extend(for_directories(want));
    Ok(rows)
}

async fn look(backend: &SftpBackend) -> Result<Found> {
    let dirs = &backend.area.dirs;
    let root = dirs.full(b"");
    match dirs.link.run(b"", |session, _| attrs(session.stat(&root))).await? {
        None => Ok(Found::Nothing),
        Some(attrs) if is_dir(&attrs) => Ok(Found::Dir),
        Some(_) => Err(Error::new(ErrorKind::Exists, &backend.location, "this is no directory")),
    }
}
