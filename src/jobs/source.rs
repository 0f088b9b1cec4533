//! Whether a job's source can be read.
//!
//! Owns the difference between a source that is not there, which a job may pass over, and one that may well be
//! there and cannot be seen: passing over that would be a backup that ends in silence.

use std::io;
use std::path::Path;

use crate::config::{Job, Lack};
use crate::error::{Error, Result};
use crate::scan::Root;

/// Why the source is not there; nothing if it is.
///
/// # Errors
/// [`Error::Command`] where it has to be there, and where nobody can tell.
pub fn absent(job: &Job) -> Result<Option<String>> {
    match lacking(job)? {
        // Dumps have nothing to do with it, and nobody would see that there are none.
        Some(missing) if !job.dumps.is_empty() => Err(Error::Command(format!("{missing}, so the job's dumps were not taken either"))),
        Some(missing) if job.must_exist => {
            Err(Error::Command(format!("{missing}; mount it or mend the config, or say \"missing\": \"skip\" where that may be")))
        }
        missing => Ok(missing),
    }
}

/// The same, whatever is to become of the job then.
///
/// # Errors
/// [`Error::Command`] where nobody can tell.
pub fn lacking(job: &Job) -> Result<Option<String>> {
    Ok(Some(match &job.mounted {
        Some(Err(Lack::Unasked(why))) => return Err(Error::Command(why.clone())),
        Some(Err(Lack::Missing(why))) => why.clone(),
        Some(Ok(root)) if !root.is_dir() => return Err(Error::Command(unseen(root))),
        _ => match job.source.as_ref().map(|source| Root::open_within(source, &job.options.inner)) {
            None | Some(Ok(_)) => return Ok(None),
            Some(Err(_)) if job.source.as_ref().is_some_and(|source| source.is_file()) => {
                return Err(Error::Command(format!("the source {} is no directory", job.shown_source())));
            }
            Some(Err(error))
                if error.kind() == io::ErrorKind::NotFound && job.source.as_ref().is_some_and(|s| !s.as_os_str().is_empty()) =>
            {
                format!("the source {} is not there", job.shown_source())
            }
            // A mount that hangs, a disk that fails, a loop of links: it may well be there.
            Some(Err(error)) => return Err(Error::Command(format!("the source {} cannot be looked at: {error}", job.shown_source()))),
        },
    }))
}

/// The engine has the volume, and yet it is not where it says.
fn unseen(path: &Path) -> String {
    let root = path.display();
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            format!("the volume's directory {root} cannot be looked at: permission denied; volumes are read as root")
        }
        _ => format!(
            "the volume's directory {root} is not there; where offsite runs in a container, mount the engine's directory of volumes and say where in `volumes_root`"
        ),
    }
}
