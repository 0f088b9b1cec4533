//! The initialize hook of a directory: that it is there, is a directory, and can be written to.
//!
//! Owns the one thing that can be made here. All else that can be wished is a bucket's: those rows say
//! what does the same for a directory.

use std::fmt;

use super::{FileBackend, blocking};
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

pub(super) async fn initialize(backend: &FileBackend, want: &Initialize, mode: Mode) -> Vec<Setting> {
    let rights = Rights { look: "the right to search the directories above it", make: "the right to write to the directory above it" };
    let found = look(backend).await;
    let is_there = |found: &Found| matches!(found, Found::Dir);
    let mut rows = vec![settle("directory", mode, &rights, found, "there, writable", is_there, async || backend.prepare().await).await];
    rows.extend(for_directories(want));
    rows
}

async fn look(backend: &FileBackend) -> Result<Found> {
    let dir = backend.location.dir();
    blocking(move || match std::fs::metadata(&dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(e) => Err(Error::from_io(dir.display(), &e)),
        Ok(stat) if !stat.is_dir() => Err(Error::new(ErrorKind::Exists, dir.display(), "this is no directory")),
        Ok(_) => {
            let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
            rustix::fs::access(&dir, access).map_err(|e| Error::from_io(dir.display(), &e.into()))?;
            Ok(Found::Dir)
        }
    })
    .await
}
