//! Directories of a service that has real ones: made before what lies in them, and told from files.
//!
//! Owns what is known of directories that are there, and what is done where a file or a directory is in
//! the way of the other. Invariants: a directory is never deleted unless it was just seen to be empty (a
//! DELETE takes all that lies in it along); a file in the way is never deleted.

use std::collections::HashSet;
use std::sync::Mutex;

use futures::TryStreamExt;
use opendal::{ErrorKind as Kind, Operator};
use tokio::sync::Mutex as AsyncMutex;

use super::error;
use crate::contract::error::{Error, ErrorKind};
use crate::contract::location::Location;

/// So many directories are remembered; after that all are asked for again.
const REMEMBERED: usize = 50_000;

#[derive(Debug, Default)]
pub(super) struct OpendalDirs {
    there: Mutex<HashSet<String>>,
    /// One after the other: of two that make the same directory at once, one could be refused.
    making: AsyncMutex<()>,
}

/// The directory that a key lies in, with its slash; none at the top.
fn parent(key: &str) -> Option<&str> {
    key.rfind('/').map(|slash| &key[..=slash])
}

impl OpendalDirs {
    fn knows(&self, dir: &str) -> bool {
        self.there.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(dir)
    }

    /// Makes the directories above a key. Costs nothing where they are known.
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

    /// After a write that was refused: forgets the directories above the key, in case somebody removed
    /// them, and clears away an empty directory of the key's own name. Whether to try again.
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

    /// Why a write was refused, where a name is in the way of it.
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

/// Deletes a file; a directory of that name is left alone, and so is what lies in it.
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
