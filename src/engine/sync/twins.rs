//! Names of one tree that the destination takes for one, and which of them keeps its name.
//!
//! Owns the rule. What has its own name there keeps it. Of newcomers the first in the order of the paths gets its own,
//! unless somebody has it; the others, and all that lies below them, are odd: their contents go to `.offsite/odd/`.
//! The scan marks names with a twin in the same directory, so only those are held in memory, and only as hashes.

use std::collections::HashSet;
use std::path::Path;

use crate::error::{Error, Result};
use crate::manifest::KeyRules;
use crate::model::{Change, Entry, Hash, folded};
use crate::spool::{Reader, Writer};
use crate::transfer::Line;

/// Who has a name that others would like to have.
#[derive(Debug, Default)]
pub struct Twins {
    held: HashSet<Hash>,
    odd_dirs: HashSet<Vec<u8>>,
    /// There are newcomers to decide about.
    pub open: bool,
}

impl Twins {
    /// Takes note of an entry of the last snapshot that has a twin now.
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
        // It cannot have its own name anyway.
        let other = rules.odd_key(entry.path.bare()).is_some();
        let odd = !other && (self.is_below_odd(path) || !self.held.insert(fold(path)));
        if odd && entry.path.is_dir() {
            self.odd_dirs.insert(path.to_vec());
        }
        entry.odd = odd;
    }

    /// Decides about all newcomers of a plan whose names may be taken.
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

/// A directory and a file of one name are in each other's way too.
fn fold(path: &[u8]) -> Hash {
    Hash::of(&folded(path.strip_suffix(b"/").unwrap_or(path)))
}
