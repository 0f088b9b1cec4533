//! The initialize hook behind SFTP: that the directory is there.
//!
//! Owns the one thing that can be made here. Whether it can be written to shows only by writing, which
//! looking must not do. All else that can be wished is a bucket's: those rows say what does the same.

use super::dirs::SftpDirs;
use super::ops::attrs;
use super::read::is_dir;
use crate::contract::backend::Backend;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::initialize::{DirState, InitMode, Initialize, Setting, directory};

pub(super) async fn initialize(backend: &dyn Backend, dirs: &SftpDirs, want: &Initialize, mode: InitMode) -> Result<Vec<Setting>> {
    // Without a login nothing at all can be said.
    dirs.link.session().await?;
    let found = look(backend, dirs).await;
    Ok(directory(want, mode, found, "there", async || backend.prepare().await).await)
}

async fn look(backend: &dyn Backend, dirs: &SftpDirs) -> Result<DirState> {
    let root = dirs.full(b"");
    match dirs.link.run(b"", |session, _| attrs(session.stat(&root))).await? {
        None => Ok(DirState::Missing),
        Some(attrs) if is_dir(&attrs) => Ok(DirState::There),
        Some(_) => Err(Error::new(ErrorKind::Exists, backend.location(), "this is not a directory")),
    }
}
