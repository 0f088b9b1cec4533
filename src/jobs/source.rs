//! Whether a job's source can be read.
//!
//! Owns the difference between a source that is not there, which a job may pass over, and one that may well be
//! there and cannot be seen: passing over that would be a backup that ends in silence.

use std::io;
use std::path::Path;

use crate::config::{Job, Lack};
use crate::error::{Error, Result};

/// Why the source is not there; nothing if it is.
///
/// # Errors
/// [`Error::Command`] where it has to be there, and where nobody can tell.
pub fn absent(job: &Job) -> Result<Option<String>> {
    let missing = match &job.mounted {
        Some(Err(Lack::Unasked(why))) => return Err(Error::Command(why.clone())),
        Some(Err(Lack::Missing(why))) => why.clone(),
        Some(Ok(root)) if !root.is_dir() => return Err(Error::Command(unseen(root))),
        _ => match job.source.as_ref().map(std::fs::metadata) {
            None => return Ok(None),
            Some(Ok(found)) if found.is_dir() => return Ok(None),
            Some(Ok(_)) => return Err(Error::Command(format!("the source {} is no directory", job.shown_source()))),
            Some(Err(error))
                if error.kind() == io::ErrorKind::NotFound && job.source.as_ref().is_some_and(|s| !s.as_os_str().is_empty()) =>
            {
                format!("the source {} is not there", job.shown_source())
            }
            // A mount that hangs, a disk that fails, a loop of links: it may well be there.
            Some(Err(error)) => return Err(Error::Command(format!("the source {} cannot be looked at: {error}", job.shown_source()))),
        },
    };
    // Dumps have nothing to do with it, and nobody would see that there are none.
    let missing = if job.dumps.is_empty() { missing } else { format!("{missing}, so the job's dumps were not taken either") };
    if job.must_exist || !job.dumps.is_empty() { Err(Error::Command(missing)) } else { Ok(Some(missing)) }
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
