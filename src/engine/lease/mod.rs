//! One writer at a time: the lease.
//!
//! Owns `.offsite/lease.json`: taken create-only before the first write, renewed while the run goes on,
//! looked at again right before deletes, and removed at the end. It runs out by the store's clock, so a
//! clock that is wrong here cannot break it. A lease that this machine's own dead run left is taken over
//! at once: whoever holds the local lock file it names knows that run has ended.

pub mod hold;
mod record;

use std::sync::Arc;
use std::time::Duration;

use object_store::PutMode;
use offsite_backends::ErrorKind;
use tokio::task::JoinHandle;

use self::hold::Hold;
use self::record::{Body, KEY, SETTLE, TTL, mode, put, read};
use super::destination::Destination;
use crate::error::{Error, Result};
use crate::manifest::{Format, Records};
use crate::transfer::Stop;

const RENEW: Duration = Duration::from_secs(30);

/// A lease that is held. What is written under it goes through the fence of its destination ([`Hold`]).
pub struct Lease {
    records: Records,
    body: Body,
    swap: bool,
    hold: Arc<Hold>,
    renewal: JoinHandle<()>,
    /// Ends the run at this destination, and no other.
    pub stop: Arc<Stop>,
    /// The run that held it before and did not end cleanly.
    pub before: Option<String>,
}

/// Who wants it.
#[derive(Debug, Clone)]
pub struct Claim {
    pub run: String,
    pub host: String,
    pub writer: String,
    pub since: String,
    pub base: u64,
}

impl Lease {
    /// Takes the lease, or says who has it.
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
        };
        let taken = if format.create_only {
            take_exclusively(records, &body, format.compare_and_swap).await?
        } else {
            take_and_look(records, &body).await?
        };
        let (swap, stop) = (format.compare_and_swap, Arc::new(Stop::below(stop)));
        hold.taken(records, &body, swap, taken.etag, &stop, taken.began).await;
        let renewal = tokio::spawn(renew(Arc::clone(hold)));
        Ok(Self { records: records.clone(), body, swap, hold: Arc::clone(hold), renewal, stop, before: taken.before })
    }

    /// Whether it is still ours, by the store; asked before anything is deleted.
    pub async fn verify(&self) -> Result<()> {
        match read(&self.records).await? {
            Some((body, ..)) if body.run == self.body.run => Ok(()),
            _ => {
                self.hold.lose();
                Err(Error::Busy(format!(
                    "{}: the lease was lost to another writer; nothing was deleted, run again",
                    self.records.backend().location()
                )))
            }
        }
    }

    /// Gives it back after a run that came to its end, and deletes `also` along with it: one request where
    /// the store deletes several at once. One that is somebody else's by now stays theirs.
    pub async fn release(self, mut also: Vec<Vec<u8>>) -> Result<()> {
        self.renewal.abort();
        also.push(KEY.as_bytes().to_vec());
        let done = self.records.delete(also).await;
        self.hold.given_back();
        done
    }

    /// Leaves a note that the run may be gone on with. What goes wrong here costs a wait, nothing else.
    pub async fn leave(self) {
        self.renewal.abort();
        // Without compare-and-swap the note would go over the lease of whoever took it meanwhile.
        if self.hold.is_lost() || !self.swap && self.verify().await.is_err() {
            return;
        }
        let body = Body { interrupted: true, ..self.body.clone() };
        let _ = put(&self.records, &body, mode(self.swap, self.hold.tag().await)).await;
        self.hold.given_back();
    }
}

/// A lease that was just written.
struct Taken {
    etag: Option<String>,
    /// The run that left its own behind.
    before: Option<String>,
    /// When the write began, by the boot clock.
    began: u64,
}

async fn take_exclusively(records: &Records, body: &Body, swap: bool) -> Result<Taken> {
    for _ in 0..5 {
        let began = records.backend().boot_clock();
        match put(records, body, PutMode::Create).await {
            Ok(etag) => return Ok(Taken { etag, before: None, began }),
            Err(error) if error.kind() == Some(ErrorKind::Exists) => {}
            Err(error) => return Err(error),
        }
        // Gone meanwhile: try again.
        let Some((there, modified, etag)) = read(records).await? else { continue };
        if there.run == body.run {
            return Ok(Taken { etag, before: None, began });
        }
        free(records, &there, modified, body).await?;
        let began = records.backend().boot_clock();
        match put(records, body, mode(swap, etag)).await {
            Ok(etag) => return Ok(Taken { etag, before: Some(there.run), began }),
            Err(error) if matches!(error.kind(), Some(ErrorKind::Precondition | ErrorKind::Exists | ErrorKind::NotFound)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::Busy(format!("{}: several writers tried to take it at the same time; run again", records.backend().location())))
}

/// For stores without create-only: look, write, wait, look again.
async fn take_and_look(records: &Records, body: &Body) -> Result<Taken> {
    let before = match read(records).await? {
        Some((there, modified, _)) => {
            free(records, &there, modified, body).await?;
            Some(there.run)
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

/// Whether a lease that is there may be taken over.
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

/// Renews until the task is ended. One that could not be renewed now is so again by whatever is to be changed next.
async fn renew(hold: Arc<Hold>) {
    while !hold.is_lost() {
        tokio::time::sleep(RENEW).await;
        let _ = hold.renew().await;
    }
}
