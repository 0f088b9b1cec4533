//! Orphans: contents that an interrupted run sent and that neither the plan nor the last snapshot names.
//!
//! Owns finding them in the journal and deleting them. No snapshot names an orphan, so this run can delete it at any
//! time while it has the lease.

use std::collections::BTreeSet;
use std::path::Path;

use crate::engine::destination::Destination;
use crate::error::Result;
use crate::manifest::KeyRules;
use crate::model::Change;
use crate::spool::{Reader, Sorted};
use crate::transfer::{Done, Line};

/// Of these paths and the directories above them, those that neither the plan nor the last snapshot names as a
/// directory. Inner directories come first.
fn unnamed_dirs(destination: &Destination, plan: &Path, keys: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let mut dirs = BTreeSet::new();
    for key in keys {
        dirs.insert(key.clone());
        let mut dir = &key[..];
        while let Some(cut) = dir.iter().rposition(|b| *b == b'/') {
            dir = &dir[..cut];
            dirs.insert(dir.to_vec());
        }
    }
    dirs.retain(|dir| !dir.starts_with(b".offsite"));
    let mut base = destination.base()?;
    while !dirs.is_empty()
        && let Some(known) = base.peek()?
    {
        dirs.remove(known.path.strip_suffix(b"/").unwrap_or_default());
        base.advance();
    }
    let mut lines = Reader::<Line>::open(plan)?;
    while !dirs.is_empty()
        && let Some(line) = lines.next_line()?
    {
        if let Some(entry) = line.step.entry() {
            dirs.remove(entry.path.bare());
        }
    }
    Ok(dirs.into_iter().rev().collect())
}

/// Deletes everything that the journal names and that neither the plan nor the last snapshot names. Returns the keys
/// that stay because this run may not delete.
pub async fn clear(destination: &Destination, plan: &Path, mut done: Sorted<Done>) -> Result<Vec<Vec<u8>>> {
    let mut base = destination.base()?;
    let mut lines = Reader::<Line>::open(plan)?;
    let mut line = lines.next_line()?;
    let mut keys: Vec<Vec<u8>> = Vec::new();
    while let Some(sent) = done.next_sorted()? {
        let path = &sent.entry.path;
        while base.peek()?.is_some_and(|known| known.path.as_slice() < path.as_bytes()) {
            base.advance();
        }
        while line.as_ref().is_some_and(|l| l.step.path() < path) {
            line = lines.next_line()?;
        }
        let named = base.peek()?.is_some_and(|known| known.path == path.as_bytes());
        let planned = line.as_ref().is_some_and(|l| l.step.path() == path && !matches!(l.step, Change::Removed { .. }));
        if !named && !planned {
            keys.push(KeyRules::current_key(&sent.entry));
        }
    }
    if !destination.backend.deletes() {
        return Ok(keys);
    }
    match destination.backend.tree() {
        Some(tree) => {
            for key in &keys {
                match tree.remove_file(key, None).await {
                    // A directory has this name. The loop below removes it if it is empty and nothing names it.
                    Err(error) if error.kind == offsite_backends::ErrorKind::Exists => {}
                    // The tree refuses this one. It stays like a foreign object, since no snapshot names it.
                    Err(error) if !error.concerns_destination() => {}
                    gone => gone?,
                }
            }
            for dir in unnamed_dirs(destination, plan, &keys)? {
                tree.remove_dir(&dir).await?;
            }
        }
        None if keys.is_empty() => {}
        None => destination.records.delete(keys).await?,
    }
    Ok(Vec::new())
}
