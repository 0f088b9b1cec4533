//! The initialize hook of SFTP: whether the directory exists.
//!
//! Owns the one setting that applies here: the creation of the directory. Only a write shows whether the directory is
//! writable, and a check must not write. All other settings belong to buckets. Their rows say what does the same
//! here.

use super::dirs::SftpDirs;
use super::ops::attrs;
use super::read::is_dir;
use crate::contract::backend::Backend;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::initialize::{DirState, InitMode, Initialize, Setting, directory};

pub(super) async fn initialize(backend: &dyn Backend, dirs: &SftpDirs, want: &Initialize, mode: InitMode) -> Result<Vec<Setting>> {
    // Without a login, no setting can be checked.
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
