//! Calls that block, on threads that may.
//!
//! Invariant: the fence of the call under way goes along, and is asked once more on the thread.

use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::fence;

/// Runs `op` on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(op: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let fence = fence::current();
    let late = move || fence::check_of(fence.as_ref(), "directory");
    match tokio::task::spawn_blocking(move || late().and_then(|()| op())).await {
        Ok(done) => done,
        Err(error) => Err(Error::new(ErrorKind::Other, "directory", error)),
    }
}
