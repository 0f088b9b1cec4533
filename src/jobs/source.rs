//! Whether a job's source can be read.
//!
//! Owns the difference between a missing source, which a job may skip, and one that may exist and cannot be inspected:
//! skipping that would be a backup that ends silently.

use std::io;
use std::path::Path;

use crate::config::{Job, Lack};
use crate::error::{Error, Result};
use crate::scan::Root;

/// Why the source is not there; nothing if it is.
///
/// # Errors
/// [`Error::Command`] if it must exist, or if that cannot be determined.
pub fn absent(job: &Job) -> Result<Option<String>> {
    match lacking(job)? {
        // Dumps do not depend on it, and nobody would notice that they are missing.
        Some(missing) if !job.dumps.is_empty() => Err(Error::Command(format!("{missing}, so the job's dumps did not run either"))),
        Some(missing) if job.must_exist => {
            Err(Error::Command(format!("{missing}; mount it or correct the config, or set \"missing\": \"skip\" if that is normal")))
        }
        missing => Ok(missing),
    }
}

/// The same, whatever is to become of the job then.
///
/// # Errors
/// [`Error::Command`] if that cannot be determined.
pub fn lacking(job: &Job) -> Result<Option<String>> {
    Ok(Some(match &job.mounted {
        Some(Err(Lack::Unasked(why))) => return Err(Error::Command(why.clone())),
        Some(Err(Lack::Missing(why))) => why.clone(),
        Some(Ok(root)) if !root.is_dir() => return Err(Error::Command(unseen(root))),
        _ => match job.source.as_ref().map(|source| Root::open_within(source, &job.options.inner)) {
            None | Some(Ok(_)) => return Ok(None),
            Some(Err(_)) if job.source.as_ref().is_some_and(|source| source.is_file()) => {
                return Err(Error::Command(format!("the source {} is not a directory", job.shown_source())));
            }
            Some(Err(error))
                if error.kind() == io::ErrorKind::NotFound && job.source.as_ref().is_some_and(|s| !s.as_os_str().is_empty()) =>
            {
                format!("the source {} does not exist", job.shown_source())
            }
            // A mount that hangs, a disk that fails, a loop of links: it may well be there.
            Some(Err(error)) => return Err(Error::Command(format!("the source {} cannot be inspected: {error}", job.shown_source()))),
        },
    }))
}

/// The engine has the volume, and yet it is not where it says.
fn unseen(path: &Path) -> String {
    let root = path.display();
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            format!("the volume's directory {root} cannot be read: permission denied; run offsite as root")
        }
        _ => format!(
            "the volume's directory {root} does not exist; if offsite runs in a container, mount the engine's directory of volumes and name it in `volumes_root`"
        ),
    }
}
