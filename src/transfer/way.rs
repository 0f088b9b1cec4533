//! Making way in a real directory tree: a name whose kind changes must be free before the new entry is sent.
//!
//! Owns what is moved to `kept/` before the transfer: files that become directories or symlinks, and everything below
//! directories that become something else. The work is linear in the plan. An entry is looked up by the hashes of its
//! parent directories, so a tree in which every file became a directory takes one pass and not a square number of
//! steps.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use offsite_backends::{ErrorKind, FileKind, Tree};

use super::line::Line;
use super::place::{kept_place, place};
use super::undone::Undone;
use crate::error::Result;
use crate::manifest::KeyRules;
use crate::model::{Change, Entry, Hash, Kind, folded};
use crate::spool::Reader;

/// A set of names, held as hashes.
#[derive(Default)]
struct NameSet(HashSet<Hash>);

impl NameSet {
    fn add(&mut self, path: &[u8]) {
        self.0.insert(Hash::of(path));
    }

    /// Whether `path` is one of the names or lies below one.
    fn cover(&self, path: &[u8]) -> bool {
        upwards(path).any(|name| self.0.contains(&Hash::of(name)))
    }
}

/// The directories that contain `path`, from the top, and `path` itself.
fn upwards(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parents = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(cut, _)| &path[..cut]);
    parents.chain([path])
}

/// The common form of names that the tree takes for one.
fn name_there(rules: &KeyRules, bare: &[u8]) -> Vec<u8> {
    if rules.folds() { folded(bare) } else { bare.to_vec() }
}

/// Whether an entry has its own name in the tree.
fn is_named(rules: &KeyRules, entry: &Entry) -> bool {
    place(rules, entry).as_deref() == Some(entry.path.bare())
}

/// The names that an old entry leaves and a new entry takes. The new entry has another kind, or its name is the same
/// for the tree.
fn taken(rules: &KeyRules, plan: &Path) -> Result<NameSet> {
    let mut removed = NameSet::default();
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        if let Change::Removed { old, .. } = &line.step {
            removed.add(&name_there(rules, old.path.bare()));
        }
    }
    let mut taken = NameSet::default();
    if removed.0.is_empty() {
        return Ok(taken);
    }
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        if let Change::Added { entry, .. } | Change::Renamed { entry, .. } | Change::Changed { entry, .. } = &line.step {
            let name = name_there(rules, entry.path.bare());
            if removed.0.contains(&Hash::of(&name)) && is_named(rules, entry) {
                taken.add(&name);
            }
        }
    }
    Ok(taken)
}

/// Names that could not be freed.
#[derive(Default)]
pub struct Blocked(NameSet);

impl Blocked {
    /// Whether this entry would overwrite an old one that is still in the tree.
    pub fn keeps_out(&self, rules: &KeyRules, entry: &Entry) -> bool {
        !self.0.0.is_empty() && is_named(rules, entry) && self.0.cover(&name_there(rules, entry.path.bare()))
    }
}

/// Frees the names of new entries: moves away entries whose kind changes, and entries whose name the tree takes for
/// that of a new one. With `keeps`, contents are moved to `kept/`, and otherwise deleted. Refusals of the tree are
/// noted in `undone`. Returns the names of refused files.
///
/// # Errors
/// `Error::Local` or `Error::Damaged` if the plan cannot be read. `Error::Store` if a failure concerns the whole tree,
/// or if the tree cannot say whether an interrupted run has already made way.
pub async fn make_way(tree: &Arc<dyn Tree>, rules: &KeyRules, plan: &Path, keeps: bool, undone: &mut Undone) -> Result<Blocked> {
    let (taken, mut blocked) = (taken(rules, plan)?, Blocked::default());
    if taken.0.is_empty() {
        return Ok(blocked);
    }
    let mut dirs = Vec::new();
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        if let Change::Removed { old, .. } = &line.step
            && taken.cover(&name_there(rules, old.path.bare()))
            && let Some(place) = place(rules, old)
            && is_named(rules, old)
        {
            match old.kind {
                Kind::Dir => dirs.push(place),
                _ if rules.folds() && was_made(tree, rules, old, &place).await? => {}
                _ => match tree.remove_file(&place, kept_place(rules, old).filter(|_| keeps).as_deref()).await {
                    // An interrupted run has already made way.
                    Err(error) if error.kind == ErrorKind::Exists => {}
                    done => {
                        if undone.take(&place, done)?.is_none() {
                            blocked.0.add(&name_there(rules, old.path.bare()));
                        }
                    }
                },
            }
        }
    }
    for dir in dirs.iter().rev() {
        match tree.remove_dir(dir).await {
            Err(error) if error.kind == ErrorKind::Exists => {}
            done => _ = undone.take(dir, done)?,
        }
    }
    Ok(blocked)
}

/// Whether an interrupted run has already made way. Then the new entry has the name, in another spelling.
async fn was_made(tree: &Arc<dyn Tree>, rules: &KeyRules, old: &Entry, place: &[u8]) -> Result<bool> {
    match kept_place(rules, old) {
        Some(kept) => Ok(tree.stat(&kept).await?.is_some()),
        None => Ok(tree.stat(place).await?.is_some_and(|found| old.kind == Kind::Symlink && found.kind != FileKind::Symlink)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_covers_itself_and_what_lies_below() {
        let mut names = NameSet::default();
        names.add(b"a/b");
        names.add(b"c");
        for inside in [&b"a/b"[..], b"a/b/c", b"a/b/c/d", b"c", b"c/d"] {
            assert!(names.cover(inside), "{}", String::from_utf8_lossy(inside));
        }
        for outside in [&b"a"[..], b"a/bc", b"a/c", b"cc", b"b"] {
            assert!(!names.cover(outside), "{}", String::from_utf8_lossy(outside));
        }
    }

    /// However many names are taken, a path takes one lookup for each of its parts.
    #[test]
    fn what_a_path_costs_does_not_depend_on_the_names() {
        let parts: Vec<&[u8]> = upwards(b"a/b/c").collect();
        assert_eq!(parts, [&b"a"[..], b"a/b", b"a/b/c"]);
    }
}
