//! A local directory for the files of one verb.
//!
//! Owns that it is gone when the verb is over, however it ends. It lies in this machine's own cache, which nobody
//! else may write to.

use std::path::{Path, PathBuf};

use super::destination::Destination;
use crate::error::{Error, Result};

/// The directory; it goes with the value.
pub struct Scratch(pub PathBuf);

impl Scratch {
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

/// A local file of a repair.
pub fn local(scratch: &Path, name: &str) -> PathBuf {
    scratch.join(format!("repair-{name}"))
}
