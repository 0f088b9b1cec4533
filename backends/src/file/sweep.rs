//! The staging area as a whole: clearing it, and the disk space that is reserved in it.
//!
//! Owns which files are removed and the reserve file. Everything here blocks. Invariant: only files that a staging
//! area creates are removed.

use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::staging::{LocalStaging, write_all};
use super::{publish, read, walk};
use crate::contract::error::{ErrorKind, Result};
use crate::staging_area::{RESERVE, is_temp, reserve};

impl LocalStaging {
    /// Removes the temporary files of all runs from the staging area. All other files stay: the lock file, because
    /// another process may wait for it, and files that offsite does not know.
    pub fn clear(&self) -> Result<()> {
        self.dirs.root()?;
        self.shards().try_for_each(|shard| self.clear_dir(&shard))
    }

    fn reserve_name(&self) -> Vec<u8> {
        [self.staging(), RESERVE].concat()
    }

    /// Creates the reserve file unless it exists, and ignores failures. See `crate::staging_area`.
    pub fn keep_reserve(self: &Arc<Self>) {
        let name = self.reserve_name();
        if matches!(read::stat(&self.dirs, &name), Ok(Some(_))) {
            return;
        }
        if let Ok((temp, fd)) = self.create()
            && write_all(&fd, 0, &reserve()).is_ok()
            && rustix::fs::fsync(&fd).is_ok()
            && publish::rename(self, &temp.path, &name).is_ok()
        {
            temp.release();
        }
    }

    /// Deletes the reserve file. Returns whether it existed and was deleted.
    pub fn free_reserve(&self) -> bool {
        let name = self.reserve_name();
        matches!(read::stat(&self.dirs, &name), Ok(Some(_))) && self.discard(&name).is_ok()
    }

    fn clear_dir(&self, path: &[u8]) -> Result<()> {
        let dir = match self.dirs.readable(path) {
            Err(e) if e.kind == ErrorKind::NotFound => return Ok(()),
            dir => dir?,
        };
        let fail = |errno| self.dirs.error(path, errno);
        for name in walk::names(&dir).map_err(fail)? {
            if !is_temp(&name) {
                continue;
            }
            match rustix::fs::unlinkat(&dir, &name[..], AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => {}
                Err(errno) => return Err(fail(errno)),
            }
        }
        Ok(())
    }
}
