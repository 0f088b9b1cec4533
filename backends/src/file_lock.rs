//! A lock on an open file that other programs of this machine respect (`flock`).
//!
//! Owns the release. The lock belongs to the open file, and a program that was started meanwhile holds a copy of that
//! for a moment, between `fork` and `exec`. If the file were only closed, that copy would keep the lock, and the next
//! program would see it as taken. An explicit unlock releases it for all copies.

use std::os::fd::AsFd;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, Result, retry_on_intr};

/// A lock that is released when it is dropped. If the process ends in any other way, the kernel releases it.
///
/// # Examples
///
/// ```
/// use std::fs::File;
///
/// use offsite_backends::FileLock;
///
/// # let dir = tempfile::tempdir()?;
/// let path = dir.path().join("lock");
/// let lock = FileLock::try_take(File::create(&path)?)?;
/// assert!(lock.is_some());
/// assert!(FileLock::try_take(File::open(&path)?)?.is_none());
///
/// drop(lock);
/// assert!(FileLock::try_take(File::open(&path)?)?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileLock<F: AsFd>(F);

impl<F: AsFd> FileLock<F> {
    /// Takes the lock of `file`; `None` while another open file has it.
    ///
    /// # Errors
    /// The file system has no locks, or the kernel has no space for one.
    pub fn try_take(file: F) -> Result<Option<Self>> {
        match retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for the lock of `file`, for as long as another open file has it. Blocks the thread.
    ///
    /// # Errors
    /// As [`FileLock::try_take`].
    pub fn wait(file: F) -> Result<Self> {
        retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
        Ok(Self(file))
    }
}

impl<F: AsFd> Drop for FileLock<F> {
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The copy stands for the one that a program holds if it was started while the lock was held.
    #[test]
    fn it_is_given_back_though_a_copy_of_the_file_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let open = || std::fs::File::options().write(true).create(true).truncate(false).open(dir.path().join("lock")).unwrap();
        let file = open();
        let _copy = file.try_clone().unwrap();
        let held = FileLock::try_take(file).unwrap().unwrap();
        assert!(FileLock::try_take(open()).unwrap().is_none());
        drop(held);
        assert!(FileLock::try_take(open()).unwrap().is_some());
    }
}
