//! Whether a job's source can be read.
//!
//! Owns the difference between a missing source and one that may exist but cannot be inspected.
//! Invariant: offsite may skip a job whose source is missing. A source that cannot be inspected is an error, because a
//! backup must not end silently.

use std::io;
use std::path::Path;

use crate::config::{Job, VolumeUnavailable};
use crate::error::{Error, Result};
use crate::scan::Root;

/// Why the source is missing, if the job may be skipped for that. `None` if the source exists.
///
/// # Errors
/// [`Error::Command`] if the source is missing and the job requires it or has dumps. Also as for [`lacking`].
pub fn absent(job: &Job) -> Result<Option<String>> {
    match lacking(job)? {
        // Dumps do not need the source. A skipped job would omit them, and nobody would notice.
        Some(missing) if !job.dumps.is_empty() => Err(Error::Command(format!("{missing}, so the job's dumps did not run either"))),
        Some(missing) if job.must_exist => {
            Err(Error::Command(format!("{missing}; mount it or correct the config, or set \"missing\": \"skip\" if that is normal")))
        }
        missing => Ok(missing),
    }
}

/// Like [`absent`], but also for a job that must not be skipped.
///
/// # Errors
/// [`Error::Command`] if the source is not a directory, or if offsite cannot determine whether it exists.
pub fn lacking(job: &Job) -> Result<Option<String>> {
    Ok(Some(match &job.mounted {
        Some(Err(VolumeUnavailable::Unknown(why))) => return Err(Error::Command(why.clone())),
        Some(Err(VolumeUnavailable::Missing(why))) => why.clone(),
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
            // The source may exist. A mount that hangs, a failing disk or a loop of symlinks gives such an error.
            Some(Err(error)) => return Err(Error::Command(format!("the source {} cannot be inspected: {error}", job.shown_source()))),
        },
    }))
}

/// The error for a volume that the container engine lists, but whose directory offsite cannot find or read.
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
