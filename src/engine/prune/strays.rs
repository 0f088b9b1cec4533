//! Deletes packs that no snapshot names: of an interrupted run whose machine or cache was lost.
//!
//! Owns the proof. Under the lease, no other run writes, and one that was interrupted can continue no more. So a pack is
//! a stray if the manifest of no snapshot names it, and it goes if it is older than [`AGE`] by the store's clock.
//! Invariant: if the manifest of one snapshot cannot be read, nothing is deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};

use super::deletion_queue;
use super::leased::{ended, take};
use super::packs::{AT_ONCE, NeededPacks, PackTimes, look};
use super::queued::QueueLine;
use crate::engine::commit::still_newest;
use crate::engine::control::RunControl;
use crate::engine::destination::Destination;
use crate::engine::lease::Lease;
use crate::engine::locked::Locked;
use crate::engine::machine::Machine;
use crate::engine::outcome::PruneOutcome;
use crate::error::{Error, Result};
use crate::model::{Hash, Layout};
use crate::spool::Writer;
use crate::transfer::Stop;

/// Age of a stray at least, in seconds: two days.
const AGE: i64 = 2 * 86_400;

/// `prune --strays`: deletes packs that no snapshot names.
///
/// # Errors
/// [`Error::Usage`] at a mirror. Otherwise those of [`prune`](super::prune).
pub async fn prune_strays(machine: &Machine, url: &str, dry_run: bool, control: &RunControl) -> Result<PruneOutcome> {
    prune_strays_over(Destination::open(url, machine).await?, machine, dry_run, control).await
}

/// [`prune_strays`] for a destination that is already open.
///
/// # Errors
/// Those of [`prune_strays`], except those of opening the destination.
pub async fn prune_strays_over(
    mut destination: Destination,
    machine: &Machine,
    dry_run: bool,
    control: &RunControl,
) -> Result<PruneOutcome> {
    destination.lock()?;
    destination.load(false, false).await?;
    let url = destination.backend.location();
    if destination.layout() == Layout::Mirror {
        return Err(Error::Usage(format!(
            "{url}: it is a mirror, and --strays deletes only packs of packed destinations; `offsite check` lists its foreign objects"
        )));
    }
    let mut outcome = if dry_run {
        let strays = found(&destination, &control.stop).await?;
        PruneOutcome {
            layout: Layout::Packed,
            strays: Some(strays.packs.len() as u64),
            bytes: strays.bytes,
            dry_run,
            ..PruneOutcome::default()
        }
    } else {
        let lease = take(&destination, machine, &control.stop).await?;
        let deleted = delete(&destination, &lease).await;
        ended(lease, deleted).await?
    };
    outcome.url = destination.backend.location().to_string();
    outcome.kept = destination.records.snapshots(None).await?.iter().map(|listed| listed.number).collect();
    outcome.requests = destination.backend.meter().requests();
    Ok(outcome)
}

/// Packs that no snapshot names, and that are old enough.
#[derive(Default)]
struct Strays {
    packs: BTreeSet<Hash>,
    bytes: u64,
    /// The time by which they were written.
    before: i64,
    now: DateTime<Utc>,
}

async fn found(destination: &Destination, stop: &Arc<Stop>) -> Result<Strays> {
    let (records, now) = (&destination.records, destination.backend.now().await?);
    // The packs come first: a snapshot that is committed in between may name younger ones only.
    let mut strays = Strays { now, before: now.timestamp() - AGE, ..Strays::default() };
    let mut sizes = Vec::new();
    records
        .each_pack(|pack, bytes, written| {
            if written <= strays.before {
                sizes.push((pack, bytes));
            }
            stop.check()
        })
        .await?;
    if sizes.is_empty() {
        return Ok(strays);
    }
    let list = records.snapshots(None).await?;
    if list.last().map_or(0, |newest| newest.number) < destination.number() {
        let url = destination.backend.location();
        return Err(Error::Busy(format!("{url}: the list of snapshots ends before the newest one, so nothing was deleted; run again")));
    }
    let mut snapshots = Vec::new();
    for listed in list {
        stop.check()?;
        snapshots.push(records.snapshot(listed.number).await?.0);
    }
    let needed = NeededPacks::of(destination, &snapshots).await?;
    for (pack, bytes) in sizes.into_iter().filter(|(pack, _)| !needed.has(pack)) {
        strays.packs.insert(pack);
        strays.bytes = strays.bytes.saturating_add(bytes);
    }
    Ok(strays)
}

async fn delete(destination: &Destination, lease: &Lease) -> Result<PruneOutcome> {
    still_newest(destination).await?;
    if deletion_queue::is_left(destination) {
        // An earlier prune was interrupted. If its snapshots are gone, what it queued goes. Otherwise the next prune queues
        // it again.
        let there = destination.records.snapshots(None).await?.iter().map(|listed| listed.number).collect();
        lease.verify().await?;
        deletion_queue::resume(destination, &there, &BTreeSet::new()).await?;
    }
    let strays = found(destination, &lease.stop).await?;
    let keeps = destination.backend.capabilities().versions && destination.backend.keeps_versions().await?;
    let (todo, unfinished) = (deletion_queue::todo(destination), destination.local("prune-todo.new"));
    let mut goes = match todo.exists() {
        true => Writer::append(&todo)?,
        false => {
            let mut goes = Writer::create(&unfinished)?;
            goes.push(&QueueLine::After { snapshots: Vec::new() })?;
            goes
        }
    };
    let times = PackTimes { after: None, before: Some(strays.before) };
    let looks = strays.packs.iter().map(|pack| look(destination, pack, times, keeps));
    let mut queued = stream::iter(looks.collect::<Vec<_>>()).buffered(AT_ONCE);
    let mut count = 0;
    while let Some(pack) = queued.try_next().await? {
        if let Some(pack) = pack {
            count += 1;
            goes.push(&QueueLine::QueuedDeletion(pack))?;
        }
    }
    goes.flush()?;
    if !todo.exists() {
        std::fs::rename(&unfinished, &todo).map_err(|e| Error::cache(&todo, e))?;
    }
    lease.verify().await?;
    let deleted = deletion_queue::carry_out(destination, strays.now, Locked::default()).await?;
    Ok(PruneOutcome {
        layout: Layout::Packed,
        strays: Some(count),
        bytes: deleted.bytes,
        locked: deleted.locked.some(),
        ..PruneOutcome::default()
    })
}
