//! Making way in a real directory tree: a name that has another kind now must be free before the new entry is sent.
//!
//! Owns what is moved to `kept/` before the transfer: files that become directories or links, and all that lies
//! below directories that become something else. Linear in the plan: an entry is looked up by the hashes of the
//! directories that it lies in, so a tree in which every file became a directory costs one pass, not the square.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use offsite_backends::{ErrorKind, Tree};

use super::place::{kept_place, place};
use super::{Line, Undone};
use crate::error::Result;
use crate::manifest::KeyRules;
use crate::model::{Change, Hash, Kind};
use crate::spool::Reader;

/// Names, by their hashes.
#[derive(Default)]
struct Names(HashSet<Hash>);

impl Names {
    fn add(&mut self, path: &[u8]) {
        self.0.insert(Hash::of(path));
    }

    /// Whether `path` is one of the names or lies below one.
    fn cover(&self, path: &[u8]) -> bool {
        upwards(path).any(|name| self.0.contains(&Hash::of(name)))
    }
}

/// The directories that `path` lies in, from the top, and itself.
fn upwards(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parents = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(cut, _)| &path[..cut]);
    parents.chain([path])
}

/// The names that an old entry gives up and a new one of another kind takes.
fn taken(plan: &Path) -> Result<Names> {
    let mut removed = Names::default();
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        if let Change::Removed { old, .. } = &line.step {
            removed.add(old.path.bare());
        }
    }
    let mut taken = Names::default();
    if removed.0.is_empty() {
        return Ok(taken);
    }
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        if let Change::Added { entry, .. } | Change::Renamed { entry, .. } = &line.step
            && removed.0.contains(&Hash::of(entry.path.bare()))
        {
            taken.add(entry.path.bare());
        }
    }
    Ok(taken)
}

/// Moves away what has another kind now, so that the new one finds its name free. What the tree refuses is noted.
pub async fn make_way(tree: &Arc<dyn Tree>, rules: &KeyRules, plan: &Path, keeps: bool, undone: &mut Undone) -> Result<()> {
    let taken = taken(plan)?;
    if taken.0.is_empty() {
        return Ok(());
    }
    let mut dirs = Vec::new();
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        if let Change::Removed { old, .. } = &line.step
            && taken.cover(old.path.bare())
            && let Some(place) = place(rules, old)
        {
            match old.kind {
                Kind::Dir => dirs.push(place),
                _ => match tree.remove_file(&place, kept_place(rules, old).filter(|_| keeps).as_deref()).await {
                    // A run that was cut off has made way already.
                    Err(error) if error.kind == ErrorKind::Exists => {}
                    done => _ = undone.take(&place, done)?,
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_covers_itself_and_what_lies_below() {
        let mut names = Names::default();
        names.add(b"a/b");
        names.add(b"c");
        for inside in [&b"a/b"[..], b"a/b/c", b"a/b/c/d", b"c", b"c/d"] {
            assert!(names.cover(inside), "{}", String::from_utf8_lossy(inside));
        }
        for outside in [&b"a"[..], b"a/bc", b"a/c", b"cc", b"b"] {
            assert!(!names.cover(outside), "{}", String::from_utf8_lossy(outside));
        }
    }

    /// However many names are taken, a path costs one question for each of its parts.
    #[test]
    fn what_a_path_costs_does_not_depend_on_the_names() {
        let parts: Vec<&[u8]> = upwards(b"a/b/c").collect();
        assert_eq!(parts, [&b"a"[..], b"a/b", b"a/b/c"]);
    }
}
