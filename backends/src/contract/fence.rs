//! The check of the right to change a destination, which can expire while a change is on its way.
//!
//! Owns the fence that each changing call of a [`crate::Fenced`] backend carries down to where it leaves this program:
//! the request, the packet, the system call. The fence is checked there once more, retries included, because the system
//! can suspend a program at any point for any time. Invariant: a call that the fence refuses has changed nothing.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::contract::error::{Error, ErrorKind, Result};

/// What a call is about to do to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Creates an object that must not exist yet.
    Create,
    /// Writes an object, whether it exists or not.
    Put,
    /// Removes a name.
    Delete,
    /// Any other change in a tree: gives names, sets metadata, moves files.
    Tree,
}

/// Decides whether a change may be made.
#[async_trait]
pub trait Fence: Send + Sync {
    /// Whether this change needs the right at all. `key` is relative to the destination.
    fn guards(&self, act: Act, key: &[u8]) -> bool;

    /// Returns once it is certain that a change may be made now. To find out may take a request.
    ///
    /// # Errors
    /// [`ErrorKind::Late`] if the right is lost, or the error of that request.
    async fn pass(&self) -> Result<()>;

    /// Whether the last answer of [`Fence::pass`] still holds. Waits for nothing.
    fn holds(&self) -> bool;
}

/// See [`crate::Backend::boot_clock`].
pub(crate) fn boot_clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

tokio::task_local! {
    static FENCE: Arc<dyn Fence>;
}

/// Tries of one call. After each suspension of the program its right has to be confirmed again.
const TRIES: usize = 5;

/// The fence of the current call, to be handed to another thread.
pub(crate) fn current() -> Option<Arc<dyn Fence>> {
    FENCE.try_with(Arc::clone).ok()
}

/// Refuses if the current call has a fence that no longer holds.
pub(crate) fn check(at: impl fmt::Display) -> Result<()> {
    check_of(current().as_ref(), at)
}

/// The same on another thread, with the fence from [`current`].
pub(crate) fn check_of(fence: Option<&Arc<dyn Fence>>, at: impl fmt::Display) -> Result<()> {
    match fence {
        Some(fence) if !fence.holds() => Err(late(at)),
        _ => Ok(()),
    }
}

pub(crate) fn late(at: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Late, at, "this program was suspended for so long that another writer may be working there; nothing was changed")
}

/// Whether a call came too late.
pub(crate) fn is_late(error: &Error) -> bool {
    error.kind == ErrorKind::Late
}

/// Runs a call that changes something. A call that came too late runs again once its right is confirmed.
pub(crate) async fn guarded<T, E: From<Error>, F: Future<Output = Result<T, E>>>(
    fence: &Arc<dyn Fence>,
    is_late: impl Fn(&E) -> bool,
    run: impl Fn() -> F,
) -> Result<T, E> {
    let mut tries = 0;
    loop {
        fence.pass().await?;
        tries += 1;
        match FENCE.scope(Arc::clone(fence), run()).await {
            Err(error) if is_late(&error) && tries < TRIES => {}
            done => return done,
        }
    }
}

/// Runs one try of a call.
pub(crate) async fn scoped<T>(fence: &Arc<dyn Fence>, run: impl Future<Output = T>) -> T {
    FENCE.scope(Arc::clone(fence), run).await
}
