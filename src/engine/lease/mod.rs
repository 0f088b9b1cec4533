//! The lease: one writer at a time.
//!
//! Owns `.offsite/lease.json`. A run creates it before its first write, renews it while it works, reads it again
//! right before it deletes, and removes it at the end, or marks it as released where it may not delete. The lease expires by the store's clock, so a wrong clock of
//! this machine cannot break it. A run takes over the lease of a dead run of this machine at once: the lease names
//! the local lock file, and a process that has this lock knows that the other run has ended.

pub mod hold;
mod record;

use std::sync::Arc;
use std::time::Duration;

use object_store::PutMode;
use offsite_backends::ErrorKind;
use tokio::task::JoinHandle;

use self::hold::Hold;
pub use self::record::is_released;
use self::record::{Body, KEY, SETTLE, TTL, mode, put, read};
use super::clock::rfc3339;
use super::destination::Destination;
use super::machine::Machine;
use crate::error::{Error, Result};
use crate::manifest::{Format, Records};
use crate::transfer::Stop;

const RENEW: Duration = Duration::from_secs(30);

/// A lease that this run has. Everything written under it passes the fence of its destination ([`Hold`]).
pub struct Lease {
    records: Records,
    body: Body,
    swap: bool,
    hold: Arc<Hold>,
    renewal: JoinHandle<()>,
    /// Stops the run at this destination only.
    pub stop: Arc<Stop>,
    /// The run that had the lease before and did not end cleanly.
    pub before: Option<String>,
}

/// Who takes the lease, and for which run.
#[derive(Debug, Clone)]
pub struct Claim {
    pub run: String,
    pub host: String,
    pub writer: String,
    pub since: String,
    pub base: u64,
}

impl Claim {
    /// The claim of a new run that starts from what `destination` was loaded with.
    pub fn of(destination: &Destination, machine: &Machine) -> Self {
        Self {
            run: format!("{:016x}{:016x}", crate::random(), crate::random()),
            host: machine.host.clone(),
            writer: destination.writer.clone(),
            since: rfc3339(),
            base: destination.number(),
        }
    }
}

impl Lease {
    /// Takes the lease.
    ///
    /// # Errors
    /// [`Error::Busy`] if another run has it; the text names that run.
    pub async fn take(destination: &Destination, format: &Format, claim: Claim, stop: &Arc<Stop>) -> Result<Self> {
        let (records, hold) = (&destination.records, &destination.hold);
        let body = Body {
            run: claim.run,
            host: claim.host,
            writer: claim.writer,
            pid: std::process::id(),
            since: claim.since,
            base: claim.base,
            ttl: TTL.as_secs(),
            interrupted: false,
            released: false,
        };
        let backend = records.backend();
        // Where an upload that lost cannot be withdrawn, conditional puts do not tell two writers apart.
        let exclusive = format.create_only && !(backend.is_append_only() && backend.capabilities().hides);
        let taken = if exclusive {
            take_exclusively(records, &body, format.compare_and_swap).await?
        } else {
            take_and_look(records, &body).await?
        };
        let (swap, stop) = (exclusive && format.compare_and_swap, Arc::new(Stop::below(stop)));
        hold.taken(records, &body, swap, taken.etag, &stop, taken.began).await;
        let renewal = tokio::spawn(renew(Arc::clone(hold)));
        Ok(Self { records: records.clone(), body, swap, hold: Arc::clone(hold), renewal, stop, before: taken.before })
    }

    /// Reads the lease and checks that this run still has it. Every caller that deletes asks first.
    ///
    /// # Errors
    /// [`Error::Busy`] if another writer has it.
    pub async fn verify(&self) -> Result<()> {
        match read(&self.records).await? {
            Some((body, ..)) if body.run == self.body.run => Ok(()),
            _ => {
                self.hold.lose();
                Err(Error::Busy(format!(
                    "{}: the lease was lost to another writer, and nothing was deleted; run again",
                    self.records.backend().location()
                )))
            }
        }
    }

