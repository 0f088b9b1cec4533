//! Deletes expired snapshots, and the contents and page objects that only they need.
//!
//! Owns the time and the order: first it writes a local list (`needs.rs` proves that no other snapshot needs what is on
//! it), then it deletes the snapshot objects, then everything on the list (`deletion_queue.rs`). If the run is killed,
//! the next one finishes the list. Invariant: age is by the store's times, and what object lock protects stays
//! (`locked.rs`).

mod deletion_queue;
mod leased;
mod left;
mod locked;
mod needs;
pub mod packs;
mod queued;
mod strays;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::commit::still_newest;
use super::control::RunControl;
use super::destination::{Destination, Head};
use super::lease::Lease;
use super::leftovers;
pub use super::locked::Locked;
use super::machine::Machine;
use super::outcome::PruneOutcome;
use crate::error::{Error, Result};
use crate::manifest::{CopiedTimes, Records};
use crate::model::{Hash, KeepRules};
use crate::plan::{Point, keep};
use crate::spool::Writer;
use crate::transfer::Stop;
use leased::{ended, take};
pub use left::clean;
use queued::{QueueLine, QueuedDeletion};
pub use strays::{prune_strays, prune_strays_over};

/// Seconds between two prunes after a sync, unless [`MANY`] snapshots have expired. This is less than a day because
/// daily runs are not exactly a day apart. With a full day, a run that starts 1 second early would skip its prune.
const DAY: i64 = 20 * 3600;
/// With this many expired snapshots, a prune does not wait.
const MANY: usize = 50;

/// Deletes expired snapshots after a sync, if it is time for that. Returns `None` if it is not.
pub async fn delete_expired(
    destination: &mut Destination,
    rules: &KeepRules,
    lease: Option<&Lease>,
    machine: &Machine,
    stop: &Arc<Stop>,
) -> Result<Option<PruneOutcome>> {
    let Some(head) = &destination.head else { return Ok(None) };
    let now = destination.backend.meter().clock().unwrap_or_else(Utc::now).timestamp();
    let due = due(&head.list, rules, now).len();
    let unfinished = deletion_queue::is_left(destination) || head.locked.as_ref().is_some_and(|locked| locked.ends_by(now));
    // Locked snapshots stay expired for days, so even many of them are no reason to look again at once.
    let soon = now - head.pruned < DAY && (due < MANY || head.locked.is_some());
    if !unfinished && (due == 0 || soon) {
        return Ok(None);
    }
    // The store's own times decide what is deleted, not the times in the cache.
    let (list, now) = fresh_list(destination).await?;
    let outcome = match lease {
        Some(lease) => drop_snapshots(destination, list, rules, now, lease).await?,
        None => {
            let lease = take(destination, machine, stop).await?;
            let outcome = drop_snapshots(destination, list, rules, now, &lease).await;
            ended(lease, outcome).await?
        }
    };
    Ok(Some(outcome))
}

/// For a destination without retention: returns the keys of older snapshots and of page objects that only they need,
/// and removes these snapshots from the head. Their contents were deleted when they were replaced. If the store keeps
/// versions, this returns nothing, and [`let_go`] does the work.
pub fn superseded(destination: &mut Destination, before: &[Hash], versioned: bool) -> Result<Vec<Vec<u8>>> {
    let Some(head) = destination.head.clone().filter(|_| !versioned) else { return Ok(Vec::new()) };
    let Some((newest, _)) = &head.snapshot else { return Ok(Vec::new()) };
    let (old, list): (SnapshotList, SnapshotList) = head.list.iter().cloned().partition(|s| s.number < newest.number);
    let pages = before.iter().filter(|o| !newest.objects.contains(o)).map(Records::pages_object_key);
    let keys = old.iter().map(|s| Records::snapshot_object_key(s.number)).chain(pages).map(String::into_bytes).collect();
    destination.keep_head(Head { list, ..head })?;
    Ok(keys)
}

