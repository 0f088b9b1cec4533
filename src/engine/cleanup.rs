//! Cleanup: after the commit, deletes the current objects that the new snapshot no longer references.
//!
//! Owns deletes of current objects. It runs only after a commit, and only while this run has the lease. Invariant: a
//! local file lists the work until it is done, so the next run finishes the cleanup of a killed one.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, stream};
use offsite_backends::Tree;

use super::destination::Destination;
use crate::error::{Error, Result};
use crate::manifest::{CacheReader, KeyRules, Records};
use crate::model::{Change, Entry, Hash, Kind, folded};
use crate::spool::{Reader, Writer};
use crate::transfer::{Line, Undone, kept_place, place, planned};

const BATCH: usize = 1000;

/// Saves the plan for the cleanup, under a name with the id of its run. This happens before the commit: if the run is
/// killed right after the commit, or gets no answer to it, the next run still finds the file. `left` is the file of
/// an earlier run, and is merged in.
pub fn set_aside(destination: &Destination, plan: &Path, run: &str, left: Option<&Path>) -> Result<PathBuf> {
    let path = destination.local(&format!("tidy-{run}"));
    match left {
        None => std::fs::rename(plan, &path).map_err(|e| Error::cache(plan, e))?,
        Some(left) => join(plan, left, &path)?,
    }
    Ok(path)
}

/// Merges two plans in order of their paths. If both have a line for a path, the newer one counts.
fn join(plan: &Path, left: &Path, to: &Path) -> Result<()> {
    let (mut newer, mut older) = (Reader::<Line>::open(plan)?, Reader::<Line>::open(left)?);
    let mut out = Writer::<Line>::create(to)?;
    let (mut new, mut old) = (newer.next_line()?, older.next_line()?);
    loop {
        let first = match (&new, &old) {
            (Some(new), Some(old)) => new.step.path().cmp(old.step.path()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return out.flush(),
        };
        if first != Ordering::Greater
            && let Some(line) = std::mem::replace(&mut new, newer.next_line()?)
        {
            out.push(&line)?;
        }
        if first != Ordering::Less
            && let Some(line) = std::mem::replace(&mut old, older.next_line()?)
            && first == Ordering::Greater
        {
            out.push(&line)?;
        }
    }
}

/// The cleanup that an earlier run did not finish, if that run committed the newest snapshot. Removes the files of
/// other runs.
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

/// What a plan leaves to do after its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum CleanupNeed {
    Nothing,
    /// Directories of a tree have to get their metadata: each change in one alters its time.
    Directories,
    /// Something has to be deleted or moved.
    Deletions,
}

/// Looks through a plan for a tree, or for an object store.
pub fn need(plan: &Path, tree: bool) -> Result<CleanupNeed> {
    let mut need = CleanupNeed::Nothing;
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        need = match &line.step {
            Change::Stamped { .. } => continue,
            Change::Removed { .. } | Change::Changed { .. } if tree => CleanupNeed::Deletions,
            _ if tree => CleanupNeed::Directories,
            step if deletable(step).is_some() => CleanupNeed::Deletions,
            _ => continue,
        };
        if need == CleanupNeed::Deletions {
            break;
        }
    }
    Ok(need)
}

/// The cleanup on an object store.
pub async fn objects(records: &Records, plan: &Path) -> Result<()> {
    let mut keys = Vec::new();
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        if let Some(old) = deletable(&line.step) {
            keys.push(KeyRules::current_key(old));
        }
        if keys.len() == BATCH {
            records.delete(std::mem::take(&mut keys)).await?;
        }
    }
    if keys.is_empty() { Ok(()) } else { records.delete(keys).await }
}

/// The file whose object has no entry after this change.
pub fn deletable(change: &Change) -> Option<&Entry> {
    match change {
        Change::Removed { old, .. } => Some(old),
        Change::Changed { entry, old, .. } if entry.kind != Kind::File => Some(old),
        _ => None,
    }
    .filter(|old| old.kind == Kind::File)
}

/// What the cleanup of a tree needs.
pub struct CleanupScope<'a> {
    /// The rules for keys of the destination.
    pub rules: &'a KeyRules,
    /// The plan that was committed.
    pub plan: &'a Path,
    /// Two readers of the manifest that the tree must match, at its first entry: the cleanup reads it twice.
    pub manifest: [CacheReader; 2],
    /// Removed files move to `kept/`.
    pub keeps: bool,
}

/// The cleanup of a real tree. It moves files to `kept/` if `keeps`, else it deletes them; then it removes empty
/// directories. It leaves a path alone where the run has already made room for a new entry: one of another kind, or
/// one whose name the disk takes for a name in the manifest. It notes in `undone` what the tree refuses, and
/// continues.
pub async fn tree(tree: &Arc<dyn Tree>, wanted: CleanupScope<'_>, undone: &mut Undone) -> Result<()> {
    let CleanupScope { rules, plan, manifest: [names, mut now], keeps } = wanted;
    let taken = if rules.folds() { taken(rules, plan, names)? } else { HashSet::new() };
    let is_taken = |place: &[u8]| !taken.is_empty() && taken.contains(&Hash::of(&folded(place)));
    let mut open: Vec<Vec<u8>> = Vec::new();
    let mut removals = Removals { tree, rules, keeps, waiting: Vec::new() };
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        match &line.step {
            Change::Removed { old, .. } => {
                let Some(place) = place(rules, old) else { continue };
                if is_taken(&place) {
                    removals.push(None, old, undone).await?;
                    continue;
                }
                if old.kind == Kind::Dir {
                    while let Some(dir) = open.pop_if(|dir| !place.starts_with(&[dir, &b"/"[..]].concat())) {
                        removals.flush(undone).await?;
                        undone.take(&dir, tree.remove_dir(&dir).await.or_else(other_kind))?;
                    }
                    open.push(place);
                    continue;
                }
                removals.push(Some(place), old, undone).await?;
            }
            Change::Changed { entry, old, .. } => {
                let moved = place(rules, &planned(entry)) != place(rules, old) && arrived(&mut now, old)?;
                let from = if moved { place(rules, old).filter(|place| !is_taken(place)) } else { None };
                removals.push(from, old, undone).await?;
            }
            _ => {}
        }
    }
    removals.flush(undone).await?;
    while let Some(dir) = open.pop() {
        undone.take(&dir, tree.remove_dir(&dir).await.or_else(other_kind))?;
    }
    Ok(())
}

