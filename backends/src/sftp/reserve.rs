//! The disk space that is reserved in the staging area of a server; see `crate::staging_area`.
//!
//! Owns the creation and the removal of the reserve file there.

use std::sync::Arc;

use super::read::lstat;
use super::rename::rename;
use super::staging::SftpStaging;
use crate::contract::tree::FileMeta;
use crate::staging_area::{RESERVE, reserve};

impl SftpStaging {
    fn reserve_name(&self) -> Vec<u8> {
        [self.staging(), RESERVE].concat()
    }

    /// Creates the reserve file unless it exists, and ignores failures.
    pub async fn keep_reserve(self: &Arc<Self>) {
        let name = self.reserve_name();
        if matches!(lstat(self, &name).await, Ok(None))
            && let Ok(temp) = self.stage(&[reserve().into()], &FileMeta::default(), true).await
            && rename(self, &temp.path, &name).await.is_ok()
        {
            temp.release();
        }
    }

    /// Deletes the reserve file. Returns whether it existed and was deleted.
    pub async fn free_reserve(self: &Arc<Self>) -> bool {
        let name = self.reserve_name();
        matches!(lstat(self, &name).await, Ok(Some(_))) && self.discard(&name).await.is_ok()
    }
}
