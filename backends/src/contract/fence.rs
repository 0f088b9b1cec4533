//! The right to change a place, which can run out while a change is on its way.
//!
//! Owns the word that goes with each changing call of a [`crate::Fenced`] backend down to where it leaves this
//! program: the request, the packet, the system call. There it is asked once more, retries included, because a
//! program can be stopped anywhere for any time. Invariant: what the fence refuses has changed nothing.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::contract::error::{Error, ErrorKind, Result};

/// What a call is about to do to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Make an object that must not be there yet.
    Create,
    /// Write an object, whatever is there.
    Put,
    /// Take a name away.
    Delete,
    /// Anything else in a tree: give names, set metadata, move things.
    Tree,
}

/// Decides about changes.
#[async_trait]
pub trait Fence: Send + Sync {
    /// Whether this change hangs on the right at all.
    fn guards(&self, act: Act, key: &[u8]) -> bool;

    /// Returns when it is sure that a change may be made now; finding out may take a request.
    ///
    /// # Errors
    /// [`ErrorKind::Late`] if the right is gone; whatever finding out came to.
    async fn pass(&self) -> Result<()>;

    /// Whether what [`Fence::pass`] said still holds. Waits for nothing.
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

/// A call is begun so many times: after each stop of the program its right has to be found out anew.
const TRIES: usize = 5;

/// The fence of the call under way, to be taken along to another thread.
pub(crate) fn current() -> Option<Arc<dyn Fence>> {
    FENCE.try_with(Arc::clone).ok()
}

/// Refuses if the call under way has a fence that holds no more.
pub(crate) fn check(at: impl fmt::Display) -> Result<()> {
    check_of(current().as_ref(), at)
}

/// The same on another thread.
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

/// Runs a call that changes something. One that came too late is begun again once its right is sure.
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
