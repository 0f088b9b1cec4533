//! The deletion queue: the saved list of what a prune deletes.
//!
//! Owns two local files, so that the next run can finish a killed one. The first line of `prune-todo` names the
//! snapshots that must be deleted before everything else on the list. `prune-locked` lists what object lock still
//! protects.
//! Invariant: nothing on the list is deleted while one of these snapshots exists.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use offsite_backends::{Refused, Tree};

use super::needs::written_at;
use super::queued::{QueueLine, QueuedDeletion};
use crate::engine::cleanup::remove_empty_all;
use crate::engine::destination::Destination;
use crate::engine::locked::Locked;
use crate::error::{Error, Result};
use crate::manifest::{Records, object_path};
use crate::spool::{Reader, Writer};

const TODO: &str = "prune-todo";
const LOCKED: &str = "prune-locked";
const BATCH: usize = 1000;
/// Time until an object under a legal hold is tried again, in seconds.
const DAY: i64 = 86_400;

/// The path of `prune-todo`.
pub fn todo(destination: &Destination) -> PathBuf {
    destination.local(TODO)
}

/// Whether an earlier run left an unfinished list.
pub fn is_left(destination: &Destination) -> bool {
    todo(destination).exists()
}

/// Whether an earlier run left an unfinished list or locked objects.
pub fn is_left_or_locked(destination: &Destination) -> bool {
    is_left(destination) || destination.local(LOCKED).exists()
}

/// Deletes the remaining snapshots of the list of an earlier run, and returns their numbers. `there` has all
/// snapshots, `free` those that can be deleted now. If one of the list's snapshots must stay, it needs what is on the
/// list, so this deletes the list instead.
pub async fn resume(destination: &Destination, there: &BTreeSet<u64>, free: &BTreeSet<u64>) -> Result<BTreeSet<u64>> {
    let path = todo(destination);
    let after = match Reader::<QueueLine>::open(&path)?.next_line()? {
        Some(QueueLine::After { snapshots }) => snapshots,
        Some(QueueLine::QueuedDeletion(_)) => Vec::new(),
        None => return Ok(BTreeSet::new()),
    };
    let left: BTreeSet<u64> = after.into_iter().filter(|number| there.contains(number)).collect();
    if left.is_subset(free) {
        delete_snapshots(destination, &left).await?;
        return Ok(left);
    }
    remove(&path)?;
    Ok(BTreeSet::new())
}

/// Deletes snapshot objects, so that no reader finds these snapshots any more. Versions of the objects stay in the
/// store until [`carry_out`].
pub async fn delete_snapshots(destination: &Destination, numbers: &BTreeSet<u64>) -> Result<()> {
    let keys: Vec<_> = numbers.iter().map(|number| Records::snapshot_object_key(*number).into_bytes()).collect();
    if keys.is_empty() { Ok(()) } else { destination.records.delete(keys).await }
}

/// The result of a deletion.
#[derive(Default)]
pub struct Deleted {
    /// Number of deleted contents of files, without offsite's own objects.
    pub contents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What object lock still protects.
    pub locked: Locked,
}

/// Deletes everything on the list and everything that an earlier run found locked, then the list itself. `locked` has
/// what the caller found locked, and the result adds to it.
pub async fn carry_out(destination: &Destination, now: DateTime<Utc>, locked: Locked) -> Result<Deleted> {
    let (todo, later) = (todo(destination), destination.local(LOCKED));
    let fresh = destination.local("prune-locked.new");
    let deleted = Deleted { locked, ..Deleted::default() };
    let mut deletion = Deletion { destination, now, deleted, keys: Vec::new(), versions: Vec::new(), later: Writer::create(&fresh)? };
    for path in [&later, &todo].into_iter().filter(|path| path.exists()) {
        let mut lines = Reader::<QueueLine>::open(path)?;
        while let Some(line) = lines.next_line()? {
            if let QueueLine::QueuedDeletion(goes) = line {
                deletion.push(goes).await?;
            }
        }
    }
    deletion.flush().await?;
    deletion.later.flush()?;
    let (deleted, any) = (deletion.deleted, deletion.later.count() > 0);
    std::fs::rename(&fresh, &later).map_err(|e| Error::cache(&later, e))?;
    remove(&todo)?;
    if !any {
        remove(&later)?;
    }
    Ok(deleted)
}

fn remove(path: &std::path::Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::cache(path, error)),
        _ => Ok(()),
    }
}

/// A deletion in progress, in batches.
struct Deletion<'a> {
    destination: &'a Destination,
    now: DateTime<Utc>,
    deleted: Deleted,
    keys: Vec<Vec<u8>>,
    versions: Vec<QueuedDeletion>,
    later: Writer<QueuedDeletion>,
}

