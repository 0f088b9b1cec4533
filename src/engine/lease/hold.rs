//! The fence: whether this run surely has the lease right now. Every change at a destination asks it first.
//!
//! Owns the fence of a destination ([`offsite_backends::Fence`]): which of offsite's own objects need no lease, how
//! long the last renewal counts, and the renewal itself. Time is that of `CLOCK_BOOTTIME`, which continues while the
//! machine sleeps. Invariant: when in doubt, nothing is changed before a renewal has shown that no other run has
//! taken the lease.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use offsite_backends::{self as backends, Act, Backend, ErrorKind, Fence};
use tokio::sync::Mutex;

use super::record::{Body, KEY, SETTLE, TTL, mode, put, read};
use crate::error::{Error, Result};
use crate::manifest::{Format, Records};
use crate::transfer::Stop;

/// How long the lease counts as this run's after the start of a renewal, without another request. The other half of
/// its lifetime is for changes in flight, and for clocks that run at different speeds.
const SURE: Duration = Duration::from_secs(TTL.as_secs() / 2);

/// States: no lease was taken yet; this run has it; this run has released it; another run has it.
const FREE: u8 = 0;
const HELD: u8 = 1;
const GIVEN_BACK: u8 = 2;
const LOST: u8 = 3;

/// What a renewal needs.
struct Grip {
    records: Records,
    body: Body,
    swap: bool,
    etag: Option<String>,
}

/// The fence of one destination.
pub struct Hold {
    /// The backend without the fence, for its clock.
    place: Arc<dyn Backend>,
    state: AtomicU8,
    /// In nanoseconds of the boot clock.
    sure_until: AtomicU64,
    grip: Mutex<Option<Grip>>,
    stop: OnceLock<Arc<Stop>>,
}

fn sure_from(began: u64) -> u64 {
    began + u64::try_from(SURE.as_nanos()).unwrap_or(u64::MAX)
}

impl Hold {
    /// The fence of a destination at which no lease was taken yet.
    pub fn of(place: Arc<dyn Backend>) -> Self {
        Self { place, state: AtomicU8::new(FREE), sure_until: AtomicU64::new(0), grip: Mutex::new(None), stop: OnceLock::new() }
    }

    /// Notes that the lease was taken by a write that began at `began` (boot clock, nanoseconds).
    pub async fn taken(&self, records: &Records, body: &Body, swap: bool, etag: Option<String>, stop: &Arc<Stop>, began: u64) {
        let _ = self.stop.set(Arc::clone(stop));
        *self.grip.lock().await = Some(Grip { records: records.clone(), body: body.clone(), swap, etag });
        self.sure_until.store(sure_from(began), SeqCst);
        self.state.store(HELD, SeqCst);
    }

    /// Notes that the lease was released. The fence then refuses every change that needs it.
    pub fn released(&self) {
        let _ = self.state.compare_exchange(HELD, GIVEN_BACK, SeqCst, SeqCst);
    }

    /// Forgets how the lease is renewed. The fence would otherwise hold the backend that it is around, and neither of them
    /// would ever be closed.
    pub fn forget(&self) {
        if let Ok(mut grip) = self.grip.try_lock() {
            *grip = None;
        }
    }

    /// Renews the lease.
    ///
    /// # Errors
    /// If this run does not have it (any more), and if the renewal fails.
    pub async fn renew(&self) -> Result<()> {
        let mut grip = self.grip.lock().await;
        self.renew_with(&mut grip).await
    }

    /// Replaces the lease by a record that says that this run has ended cleanly.
    ///
    /// # Errors
    /// Those of [`renew`](Self::renew).
    pub async fn give_back(&self) -> Result<()> {
        let mut grip = self.grip.lock().await;
        if let Some(grip) = grip.as_mut() {
            (grip.body.interrupted, grip.body.released) = (true, true);
        }
        self.renew_with(&mut grip).await
    }

    async fn renew_with(&self, grip: &mut Option<Grip>) -> Result<()> {
        let Some(grip) = grip.as_mut().filter(|_| self.state.load(SeqCst) == HELD) else { return Err(self.refusal().into()) };
        let began = self.place.boot_clock();
        let sure = began < self.sure_until.load(SeqCst);
        let ours = if grip.swap { grip.by_swap().await? } else { grip.by_looking(sure).await? };
        if !ours {
            self.lose();
            return Err(self.refusal().into());
        }
        self.sure_until.store(sure_from(began), SeqCst);
        Ok(())
    }

    /// Notes that another run has the lease, and stops this run.
    pub fn lose(&self) {
        self.state.store(LOST, SeqCst);
        if let Some(stop) = self.stop.get() {
            stop.lease_lost();
        }
    }

    pub fn is_lost(&self) -> bool {
        self.state.load(SeqCst) == LOST
    }

    /// The tag of the lease as it was last written.
    pub async fn tag(&self) -> Option<String> {
        self.grip.lock().await.as_ref().and_then(|grip| grip.etag.clone())
    }

    fn refusal(&self) -> backends::Error {
        let why = match self.state.load(SeqCst) {
            LOST => "the lease was lost to another writer, and nothing more was written or deleted; run again",
            _ => "a change without a lease was refused, and nothing was written; please report this",
        };
        backends::Error::new(ErrorKind::Late, self.place.location(), why)
    }
}

