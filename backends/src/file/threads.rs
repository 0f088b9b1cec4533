//! Blocking calls, on threads that may block.
//!
//! Invariant: the fence of the current call is passed on to the thread and is checked there once more.

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