impl Deletion<'_> {
    async fn push(&mut self, goes: QueuedDeletion) -> Result<()> {
        if goes.until.is_some_and(|until| until > self.now.timestamp()) {
            self.deleted.locked.contents += u64::from(!is_record(goes.key.as_bytes()));
            let until = goes.until.and_then(|until| DateTime::from_timestamp(until, 0));
            self.deleted.locked.note(&offsite_backends::Held { until, ..Default::default() }, self.now);
            return self.later.push(&goes);
        }
        match goes.version.is_some() && self.destination.backend.tree().is_none() {
            true => self.versions.push(goes),
            false => {
                self.count(&goes);
                self.keys.push(goes.key.0);
            }
        }
        if self.keys.len() + self.versions.len() >= BATCH { self.flush().await } else { Ok(()) }
    }

    fn count(&mut self, goes: &QueuedDeletion) {
        self.deleted.contents += u64::from(!is_record(goes.key.as_bytes()));
        self.deleted.bytes = self.deleted.bytes.saturating_add(goes.bytes);
    }

    async fn flush(&mut self) -> Result<()> {
        let keys = std::mem::take(&mut self.keys);
        match self.destination.backend.tree() {
            _ if keys.is_empty() => {}
            Some(tree) => remove_from_tree(&tree, &keys).await?,
            None => self.destination.records.delete(keys).await?,
        }
        let goes = written_then(self.destination, std::mem::take(&mut self.versions)).await?;
        if goes.is_empty() {
            return Ok(());
        }
        let named = |g: &QueuedDeletion| Ok((object_path(g.key.as_bytes())?, g.version.clone().unwrap_or_default()));
        let versions = goes.iter().map(named).collect::<Result<Vec<_>>>()?;
        let refused = self.destination.backend.delete_versions(versions).await?;
        let mut later = self.looked_at(refused).await?;
        for mut one in goes {
            let at =
                later.iter().position(|(path, id, _)| path.as_ref().as_bytes() == one.key.as_bytes() && Some(id) == one.version.as_ref());
            let Some((.., until)) = at.map(|at| later.swap_remove(at)) else {
                self.count(&one);
                continue;
            };
            self.deleted.locked.contents += u64::from(!is_record(one.key.as_bytes()));
            one.until = Some(until);
            self.later.push(&one)?;
        }
        Ok(())
    }

    /// Returns until when each refused version is locked, in seconds since 1970.
    ///
    /// # Errors
    /// For a version that was refused and is not locked.
    async fn looked_at(&mut self, refused: Vec<Refused>) -> Result<Vec<(Path, String, i64)>> {
        const AT_ONCE: usize = 16;
        let backend = &self.destination.backend;
        let look = |one: Refused| async move {
            let held = backend.held(&one.path, Some(&one.version)).await?;
            Ok::<_, Error>((one, held))
        };
        let looks: Vec<_> = stream::iter(refused.into_iter().map(look).collect::<Vec<_>>()).buffered(AT_ONCE).try_collect().await?;
        let mut found = Vec::new();
        for (one, held) in looks {
            if !held.holds(self.now) {
                return Err(one.error.into());
            }
            self.deleted.locked.note(&held, self.now);
            let until = held.until.filter(|_| !held.by_hand).map_or(self.now.timestamp() + DAY, |until| until.timestamp());
            found.push((one.path, one.version, until));
        }
        Ok(found)
    }
}

/// Leaves out versions that the store wrote outside of the time that the snapshots allow. Such a version belongs to the
/// history of another object, whatever a manifest says.
async fn written_then(destination: &Destination, goes: Vec<QueuedDeletion>) -> Result<Vec<QueuedDeletion>> {
    const AT_ONCE: usize = 64;
    let look = |one: QueuedDeletion| async move {
        if one.after.is_none() && one.before.is_none() {
            return Ok::<_, Error>(Some(one));
        }
        let time = written_at(destination, one.key.as_bytes(), one.version.as_deref()).await?;
        let fits = |time| one.after.is_none_or(|after| time >= after) && one.before.is_none_or(|before| time <= before);
        Ok(time.is_none_or(fits).then_some(one))
    };
    let looks: Vec<_> = goes.into_iter().map(look).collect();
    let found: Vec<Option<QueuedDeletion>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Whether a key is that of a snapshot or a page object.
fn is_record(key: &[u8]) -> bool {
    key.starts_with(b".offsite/pages/") || key.starts_with(b".offsite/snapshots/")
}

/// Removes files, then the directories that this leaves empty. Runs many removals in parallel, since each takes a round
/// trip to a server.
async fn remove_from_tree(tree: &Arc<dyn Tree>, keys: &[Vec<u8>]) -> Result<()> {
    const AT_ONCE: usize = 64;
    let removals: Vec<_> = keys.iter().map(|key| tree.remove_file(key, None)).collect();
    stream::iter(removals).buffered(AT_ONCE).try_collect::<()>().await?;
    remove_empty_all(tree, keys.iter().filter(|key| !is_record(key))).await
}
