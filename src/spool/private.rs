//! offsite's own directories and files, which no other user may influence.
//!
//! Owns the rule who may own them, and how they are opened: offsite never writes through a name or a link that another
//! user planted.
//! Invariant: an error about an unusable cache names the flag that selects another one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::{Error, Result};

/// Creates a directory that only its owner can read. An existing one must belong to the caller or to root.
///
/// # Errors
/// [`Error::Local`], whose hint names the flag for another cache directory.
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

/// Options to open a file in such a directory: only its owner can read it, and a symlink is not followed.
pub fn private_file() -> OpenOptions {
    let mut options = File::options();
    options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// An error of a file in the cache. Its hint names the flag for another cache directory.
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
        // Only root can give a directory to another user.
        if std::os::unix::fs::chown(dir.path(), Some(65_534), None).is_ok() {
            assert!(private_dir(dir.path()).unwrap_err().to_string().contains("another user"));
        }
    }
}
