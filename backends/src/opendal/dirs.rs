//! Directories of a service that has real ones: made before the files in them, and distinguished from files.
//!
//! Owns what is known of existing directories, and what happens if a file and a directory want the same name.
//! Invariants: a directory is never deleted unless it was just seen to be empty, because a DELETE also removes
//! everything in it; a file in the way is never deleted.

use std::collections::HashSet;
use std::sync::Mutex;

use futures::TryStreamExt;
use opendal::{ErrorKind as Kind, Operator};
use tokio::sync::Mutex as AsyncMutex;

use super::error;
use crate::contract::error::{Error, ErrorKind};
use crate::contract::location::Location;

/// Number of directories that are remembered. Beyond that, all are forgotten and looked up again.
const REMEMBERED: usize = 50_000;

#[derive(Debug, Default)]
pub(super) struct OpendalDirs {
    there: Mutex<HashSet<String>>,
    /// One at a time: if two tasks made the same directory at once, the service could refuse one.
    making: AsyncMutex<()>,
}

/// The directory of a key, with its slash; `None` at the top.
fn parent(key: &str) -> Option<&str> {
    key.rfind('/').map(|slash| &key[..=slash])
}

impl OpendalDirs {
    fn knows(&self, dir: &str) -> bool {
        self.there.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(dir)
    }

    /// Makes the directories above a key. Costs no request if they are known.
    pub async fn make(&self, operator: &Operator, key: &str) -> opendal::Result<()> {
        let dir = parent(key).unwrap_or("/");
        if self.knows(dir) {
            return Ok(());
        }
        let _one = self.making.lock().await;
        if self.knows(dir) {
            return Ok(());
        }
        operator.create_dir(dir).await?;
        let mut there = self.there.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if there.len() >= REMEMBERED {
            there.clear();
        }
        there.insert(dir.to_owned());
        Ok(())
    }

    /// After a refused write: forgets the known directories, in case somebody removed them, and deletes an empty
    /// directory with the key's own name. Returns whether to try again.
    pub async fn mend(&self, operator: &Operator, key: &str) -> bool {
        self.there.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
        let own = format!("{key}/");
        match operator.stat(&own).await {
            Ok(meta) if meta.is_dir() => self.remove_empty(operator, &own).await,
            _ => true,
        }
    }

    async fn remove_empty(&self, operator: &Operator, dir: &str) -> bool {
        let empty = async {
            let mut lister = operator.lister(dir).await?;
            while let Some(entry) = lister.try_next().await? {
                if entry.path() != dir {
                    return Ok(false);
                }
            }
            Ok::<_, opendal::Error>(true)
        };
        matches!(empty.await, Ok(true)) && operator.delete(dir).await.is_ok()
    }

    /// Why a write was refused, if a file or directory of the same name is the cause.
    pub async fn in_the_way(&self, operator: &Operator, location: &Location, key: &str) -> Option<Error> {
        let way_out = "this store cannot have both; exclude it from one run with --exclude, and the next run can write it";
        for (slash, _) in key.match_indices('/') {
            let above = &key[..slash];
            if operator.stat(above).await.is_ok_and(|meta| meta.is_file()) {
                let message = format!("`{above}` is a file there and a directory here; {way_out}");
                return Some(Error::new(ErrorKind::Exists, location.at(key), message));
            }
        }
        match operator.stat(key).await {
            Ok(meta) if meta.is_dir() => {
                let message = format!("it is a directory with files there and a file here; {way_out}");
                Some(Error::new(ErrorKind::Exists, location.at(key), message))
            }
            _ => None,
        }
    }
}

/// Deletes a file. A directory of that name stays, with everything in it.
pub(super) async fn delete_file(operator: &Operator, location: &Location, key: &str) -> Result<(), Error> {
    match operator.stat(key).await {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => operator.delete(key).await.map_err(|e| error::error(location, key, e)),
        Err(e) if e.kind() == Kind::NotFound => Ok(()),
        Err(e) => Err(error::error(location, key, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_has_its_slash() {
        assert_eq!((parent("a/b/c"), parent("a")), (Some("a/b/"), None));
    }
}
