//! After the commit: what the new snapshot no longer holds goes from its place.
//!
//! Owns deletes of current objects. Runs only after a commit and only while the lease is ours. What is to
//! be done is in a local file until it is done, so a run that was killed here is finished by the next.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use offsite_backends::Tree;

use super::destination::Destination;
use crate::error::{Error, Result};
use crate::manifest::{KeyRules, Records};
use crate::model::{Change, Entry, Kind};
use crate::spool::Reader;
use crate::transfer::{Line, kept_place, place};

const BATCH: usize = 1000;

/// The plan that is to be tidied up after, under a name that says which run's. Done before the commit: a run that
/// is killed right after it, or never hears that it was made, still leaves the next one a note.
pub fn set_aside(destination: &Destination, plan: &Path, run: &str) -> Result<PathBuf> {
    let path = destination.local(&format!("tidy-{run}"));
    std::fs::rename(plan, &path).map_err(|e| Error::local(plan, e))?;
    Ok(path)
}

/// What an earlier run left undone, if it is the one that committed the newest snapshot.
pub fn left_over(destination: &Destination) -> Option<PathBuf> {
    let entries = std::fs::read_dir(&destination.dir).ok()?;
    let mut found = None;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(run) = name.strip_prefix("tidy-") {
            if destination.snapshot().is_some_and(|(s, _)| s.run == run) {
                found = Some(entry.path());
            } else {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
    found
}

/// Whether anything in a plan is to be deleted after its commit.
pub fn is_needed(plan: &Path, tree: bool) -> Result<bool> {
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        let needed = match &line.step {
            Change::Removed { old, .. } => tree || old.kind == Kind::File,
            Change::Changed { entry, old, .. } => tree || entry.kind != Kind::File && old.kind == Kind::File,
            _ => false,
        };
        if needed {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deletes on an object store.
pub async fn objects(records: &Records, plan: &Path) -> Result<()> {
    let mut keys = Vec::new();
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        if let Some(old) = gone(&line.step) {
            keys.push(KeyRules::current_key(old));
        }
        if keys.len() == BATCH {
            records.delete(std::mem::take(&mut keys)).await?;
        }
    }
    if keys.is_empty() { Ok(()) } else { records.delete(keys).await }
}

/// The file whose object a change leaves without an entry.
fn gone(change: &Change) -> Option<&Entry> {
    match change {
        Change::Removed { old, .. } => Some(old),
        Change::Changed { entry, old, .. } if entry.kind != Kind::File => Some(old),
        _ => None,
    }
    .filter(|old| old.kind == Kind::File)
}

/// Removes from a tree: files go to `kept/` if `keeps`, then empty directories go. A path that has another
/// kind now was made way for already.
pub async fn tree(tree: &Arc<dyn Tree>, rules: &KeyRules, plan: &Path, keeps: bool) -> Result<()> {
    let mut open: Vec<Vec<u8>> = Vec::new();
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        match &line.step {
            Change::Removed { old, .. } => {
                let Some(place) = place(rules, old) else { continue };
                if old.kind == Kind::Dir {
                    while let Some(dir) = open.pop_if(|dir| !place.starts_with(&[dir, &b"/"[..]].concat())) {
                        tree.remove_dir(&dir).await.or_else(other_kind)?;
                    }
                    open.push(place);
                    continue;
                }
                let keep = kept_place(rules, old).filter(|_| keeps);
                tree.remove_file(&place, keep.as_deref()).await.or_else(other_kind)?;
                drop_kept(tree, rules, old, keeps).await?;
            }
            Change::Changed { old, .. } => drop_kept(tree, rules, old, keeps).await?,
            _ => {}
        }
    }
    while let Some(dir) = open.pop() {
        tree.remove_dir(&dir).await.or_else(other_kind)?;
    }
    Ok(())
}

/// Something of another kind stands there now: that is the new entry.
fn other_kind<T: Default>(error: offsite_backends::Error) -> Result<T, offsite_backends::Error> {
    if error.kind == offsite_backends::ErrorKind::Exists { Ok(T::default()) } else { Err(error) }
}

/// Where nothing is kept, what was put aside until the commit goes now.
async fn drop_kept(tree: &Arc<dyn Tree>, rules: &KeyRules, old: &Entry, keeps: bool) -> Result<()> {
    match kept_place(rules, old) {
        Some(kept) if !keeps => {
            tree.remove_file(&kept, None).await?;
            remove_empty(tree, &kept).await
        }
        _ => Ok(()),
    }
}

/// Removes the directories of `kept/` that a removal left empty.
pub async fn remove_empty(tree: &Arc<dyn Tree>, path: &[u8]) -> Result<()> {
    let mut dir = path;
    while let Some(cut) = dir.iter().rposition(|b| *b == b'/') {
        dir = &dir[..cut];
        if dir == b".offsite" || !tree.remove_dir(dir).await? {
            return Ok(());
        }
    }
    Ok(())
}
