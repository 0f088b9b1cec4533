//! One run of a job at a time on this machine.
//!
//! Owns the lock file of a job of one type, one config and one set of destinations. The same name in another config, or
//! with other destinations, is another job. If two of them write to one destination, its lease separates them.
//! Invariant: the kernel releases the lock when the process ends, for any reason. The file remains and means nothing.

use std::fs::File;

use offsite_backends::FileLock;

use crate::config::Job;
use crate::engine::{Machine, private_dir, private_file};
use crate::error::{Error, Result};
use crate::model::Hash;

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] FileLock<File>);

/// Takes the lock of a job.
///
/// # Errors
/// [`Error::Busy`] while another process has it. A cache error if the lock file cannot be opened or locked.
pub fn take(machine: &Machine, job: &Job) -> Result<Lock> {
    let id = Hash::of(identity(job).as_bytes()).to_string();
    let dir = machine.cache_dir.join("jobs");
    private_dir(&machine.cache_dir)?;
    private_dir(&dir)?;
    let path = dir.join(&id[..24]);
    let file = private_file().write(true).create(true).truncate(false).open(&path).map_err(|e| Error::cache(&path, e))?;
    match FileLock::try_take(file).map_err(|e| Error::cache(&path, e.into()))? {
        Some(lock) => Ok(Lock(lock)),
        None => Err(Error::Busy(format!("job {}: another run of it is in progress on this machine", job.shown()))),
    }
}

/// What identifies a job: its config, name, type and destinations.
fn identity(job: &Job) -> String {
    // Two paths of one config file give one identity.
    let config = std::fs::canonicalize(&job.config).unwrap_or_else(|_| job.config.clone());
    let mut destinations: Vec<&str> = job.destinations.iter().map(|destination| destination.url.as_str()).collect();
    destinations.sort_unstable();
    format!("{}\0{}\0{:?}\0{}", config.display(), job.name, job.kind, destinations.join("\0"))
}
