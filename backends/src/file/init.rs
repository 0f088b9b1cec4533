//! The initialize hook of a directory: whether it exists, is a directory, and is writable.
//!
//! Owns the one setting that applies here: the creation of the directory. All other settings belong to buckets. Their
//! rows say what does the same for a directory.

use super::threads::blocking;
use crate::contract::backend::Backend;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::initialize::{DirState, InitMode, Initialize, Setting, directory};

pub(super) async fn initialize(backend: &dyn Backend, want: &Initialize, mode: InitMode) -> Vec<Setting> {
    let found = look(backend).await;
    directory(want, mode, found, "there, writable", async || backend.prepare().await).await
}

async fn look(backend: &dyn Backend) -> Result<DirState> {
    let dir = backend.location().dir();
    blocking(move || match std::fs::metadata(&dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(DirState::Missing),
        Err(e) => Err(Error::from_io(dir.display(), &e)),
        Ok(stat) if !stat.is_dir() => Err(Error::new(ErrorKind::Exists, dir.display(), "this is not a directory")),
        Ok(_) => {
            let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
            rustix::fs::access(&dir, access).map_err(|e| Error::from_io(dir.display(), &e.into()))?;
            Ok(DirState::There)
        }
    })
    .await
}
