//! offsite's own directories and files, which no other user may influence.
//!
//! Owns who may own them, and how they are opened: offsite never writes through a name or a link that another user
//! planted. Invariant: an error about an unusable cache names the flag for another one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::{Error, Result};

/// Makes a directory for its owner alone; one that is there must be the caller's, or root's.
///
/// # Errors
/// [`Error::Local`], with the flag that names another cache directory.
pub fn private_dir(dir: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| cache_error(dir, e))?;
    let found = std::fs::metadata(dir).map_err(|e| cache_error(dir, e))?;
    let (owner, own) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner != own && owner != 0 {
        let why = format!("it belongs to another user (uid {owner}, this is uid {own}), who could have your files overwritten");
        return Err(cache_error(dir, io::Error::new(io::ErrorKind::PermissionDenied, why)));
    }
    Ok(())
}

/// How a file in such a directory is opened: for its owner alone, and never through a link.
pub fn private_file() -> OpenOptions {
    let mut options = File::options();
    options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// What went wrong with the cache; the way around it is the hint of its kind.
pub fn cache_error(path: &Path, error: io::Error) -> Error {
    Error::cache(path, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_link_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "own").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join("pack")).unwrap();
        let opened = private_file().write(true).create(true).truncate(true).open(dir.path().join("pack"));
        assert!(opened.is_err() && std::fs::read(&victim).unwrap() == b"own");
    }

    #[test]
    fn a_directory_that_cannot_be_made_names_the_flag() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let error = private_dir(&dir.path().join("file/cache")).unwrap_err();
        assert_eq!(crate::error::Failure::from(&error).hint, Some(crate::error::Hint::MoveCache), "{error}");
        private_dir(&dir.path().join("new/cache")).unwrap();
    }

    #[test]
    fn another_users_directory_is_none() {
        let dir = tempfile::tempdir().unwrap();
        // Only root can give one away.
        if std::os::unix::fs::chown(dir.path(), Some(65_534), None).is_ok() {
            assert!(private_dir(dir.path()).unwrap_err().to_string().contains("another user"));
        }
    }
}
