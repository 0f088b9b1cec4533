//! Copies within the tree, and the sweeping of the staging area.
//!
//! Owns what of the staging area has to read: the rest of it is `staging.rs`.

use std::sync::Arc;

use futures::TryStreamExt;

use super::meta;
use super::ops::Handle;
use super::read::File;
use super::session::SftpFault;
use super::staging::{SHARDS, SftpStaging, SftpTemp, TRIES};
use super::walk;
use crate::contract::error::Result;
use crate::contract::tree::FileMeta;

/// The server copies so much with one request, which keeps it from everything else meanwhile.
const COPY: u64 = 64 << 20;

impl SftpStaging {
    /// Copies the regular file `from` of `length` bytes to a temporary one: on the server where it can, else
    /// through here.
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

    /// Empties the staging area of files and symlinks. Directories stay, and what is in those that are
    /// not ours.
    pub async fn clear(self: &Arc<Self>) -> Result<()> {
        for shard in 0..SHARDS {
            let dir = [self.staging(), format!("/{shard:x}").as_bytes()].concat();
            let mut batches = walk::each(self, &dir);
            while let Some(batch) = batches.try_next().await? {
                for (path, _) in batch.into_iter().filter(|(_, attrs)| meta::is_file(attrs)) {
                    self.discard(&path).await?;
                }
            }
        }
        Ok(())
    }
}