/// The names that removed entries had and that entries of `now` have, as far as the disk takes them for the same.
fn taken(rules: &KeyRules, plan: &Path, mut now: CacheReader) -> Result<HashSet<Hash>> {
    let (mut given_up, mut taken) = (HashSet::new(), HashSet::new());
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        let old = match &line.step {
            Change::Removed { old, .. } => old,
            Change::Changed { entry, old, .. } if place(rules, &planned(entry)) != place(rules, old) => old,
            _ => continue,
        };
        given_up.extend(place(rules, old).map(|place| Hash::of(&folded(&place))));
    }
    while !given_up.is_empty()
        && let Some(known) = now.peek()?
    {
        let bare = known.path.strip_suffix(b"/").unwrap_or(&known.path);
        let fold = Hash::of(&folded(bare));
        if given_up.contains(&fold) && place(rules, &known.entry()?).as_deref() == Some(bare) {
            taken.insert(fold);
        }
        now.advance();
    }
    Ok(taken)
}

/// Whether the manifest has a new content for this path. If that content was not sent after all, the old one is still
/// in its place.
fn arrived(now: &mut CacheReader, old: &Entry) -> Result<bool> {
    while let Some(known) = now.peek()? {
        match known.path.as_slice().cmp(old.path.as_bytes()) {
            Ordering::Less => now.advance(),
            Ordering::Equal => return Ok(known.entry()?.content != old.content),
            Ordering::Greater => break,
        }
    }
    Ok(false)
}

/// Files that are removed in parallel: on a distant server each one takes a round trip.
const AT_ONCE: usize = 64;

/// The place of a file that must be removed, if any, and the place where its content was put aside.
type Removal = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Files that must be removed, and kept contents that no snapshot needs.
struct Removals<'a> {
    tree: &'a Arc<dyn Tree>,
    rules: &'a KeyRules,
    keeps: bool,
    waiting: Vec<Removal>,
}

impl Removals<'_> {
    async fn push(&mut self, place: Option<Vec<u8>>, old: &Entry, undone: &mut Undone) -> Result<()> {
        let kept = kept_place(self.rules, old);
        if place.is_some() || !self.keeps && kept.is_some() {
            self.waiting.push((place, kept));
        }
        if self.waiting.len() >= 4 * AT_ONCE { self.flush(undone).await } else { Ok(()) }
    }

    async fn flush(&mut self, undone: &mut Undone) -> Result<()> {
        let (tree, keeps) = (self.tree, self.keeps);
        let remove = |(place, kept): Removal| async move {
            let name = place.clone().or_else(|| kept.clone()).unwrap_or_default();
            let removed = match &place {
                Some(place) => tree.remove_file(place, kept.as_deref().filter(|_| keeps)).await.or_else(other_kind),
                None => Ok(()),
            };
            // Without `keeps`, the content was only put aside until the commit: delete it now.
            let gone = match (removed, kept.filter(|_| !keeps)) {
                (Err(error), _) => Err(error),
                (Ok(()), Some(kept)) => tree.remove_file(&kept, None).await.map(|()| Some(kept)),
                (Ok(()), None) => Ok(None),
            };
            (name, gone)
        };
        let done = stream::iter(self.waiting.drain(..).map(remove).collect::<Vec<_>>()).buffered(AT_ONCE);
        let mut gone = Vec::new();
        for (name, done) in done.collect::<Vec<_>>().await {
            gone.extend(undone.take(&name, done)?.flatten());
        }
        remove_empty_all(tree, gone.iter()).await
    }
}

/// An entry of another kind in this place is the new entry, so it is no error.
fn other_kind<T: Default>(error: offsite_backends::Error) -> Result<T, offsite_backends::Error> {
    if error.kind == offsite_backends::ErrorKind::Exists { Ok(T::default()) } else { Err(error) }
}

/// Removes the directories of `kept/` that these removals left empty.
pub async fn remove_empty_all(tree: &Arc<dyn Tree>, paths: impl Iterator<Item = &Vec<u8>>) -> Result<()> {
    let dirs: BTreeSet<&[u8]> = paths.filter_map(|path| Some(&path[..=path.iter().rposition(|b| *b == b'/')?])).collect();
    for dir in dirs.into_iter().rev() {
        remove_empty(tree, dir).await?;
    }
    Ok(())
}

/// Removes the directories above `path` while they are empty, up to `.offsite`.
async fn remove_empty(tree: &Arc<dyn Tree>, path: &[u8]) -> Result<()> {
    let mut dir = path;
    while let Some(cut) = dir.iter().rposition(|b| *b == b'/') {
        dir = &dir[..cut];
        if dir == b".offsite" || !tree.remove_dir(dir).await? {
            return Ok(());
        }
    }
    Ok(())
}
