//! The room that is kept back in the staging area of a server; see `crate::reserve`.

use std::sync::Arc;

use super::read::lstat;
use super::rename::rename;
use super::staging::SftpStaging;
use crate::contract::tree::FileMeta;
use crate::reserve::{NAME, content};

impl SftpStaging {
    fn reserve_name(&self) -> Vec<u8> {
        [self.staging(), NAME].concat()
    }

    /// Keeps some room back, if it can be had.
    pub async fn keep_reserve(self: &Arc<Self>) {
        let name = self.reserve_name();
        if matches!(lstat(self, &name).await, Ok(None))
            && let Ok(temp) = self.stage(&[content().into()], &FileMeta::default(), true).await
            && rename(self, &temp.path, &name).await.is_ok()
        {
            temp.release();
        }
    }

    /// Gives that room up; answers whether there was any.
    pub async fn free_reserve(self: &Arc<Self>) -> bool {
        let name = self.reserve_name();
        matches!(lstat(self, &name).await, Ok(Some(_))) && self.discard(&name).await.is_ok()
    }
}
