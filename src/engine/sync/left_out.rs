//! The plan of a run without the steps that its destination refused.
//!
//! Owns which steps are left out: refused steps, and steps that need a name that stays with its old entry. Everything
//! after the transfer (manifest, removals, directory metadata) follows the plan without these steps.

use std::collections::HashSet;
use std::path::Path;

use crate::error::{Error, Result};
use crate::model::{Change, Hash};
use crate::spool::{Joined, Reader, Writer};
use crate::transfer::{Journal, Line};

/// Rewrites `plan` without the steps that the destination refused, so the old entries stay as the last snapshot has
/// them. A new entry that needs the name of such an old entry is left out, too. Returns how many entries stay as they
/// were.
pub fn leave_out(plan: &Path, journal: &Path, spill: &Path) -> Result<u64> {
    let Some(staying) = Staying::of(plan, journal, spill)? else { return Ok(0) };
    let Some(refused) = Journal::sorted_refused(journal, spill)? else { return Ok(0) };
    let mut refused = Joined::new(refused)?;
    let temp = plan.with_extension("taken");
    let mut out = Writer::<Line>::create(&temp)?;
    let mut lines = Reader::<Line>::open(plan)?;
    let mut stay = 0;
    while let Some(line) = lines.next_line()? {
        if refused.meet(line.step.path().as_bytes())?.is_none() && !staying.keeps_out(&line.step) {
            out.push(&line)?;
        } else if !matches!(line.step, Change::Added { .. } | Change::Renamed { .. }) {
            stay += 1;
        }
    }
    out.flush()?;
    std::fs::rename(&temp, plan).map_err(|e| Error::local(plan, e))?;
    Ok(stay)
}

/// Names that stay because the destination refused their removal. A file and a directory cannot have the same name.
#[derive(Default)]
struct Staying {
    /// Paths of files that stay.
    files: HashSet<Hash>,
    /// Directories above everything that stays.
    above: HashSet<Hash>,
    /// Old paths of renames that are left out. These entries keep their old names.
    sources: HashSet<Hash>,
}

impl Staying {
    /// `None` if the destination refused nothing.
    fn of(plan: &Path, journal: &Path, spill: &Path) -> Result<Option<Self>> {
        let Some(refused) = Journal::sorted_refused(journal, spill)? else { return Ok(None) };
        let (mut refused, mut staying) = (Joined::new(refused)?, Self::default());
        let mut lines = Reader::<Line>::open(plan)?;
        while let Some(line) = lines.next_line()? {
            let path = line.step.path();
            if refused.meet(path.as_bytes())?.is_some() && matches!(line.step, Change::Removed { .. }) {
                staying.files.extend((!path.is_dir()).then(|| Hash::of(path.as_bytes())));
                staying.above.extend(above(path.bare()).map(Hash::of));
            }
        }
        let mut lines = Reader::<Line>::open(plan)?;
        while !(staying.above.is_empty() && staying.files.is_empty())
            && let Some(line) = lines.next_line()?
        {
            if let Change::Renamed { from, .. } = &line.step
                && staying.keeps_out(&line.step)
            {
                staying.sources.insert(Hash::of(from.path.as_bytes()));
            }
        }
        Ok(Some(staying))
    }

    fn keeps_out(&self, step: &Change) -> bool {
        let path = step.path();
        match step {
            Change::Added { .. } | Change::Renamed { .. } => {
                let taken = !path.is_dir() && self.above.contains(&Hash::of(path.bare()));
                let below =
                    !self.files.is_empty() && above(path.bare()).chain([path.bare()]).any(|dir| self.files.contains(&Hash::of(dir)));
                taken || below
            }
            Change::Removed { .. } => self.sources.contains(&Hash::of(path.as_bytes())),
            _ => false,
        }
    }
}

/// The directories above a path, without a slash at the end.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at])
}
