//! The initialize hook of a directory: that it is there, is a directory, and can be written to.
//!
//! Owns the one thing that can be made here. All else that can be wished is a bucket's: those rows say
//! what does the same for a directory.

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
