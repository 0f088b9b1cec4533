//! The initialize hook behind SFTP: that the directory is there.
//!
//! Owns the one thing that can be made here. Whether it can be written to shows only by writing, which
//! looking must not do. All else that can be wished is a bucket's: those rows say what does the same.

use super::dirs::Dirs;
use super::ops::attrs;
use super::read::is_dir;
use crate::contract::backend::Backend;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::initialize::{Dir, Initialize, Mode, Setting, directory};

pub(super) async fn initialize(backend: &dyn Backend, dirs: &Dirs, want: &Initialize, mode: Mode) -> Result<Vec<Setting>> {
    // Without a login nothing at all can be said.
    dirs.link.session().await?;
    let found = look(backend, dirs).await;
    Ok(directory(want, mode, found, "there", async || backend.prepare().await).await)
}

async fn look(backend: &dyn Backend, dirs: &Dirs) -> Result<Dir> {
    let root = dirs.full(b"");
    match dirs.link.run(b"", |session, _| attrs(session.stat(&root))).await? {
        None => Ok(Dir::Missing),
        Some(attrs) if is_dir(&attrs) => Ok(Dir::There),
        Some(_) => Err(Error::new(ErrorKind::Exists, backend.location(), "this is not a directory")),
    }
}