impl Grip {
    /// Renews by compare-and-swap; false if another run has the lease. No other write can come between the read and
    /// the write.
    async fn by_swap(&mut self) -> Result<bool> {
        for _ in 0..5 {
            match put(&self.records, &self.body, mode(true, self.etag.clone())).await {
                Ok(etag) => {
                    self.etag = etag;
                    return Ok(true);
                }
                Err(error) if is_refused(&error) => {}
                Err(error) => return Err(error),
            }
            // This run's own write may have succeeded without an answer.
            match read(&self.records).await? {
                Some((there, _, etag)) if there.run == self.body.run => self.etag = etag,
                _ => return Ok(false),
            }
        }
        Err(Error::Busy(format!("{}: the lease cannot be renewed, because it keeps changing", self.records.backend().location())))
    }

    /// Renews without compare-and-swap. While the lease is `sure` to be this run's, no other run may write it. After
    /// that, the last writer has it, as when a lease is taken.
    async fn by_looking(&mut self, sure: bool) -> Result<bool> {
        if !self.is_there().await? {
            return Ok(false);
        }
        self.etag = put(&self.records, &self.body, mode(false, None)).await?;
        if sure {
            return Ok(true);
        }
        tokio::time::sleep(SETTLE).await;
        self.is_there().await
    }

    async fn is_there(&self) -> Result<bool> {
        Ok(read(&self.records).await?.is_some_and(|(there, ..)| there.run == self.body.run))
    }
}

fn is_refused(error: &Error) -> bool {
    matches!(error.kind(), Some(ErrorKind::Precondition | ErrorKind::NotFound | ErrorKind::Exists))
}

/// Whether a change needs no lease: the lease itself, what the first run probes before it takes one, and run and
/// check records.
fn is_free(act: Act, key: &[u8]) -> bool {
    const WORDS: [&[u8]; 2] = [b".offsite/run.json", b".offsite/check.json"];
    // At a sealed destination the records have another ending.
    let key = key.strip_suffix(b".age").unwrap_or(key);
    match act {
        Act::Create | Act::Put if key == KEY.as_bytes() || WORDS.contains(&key) => true,
        Act::Create if key == Format::KEY.as_bytes() => true,
        // Key files come before the first lease, and none is ever changed.
        Act::Create | Act::Put if key.starts_with(b".offsite/keys/") => true,
        _ => key == b".offsite/probe" || key.starts_with(b".offsite/probe/"),
    }
}

#[async_trait]
impl Fence for Hold {
    fn guards(&self, act: Act, key: &[u8]) -> bool {
        // A run without changes takes no lease: it creates its snapshot, or the create fails. On a store without
        // create-only, both kinds of record are put after a read.
        let once = key == Format::KEY.as_bytes() || key.starts_with(b".offsite/snapshots/");
        let record = matches!(act, Act::Create | Act::Put) && once && self.state.load(SeqCst) == FREE;
        !record && !is_free(act, key)
    }

    async fn pass(&self) -> backends::Result<()> {
        if self.holds() {
            return Ok(());
        }
        let mut grip = self.grip.lock().await;
        // Another task may have renewed the lease while this one waited.
        if self.holds() {
            return Ok(());
        }
        match self.renew_with(&mut grip).await {
            Ok(()) => Ok(()),
            Err(Error::Store(error)) => Err(error),
            Err(error) => Err(backends::Error::new(ErrorKind::Other, self.place.location(), error)),
        }
    }

    fn holds(&self) -> bool {
        self.state.load(SeqCst) == HELD && self.place.boot_clock() < self.sure_until.load(SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_and_probes_go_without_the_lease() {
        let place = offsite_backends::testing::MemoryBackend::new("hold").unwrap();
        let hold = Hold::of(Arc::new(place));
        for (act, key, guarded) in [
            (Act::Put, "a file", true),
            (Act::Create, "a file", true),
            (Act::Delete, "a file", true),
            (Act::Tree, "a file", true),
            (Act::Tree, ".offsite/probe/x", false),
            (Act::Delete, ".offsite/probe", false),
            (Act::Tree, ".offsite/probes", true),
            (Act::Create, ".offsite/format.json", false),
            (Act::Put, ".offsite/format.json", false),
            (Act::Delete, ".offsite/format.json", true),
            (Act::Put, ".offsite/lease.json", false),
            (Act::Put, ".offsite/lease.json.age", false),
            (Act::Delete, ".offsite/lease.json.age", true),
            (Act::Create, ".offsite/keys/1.age", false),
            (Act::Delete, ".offsite/keys/1.age", true),
            (Act::Delete, ".offsite/lease.json", true),
            (Act::Put, ".offsite/run.json", false),
            (Act::Delete, ".offsite/run.json", true),
            (Act::Put, ".offsite/pages/x", true),
            (Act::Create, ".offsite/snapshots/000000000001.json", false),
            (Act::Put, ".offsite/snapshots/000000000001.json", false),
            (Act::Delete, ".offsite/snapshots/000000000001.json", true),
            (Act::Delete, ".offsite/probe/x", false),
        ] {
            assert_eq!(hold.guards(act, key.as_bytes()), guarded, "{act:?} {key}");
        }
        assert!(!hold.holds());
    }
}
