//! Where a content goes that is read block by block.

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;

/// Contents larger than this are fetched in ranges of this length (bytes), several at a time.
pub const RANGE: u64 = 8 << 20;
pub const RANGES_AHEAD: usize = 4;

/// Takes a content block by block.
#[async_trait]
pub trait Sink: Send {
    /// Another location is tried. The sink discards all previous blocks.
    async fn restart(&mut self) -> Result<()>;
    /// Takes the next block, in order.
    async fn write(&mut self, block: Bytes) -> Result<()>;
}