/// The `prune` verb.
///
/// # Errors
/// [`Error::Usage`] if `rules` is empty. [`Error::Busy`] if another run has the lock or the lease of the destination.
/// [`Error::Damaged`] if a manifest that the prune needs cannot be read. [`Error::Emptied`] if all snapshots have
/// disappeared. If an error ends the prune halfway, the next one finishes it.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, RunControl};
/// use offsite::model::KeepRules;
/// # use offsite::engine::{Machine, SyncOptions};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # let urls = [backup.clone()];
/// # engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// # for text in ["a second text", "a third text, which is longer"] {
/// #     std::fs::write(site.join("index.html"), text)?;
/// #     engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// # }
/// let rules = KeepRules { last: 1, ..KeepRules::default() };
/// let planned = engine::prune(&machine, &backup, &rules, true, &RunControl::new(1)).await?;
/// assert_eq!((planned.removed, planned.kept, planned.dry_run), (vec![1, 2], vec![3], true));
///
/// let pruned = engine::prune(&machine, &backup, &rules, false, &RunControl::new(1)).await?;
/// assert_eq!((pruned.removed, pruned.contents), (vec![1, 2], 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn prune(machine: &Machine, url: &str, rules: &KeepRules, dry_run: bool, control: &RunControl) -> Result<PruneOutcome> {
    prune_over(Destination::open(url, machine).await?, machine, rules, dry_run, control).await
}

/// [`prune`] for a destination that is already open.
///
/// # Errors
/// Those of [`prune`], except those of opening the destination.
pub async fn prune_over(
    mut destination: Destination,
    machine: &Machine,
    rules: &KeepRules,
    dry_run: bool,
    control: &RunControl,
) -> Result<PruneOutcome> {
    if rules.is_empty() {
        return Err(Error::Usage("prune needs a rule for what to keep, such as --keep-within 30d or --keep-last 7".into()));
    }
    destination.lock()?;
    destination.load(false, false).await?;
    let (list, now) = fresh_list(&destination).await?;
    let due = due(&list, rules, now.timestamp());
    let mut outcome = if dry_run {
        let mut locked = Locked::default();
        let free = locked::free(&destination, &due, now, &mut locked).await?;
        PruneOutcome { removed: free.into_keys().collect(), dry_run, locked: locked.some(), ..PruneOutcome::default() }
    } else if list.is_empty() || due.is_empty() && !deletion_queue::is_left_or_locked(&destination) && !leftovers::to_clean(&destination) {
        PruneOutcome::default()
    } else {
        let lease = take(&destination, machine, &control.stop).await?;
        let outcome = async {
            if leftovers::to_clean(&destination) {
                still_newest(&destination).await?;
                left::clean(&destination).await?;
            }
            drop_snapshots(&mut destination, list.clone(), rules, now, &lease).await
        };
        let outcome = outcome.await;
        ended(lease, outcome).await?
    };
    outcome.url = destination.backend.location().to_string();
    outcome.layout = destination.layout();
    outcome.kept = list.iter().map(|s| s.number).filter(|n| !outcome.removed.contains(n)).collect();
    outcome.requests = destination.backend.meter().requests();
    Ok(outcome)
}

type SnapshotList = Vec<super::destination::Listed>;

/// All snapshots with the store's times (of copied ones, those of their origin), and the current time by the store's clock.
async fn fresh_list(destination: &Destination) -> Result<(SnapshotList, DateTime<Utc>)> {
    let copied = destination.snapshot().is_some_and(|(newest, _)| newest.copied.is_some());
    if copied && destination.records.copied_times().await?.times.is_empty() {
        let why = "it is missing, so the age of copied snapshots is unknown; run `offsite copy` again, which writes it";
        return Err(Error::damaged(destination.records.url(CopiedTimes::KEY), why));
    }
    let list = destination.records.snapshots_to_expire().await?.iter().map(Into::into).collect();
    Ok((list, destination.backend.now().await?))
}

