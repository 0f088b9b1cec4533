//! One run of a job at a time on this machine.
//!
//! Owns the lock file of a pair of job, type and source. The kernel holds the lock, so it is gone with the process,
//! however that ends; the file that stays means nothing.

use std::fs::File;
use std::os::unix::fs::DirBuilderExt;

use crate::config::Job;
use crate::engine::Machine;
use crate::error::{Error, Result};
use crate::model::Hash;

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File);

/// Takes the lock of a job.
///
/// # Errors
/// [`Error::Busy`] while another process has it.
pub fn take(machine: &Machine, job: &Job) -> Result<Lock> {
    let id = Hash::of(format!("{}\0{:?}\0{}", job.name, job.kind, job.shown_source()).as_bytes()).to_string();
    let dir = machine.cache_dir.join("jobs");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|e| Error::local(&dir, e))?;
    let path = dir.join(&id[..24]);
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(|e| Error::local(&path, e))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(Error::Busy(format!("job {}: another run of it is under way on this machine", job.shown())))
        }
        Err(error) => Err(Error::local(&path, error.into())),
    }
}
