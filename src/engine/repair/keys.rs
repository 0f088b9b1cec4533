//! The key files that a repair puts back: from the copies beside the writer key of this machine.
//!
//! Owns which of them can be put back. Invariant: what is written has the hash that the writer key names.

use crate::engine::check::key_of;
use crate::engine::destination::Destination;
use crate::engine::keys::files::create;
use crate::engine::outcome::Finding;
use crate::error::Result;
use crate::seal::KeyFile;

/// What a repair does about key files.
#[derive(Default)]
pub struct KeyRepair {
    /// The files to put back, with their bytes.
    files: Vec<(KeyFile, Vec<u8>)>,
    /// Findings about files of which this machine has no copy.
    pub lost: Vec<Finding>,
}

impl KeyRepair {
    /// From the findings of a check.
    pub fn new(destination: &Destination, findings: &[Finding]) -> Self {
        let mut repair = Self::default();
        let Some(writer) = &destination.writer_key else { return repair };
        let url = destination.backend.location().to_string();
        for file in &writer.files {
            let key = key_of(file);
            let Some(finding) = findings.iter().find(|finding| finding.path.as_bytes() == key.as_bytes()) else { continue };
            match destination.keys.copy(&url, &writer.destination, file) {
                Some(bytes) => repair.files.push((*file, bytes)),
                None => repair.lost.push(Finding {
                    problem: format!(
                        "{}; this machine has no copy of it: with the identity of a recipient, `offsite key add` makes a new one",
                        finding.problem
                    ),
                    ..finding.clone()
                }),
            }
        }
        repair
    }

    /// How many files it puts back.
    pub fn count(&self) -> u64 {
        self.files.len() as u64
    }

    /// Puts the files back.
    ///
    /// # Errors
    /// The store's own.
    pub async fn put_back(&self, destination: &Destination) -> Result<()> {
        for (file, bytes) in &self.files {
            create(&destination.backend, file, bytes.clone(), true).await?;
        }
        Ok(())
    }
}