fn due(list: &SnapshotList, rules: &KeepRules, now: i64) -> BTreeSet<u64> {
    let points: Vec<Point> = list.iter().map(|s| Point { number: s.number, time: s.time }).collect();
    let stay = keep(&points, rules, now);
    points.iter().map(|p| p.number).filter(|n| !stay.contains(n)).collect()
}

/// Deletes the expired snapshots that are not locked. Finishes the list of an earlier run first.
async fn drop_snapshots(
    destination: &mut Destination,
    mut list: SnapshotList,
    rules: &KeepRules,
    now: DateTime<Utc>,
    lease: &Lease,
) -> Result<PruneOutcome> {
    let (mut outcome, mut locked) = (PruneOutcome::default(), Locked::default());
    let mut free = locked::free(destination, &due(&list, rules, now.timestamp()), now, &mut locked).await?;
    if deletion_queue::is_left(destination) {
        lease.verify().await?;
        let there = list.iter().map(|s| s.number).collect();
        outcome.removed = deletion_queue::resume(destination, &there, &free.keys().copied().collect()).await?.into_iter().collect();
        // The `carry_out` below counts locked objects again, so this count is not used.
        let deleted = deletion_queue::carry_out(destination, now, Locked::default()).await?;
        (outcome.contents, outcome.bytes) = (deleted.contents, deleted.bytes);
        free.retain(|number, _| !outcome.removed.contains(number));
        list.retain(|s| !outcome.removed.contains(&s.number));
    }
    let numbers: BTreeSet<u64> = free.keys().copied().collect();
    // It gets its name once it is whole: the next run takes a list for a whole one.
    let (todo, unfinished) = (deletion_queue::todo(destination), destination.local("prune-todo.new"));
    let mut goes = Writer::create(&unfinished)?;
    goes.push(&QueueLine::After { snapshots: numbers.iter().copied().collect() })?;
    let stay: Vec<u64> = list.iter().map(|s| s.number).filter(|number| !numbers.contains(number)).collect();
    for (left, dropped, right) in groups(&list, &numbers) {
        needs::collect(destination, &list, (left, &dropped, right), &stay, &mut goes).await?;
    }
    for (number, version) in &free {
        if version.is_some() {
            goes.push(&QueueLine::QueuedDeletion(QueuedDeletion {
                version: version.clone(),
                ..QueuedDeletion::at(Records::snapshot_object_key(*number).as_bytes(), 0)
            }))?;
        }
    }
    goes.flush()?;
    std::fs::rename(&unfinished, &todo).map_err(|e| Error::cache(&todo, e))?;
    lease.verify().await?;
    deletion_queue::delete_snapshots(destination, &numbers).await?;
    outcome.removed.extend(&numbers);
    let deleted = deletion_queue::carry_out(destination, now, locked).await?;
    outcome.contents += deleted.contents;
    outcome.bytes = outcome.bytes.saturating_add(deleted.bytes);
    outcome.locked = deleted.locked.some();
    if let Some(head) = destination.head.clone() {
        list.retain(|s| !numbers.contains(&s.number));
        destination.keep_head(Head { list, pruned: now.timestamp(), locked: outcome.locked.clone(), ..head })?;
    }
    Ok(outcome)
}

/// Groups of consecutive snapshots in `due`, each with its neighbours that stay.
fn groups(list: &SnapshotList, due: &BTreeSet<u64>) -> Vec<(Option<u64>, Vec<u64>, Option<u64>)> {
    let mut out = Vec::new();
    let (mut left, mut run) = (None, Vec::new());
    for number in list.iter().map(|s| s.number) {
        if due.contains(&number) {
            run.push(number);
            continue;
        }
        if !run.is_empty() {
            out.push((left, std::mem::take(&mut run), Some(number)));
        }
        left = Some(number);
    }
    // The newest snapshot always stays, so `run` is empty here.
    out
}
