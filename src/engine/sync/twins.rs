//! Twins: names of one tree that the destination takes for one name.
//!
//! Owns the rule for which entry gets the name. An entry that already has its own name at the destination keeps it. Of
//! new entries, the first in path order gets the name if it is free. The others, and everything below them, are odd:
//! their contents are stored in `.offsite/odd/`. The scan marks names that have a twin in the same directory. Memory
//! holds only these, as hashes, and the paths of odd directories.

use std::collections::HashSet;
use std::path::Path;

use crate::error::{Error, Result};
use crate::manifest::KeyRules;
use crate::model::{Change, Entry, Hash, folded};
use crate::spool::{Reader, Writer};
use crate::transfer::Line;

/// Which names are taken.
#[derive(Debug, Default)]
pub struct Twins {
    /// Hashes of the folded paths whose names are taken.
    held: HashSet<Hash>,
    odd_dirs: HashSet<Vec<u8>>,
    /// The plan has entries whose names are not decided yet.
    pub open: bool,
}

impl Twins {
    /// Records an entry of the last snapshot that now has a twin.
    pub fn known(&mut self, path: &[u8], odd: bool) {
        if !odd {
            self.held.insert(fold(path));
        } else if path.last() == Some(&b'/') {
            self.odd_dirs.insert(path.to_vec());
        }
    }

    fn is_below_odd(&self, path: &[u8]) -> bool {
        !self.odd_dirs.is_empty()
            && path.iter().enumerate().any(|(at, byte)| *byte == b'/' && at + 1 < path.len() && self.odd_dirs.contains(&path[..=at]))
    }

    fn decide(&mut self, entry: &mut Entry, rules: &KeyRules) {
        let path = entry.path.as_bytes();
        // The store cannot have this path as a key, so the entry takes no name.
        let other = rules.odd_key(entry.path.bare()).is_some();
        let odd = !other && (self.is_below_odd(path) || !self.held.insert(fold(path)));
        if odd && entry.path.is_dir() {
            self.odd_dirs.insert(path.to_vec());
        }
        entry.odd = odd;
    }

    /// Decides the name of every entry of a plan for which it is still open, and rewrites the plan.
    pub fn resolve(mut self, plan: &Path, rules: &KeyRules) -> Result<()> {
        let temp = plan.with_extension("twins");
        let mut out = Writer::<Line>::create(&temp)?;
        let mut lines = Reader::<Line>::open(plan)?;
        while let Some(mut line) = lines.next_line()? {
            if let Change::Added { entry, .. } | Change::Changed { entry, .. } = &mut line.step
                && std::mem::take(&mut line.twin)
            {
                self.decide(entry, rules);
            }
            out.push(&line)?;
        }
        out.flush()?;
        std::fs::rename(&temp, plan).map_err(|e| Error::local(plan, e))
    }
}

/// The hash of a folded path, without the slash of a directory, since a file and a directory cannot share a name.
fn fold(path: &[u8]) -> Hash {
    Hash::of(&folded(path.strip_suffix(b"/").unwrap_or(path)))
}
