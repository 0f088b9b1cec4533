//! The key files of a sealed destination, compared with what the writer key of this machine says of them.
//!
//! Owns the findings about them. Runs do not read key files, so a lost or exchanged one would be noticed in the restore.
//! A machine without a writer key does not know what the files must be, and compares nothing. The copies beside the writer
//! key are completed here, because a repair puts them back.

use offsite_backends::ErrorKind;

use super::found::CheckFindings;
use crate::engine::destination::Destination;
use crate::engine::keys::files::{FOLDER, names, read_one};
use crate::engine::outcome::Flaw;
use crate::error::{Error, Result};
use crate::model::RelPath;
use crate::seal::KeyFile;

/// The key of a key file.
pub fn key_of(file: &KeyFile) -> String {
    format!("{FOLDER}/{}", file.name())
}

/// Notes a finding for each key file that is missing or is another one. Returns how many may not be read, so that only
/// their lengths were compared.
///
/// # Errors
/// The store's own.
pub async fn compare(destination: &Destination, found: &mut CheckFindings) -> Result<u64> {
    let Some(writer) = &destination.writer_key else { return Ok(0) };
    let there = names(&destination.backend).await?;
    let (keys, url, id) = (&destination.keys, destination.backend.location().to_string(), writer.destination.as_str());
    let (mut unread, newest) = (0, found.newest);
    for file in &writer.files {
        let name = file.name();
        let path = RelPath::from(key_of(file).as_str());
        let mut flaw = |flaw, problem: &str| found.flaw(flaw, path.clone(), problem.to_owned(), (newest, newest));
        let Some((_, length)) = there.get(&name) else {
            flaw(Flaw::Missing, "not found; without it, its recipients cannot restore");
            continue;
        };
        let is_another = "it is another key file than the one that the writer key of this machine names (BLAKE3 differs)";
        match read_one(&destination.backend, &name).await {
            Ok(Some(bytes)) if file.is(&bytes) => {
                if keys.copy(&url, id, file).is_none() {
                    // Not worth a failure: the directory of keys may be read-only.
                    let _ = keys.keep_copy(&url, id, &name, &bytes);
                }
            }
            Ok(_) => flaw(Flaw::Damaged, is_another),
            Err(error) if error.kind() == Some(ErrorKind::Denied) => match keys.copy(&url, id, file) {
                Some(copy) if copy.len() as u64 != *length => flaw(Flaw::Damaged, "it has another length than the copy on this machine"),
                _ => unread += 1,
            },
            Err(error @ Error::Damaged { .. }) => flaw(Flaw::Damaged, &error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(unread)
}
