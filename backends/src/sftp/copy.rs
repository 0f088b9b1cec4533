//! Copies within the tree, and clearing the staging area.
//!
//! Owns those operations of the staging area that read from the server. The others are in `staging.rs`.

use std::sync::Arc;

use futures::TryStreamExt;

use super::ops::Handle;
use super::read::{File, is_dir};
use super::session::SftpFault;
use super::staging::{SHARDS, SftpStaging, SftpTemp, TRIES};
use super::walk;
use crate::contract::error::Result;
use crate::contract::tree::FileMeta;
use crate::staging_area::is_temp;

/// The most bytes that one request copies on the server. The server answers no other request during the copy.
const COPY: u64 = 64 << 20;

impl SftpStaging {
    /// Copies the regular file `from` of `length` bytes to a temporary one. The server copies it if it can. Otherwise
    /// the bytes are read and written from here.
    pub async fn stage_copy(self: &Arc<Self>, from: &[u8], length: u64, meta: &FileMeta, durable: bool) -> Result<SftpTemp> {
        for _ in 0..TRIES {
            let source = File::open_exactly(self, from, length).await?;
            let (temp, handle) = self.create().await?;
            match self.copy(&source, handle, meta, durable).await {
                Ok(()) => return Ok(temp),
                Err(SftpFault::Lost) => {}
                Err(fault) => return Err(self.fault(from, &fault, source.size).await),
            }
        }
        Err(self.dirs.link.error(from, &SftpFault::Lost))
    }

    async fn copy(&self, source: &File, handle: Handle, meta: &FileMeta, durable: bool) -> Result<(), SftpFault> {
        let from = source.handle().await;
        let same = Arc::ptr_eq(&from.session, &handle.session);
        let mut offset = 0;
        if !same || !handle.session.offers.copy_data {
            let step = u64::from(handle.session.read_size.min(handle.session.write_size));
            let mut writes = Vec::new();
            while offset < source.size {
                let bytes = source.exactly(&from, offset, step.min(source.size - offset)).await?;
                writes.push(handle.write(offset, bytes.clone()).await);
                offset += bytes.len() as u64;
            }
            for write in writes {
                write.done().await?;
            }
        }
        while offset < source.size {
            let length = COPY.min(source.size - offset);
            from.copy_to(&handle, offset, length).await?;
            offset += length;
        }
        self.finish(handle, meta, source.size, durable).await
    }

    /// Removes the temporary files and symlinks of the staging area, whichever run made them. Everything else stays.
    pub async fn clear(self: &Arc<Self>) -> Result<()> {
        let is_ours = |path: &[u8]| path.rsplit(|b| *b == b'/').next().is_some_and(is_temp);
        for shard in 0..SHARDS {
            let dir = [self.staging(), format!("/{shard:x}").as_bytes()].concat();
            let mut batches = walk::each(self, &dir);
            while let Some(batch) = batches.try_next().await? {
                for (path, _) in batch.into_iter().filter(|(path, attrs)| !is_dir(attrs) && is_ours(path)) {
                    self.discard(&path).await?;
                }
            }
        }
        Ok(())
    }
}
