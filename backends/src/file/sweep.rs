//! What is done to the staging area as a whole: emptied, and some room kept back in it.
//!
//! Everything here blocks. Invariant: only what an area puts there is removed.

use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::staging::{LocalStaging, write_all};
use super::{publish, read, walk};
use crate::contract::error::{ErrorKind, Result};
use crate::reserve::{NAME, content};

impl LocalStaging {
    /// Empties the staging area of what an area puts there, whichever run's it was. All else stays: the lock
    /// file, for which somebody may be waiting, and what is nobody's that this program knows.
    pub fn clear(&self) -> Result<()> {
        self.dirs.root()?;
        self.shards().try_for_each(|shard| self.clear_dir(&shard))
    }

    fn reserve_name(&self) -> Vec<u8> {
        [self.staging(), NAME].concat()
    }

    /// Keeps some room back, if it can be had. See `crate::reserve`.
    pub fn keep_reserve(self: &Arc<Self>) {
        let name = self.reserve_name();
        if matches!(read::stat(&self.dirs, &name), Ok(Some(_))) {
            return;
        }
        if let Ok((temp, fd)) = self.create()
            && write_all(&fd, 0, &content()).is_ok()
            && rustix::fs::fsync(&fd).is_ok()
            && publish::rename(self, &temp.path, &name).is_ok()
        {
            temp.release();
        }
    }

    /// Gives that room up; answers whether there was any.
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

/// Whether a name in the staging area is one that [`LocalStaging::temp_name`] makes.
fn is_temp(name: &[u8]) -> bool {
    let hex = |part: &[u8]| !part.is_empty() && part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    name.iter().position(|b| *b == b'-').is_some_and(|at| at == 16 && hex(&name[..at]) && hex(&name[at + 1..]))
}