    /// Releases the lease at the end of a run, and deletes `also` in the same request if the store can delete several
    /// objects at once. In append-only mode, replaces the lease by a record that says so, and `also` is empty. A lease
    /// that another run has taken stays.
    pub async fn release(self, mut also: Vec<Vec<u8>>) -> Result<()> {
        self.renewal.abort();
        if !self.records.backend().deletes() {
            let done = self.hold.give_back().await;
            self.hold.released();
            return done;
        }
        also.push(KEY.as_bytes().to_vec());
        let done = self.records.delete(also).await;
        self.hold.released();
        done
    }

    /// Marks the lease as interrupted, so that another run need not wait. If this fails, the next run only has to
    /// wait.
    pub async fn mark_interrupted(self) {
        self.renewal.abort();
        // Without compare-and-swap this write could replace the lease of a run that has taken it.
        if self.hold.is_lost() || !self.swap && self.verify().await.is_err() {
            return;
        }
        let body = Body { interrupted: true, ..self.body.clone() };
        let _ = put(&self.records, &body, mode(self.swap, self.hold.tag().await)).await;
        self.hold.released();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
        self.hold.forget();
    }
}

/// A lease that was just written.
struct Taken {
    etag: Option<String>,
    /// The run whose lease was there before.
    before: Option<String>,
    /// When the write began, by the boot clock, in nanoseconds.
    began: u64,
}

async fn take_exclusively(records: &Records, body: &Body, swap: bool) -> Result<Taken> {
    // In append-only mode, the last run has most often left its record.
    let mut perhaps_missing = records.backend().deletes();
    for _ in 0..5 {
        let began = records.backend().boot_clock();
        if perhaps_missing {
            match put(records, body, PutMode::Create).await {
                Ok(etag) => return Ok(Taken { etag, before: None, began }),
                Err(error) if error.kind() == Some(ErrorKind::Exists) => {}
                Err(error) => return Err(error),
            }
        }
        perhaps_missing = true;
        // The other run has released it: try again.
        let Some((there, modified, etag)) = read(records).await? else { continue };
        if there.run == body.run {
            return Ok(Taken { etag, before: None, began });
        }
        free(records, &there, modified, body).await?;
        let began = records.backend().boot_clock();
        match put(records, body, mode(swap, etag)).await {
            Ok(etag) => return Ok(Taken { etag, before: there.cut_off(), began }),
            Err(error) if matches!(error.kind(), Some(ErrorKind::Precondition | ErrorKind::Exists | ErrorKind::NotFound)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::Busy(format!("{}: several writers tried to take the lease at the same time; run again", records.backend().location())))
}

/// For stores without create-only: read, write, wait, read again.
async fn take_and_look(records: &Records, body: &Body) -> Result<Taken> {
    let before = match read(records).await? {
        Some((there, modified, _)) => {
            free(records, &there, modified, body).await?;
            there.cut_off()
        }
        None => None,
    };
    let began = records.backend().boot_clock();
    put(records, body, PutMode::Overwrite).await?;
    tokio::time::sleep(SETTLE).await;
    match read(records).await? {
        Some((there, _, etag)) if there.run == body.run => Ok(Taken { etag, before, began }),
        _ => Err(Error::Busy(format!("{}: another writer took it first; run again later", records.backend().location()))),
    }
}

/// Checks that another run's lease may be taken over.
async fn free(records: &Records, there: &Body, modified: chrono::DateTime<chrono::Utc>, me: &Body) -> Result<()> {
    let own_dead_run = !me.writer.is_empty() && there.writer == me.writer;
    if there.interrupted || own_dead_run {
        return Ok(());
    }
    let now = records.backend().now().await?;
    let left = modified + chrono::TimeDelta::seconds(i64::try_from(there.ttl.min(86_400)).unwrap_or(120)) - now;
    if left <= chrono::TimeDelta::zero() {
        return Ok(());
    }
    Err(Error::Busy(format!(
        "{}: {} has been writing there since {} (process {}); if that run is dead, its lease expires in {} s",
        records.backend().location(),
        there.host,
        there.since,
        there.pid,
        left.num_seconds().max(1)
    )))
}

/// Renews the lease until the task is aborted. If a renewal fails, the next change at the destination renews the
/// lease.
async fn renew(hold: Arc<Hold>) {
    while !hold.is_lost() {
        tokio::time::sleep(RENEW).await;
        let _ = hold.renew().await;
    }
}
