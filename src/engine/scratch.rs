//! A local directory for the files of one verb.
//!
//! Owns its removal when the verb ends, however it ends. The directory lies in this machine's cache, where no other
//! user may write.

use std::path::{Path, PathBuf};

use super::destination::Destination;
use crate::error::{Error, Result};

/// The directory. It is removed when the value is dropped.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// Creates an empty directory with a random name in the cache of a destination.
    pub fn new(destination: &Destination, verb: &str) -> Result<Self> {
        let path = destination.local(&format!("{verb}-{:016x}", crate::random()));
        std::fs::create_dir(&path).map_err(|e| Error::local(&path, e))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The path of a local file of a repair.
pub fn local(scratch: &Path, name: &str) -> PathBuf {
    scratch.join(format!("repair-{name}"))
}
