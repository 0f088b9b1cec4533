//! A content that is staged block by block.
//!
//! Owns the number of bytes in flight, and how a content continues after a lost connection: bytes that the server has
//! not confirmed are still in memory and are sent again to the same temporary file. Invariant: a file is finished
//! only if every block was confirmed. If a server lost confirmed bytes (it was restarted), its file is shorter, and
//! the content is refused.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::ops::Handle;
use super::session::{Pending, SftpFault};
use super::staging::{SftpStaging, SftpTemp, is_zero, pieces};
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::tree::{FileMeta, StageBlocks, Staged};

/// The most bytes of one content that may be unconfirmed.
const WINDOW: u64 = 4 << 20;

pub(super) struct SftpBlocks {
    area: Arc<SftpStaging>,
    temp: SftpTemp,
    handle: Handle,
    meta: FileMeta,
    /// The offset up to which bytes were sent.
    offset: u64,
    /// The offset up to which the server has confirmed them.
    confirmed: u64,
    under_way: VecDeque<(u64, Bytes, Pending)>,
}

impl SftpBlocks {
    pub async fn new(area: &Arc<SftpStaging>, meta: FileMeta) -> Result<Self> {
        let (temp, handle) = area.create().await?;
        Ok(Self { area: Arc::clone(area), temp, handle, meta, offset: 0, confirmed: 0, under_way: VecDeque::new() })
    }

    pub async fn append(&mut self, block: &Bytes) -> Result<()> {
        for piece in pieces(block, self.handle.session.write_size) {
            let at = self.offset;
            self.offset += piece.len() as u64;
            if !(self.meta.sparse && is_zero(&piece)) {
                let pending = self.handle.write(at, piece.clone()).await;
                self.under_way.push_back((at, piece, pending));
            }
        }
        self.settle(WINDOW).await
    }

    /// Waits until at most `most` bytes are unconfirmed.
    async fn settle(&mut self, most: u64) -> Result<()> {
        while let Some((at, piece, _)) = self.under_way.front() {
            let end = at + piece.len() as u64;
            if self.offset - at <= most {
                break;
            }
            // Removed only after its reply, so that a cancelled call loses no block.
            match self.under_way[0].2.wait().await {
                Ok(()) => {
                    self.under_way.pop_front();
                    self.confirmed = end;
                }
                Err(SftpFault::Lost) => self.go_on().await?,
                Err(fault) => return Err(self.area.fault(&self.temp.path, &fault, WINDOW).await),
            }
        }
        Ok(())
    }

    /// Opens the file again over a new connection and sends the unconfirmed bytes again.
    async fn go_on(&mut self) -> Result<()> {
        let (handle, size) = self.area.reopen(&self.temp.path).await?;
        if size < self.confirmed && !self.meta.sparse {
            let what = "the server lost what it had confirmed (was it restarted?); the file must be sent again";
            return Err(Error::new(ErrorKind::Transient, self.area.dirs.link.shown(&self.temp.path), what));
        }
        self.handle = handle;
        for (at, piece, pending) in &mut self.under_way {
            *pending = self.handle.write(*at, piece.clone()).await;
        }
        Ok(())
    }

    /// Finishes the file. With `durable` it is on the server's disk when this returns, as far as the server and the
    /// settings allow.
    pub async fn end(mut self, durable: bool) -> Result<SftpTemp> {
        loop {
            self.settle(0).await?;
            match self.area.finish(self.handle, &self.meta, self.offset, durable).await {
                Ok(()) => return Ok(self.temp),
                Err(SftpFault::Lost) => self.handle = self.area.reopen(&self.temp.path).await?.0,
                Err(fault) => return Err(self.area.fault(&self.temp.path, &fault, 0).await),
            }
        }
    }
}

#[async_trait]
impl StageBlocks for SftpBlocks {
    async fn write(&mut self, block: Bytes) -> Result<()> {
        self.append(&block).await
    }

    async fn finish(self: Box<Self>) -> Result<Staged> {
        Ok(self.end(false).await?.into_staged())
    }
}
