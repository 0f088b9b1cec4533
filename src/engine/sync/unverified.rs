//! Deciding about unverified files before the transfer, for a plan that is shown or saved or that the guard refused.
//!
//! Owns reading and hashing them, and rewriting the plan with the result. Any other run decides about each of them
//! during the transfer, with the read that also sends it.

use std::path::Path;

use crate::error::Result;
use crate::model::{Change, Problem};
use crate::plan::Facts;
use crate::scan::{ReadError, Root, hash_file};
use crate::spool::{Reader, Writer};
use crate::transfer::{Line, Stop};

/// Rewrites `plan` without unverified files. Returns the new facts, and the files that could not be read. Those keep
/// their old content.
pub fn decide(root: &Root, plan: &Path, facts: &Facts, parts: &dyn Fn(u64) -> u64, stop: &Stop) -> Result<(Facts, Vec<Problem>)> {
    let mut unread = Vec::new();
    let temp = plan.with_extension("decided");
    let mut lines = Reader::<Line>::open(plan)?;
    let mut out = Writer::<Line>::create(&temp)?;
    let mut sum = Facts { base: facts.base, seen: facts.seen, ..Facts::default() };
    // `seen` does not count dumps, since the scan does not see them.
    let mut dumps = 0;
    while let Some(line) = lines.next_line()? {
        stop.check()?;
        let (readers, dump, twin) = (line.readers, line.dump, line.twin);
        dumps += u64::from(dump);
        let step = match line.step {
            Change::Changed { entry, stamps, old, unverified: Some(_) } => decided(root, entry, stamps, old, &mut unread),
            other => Some(other),
        };
        if let Some(step) = step {
            sum.add(&step, parts);
            out.push(&Line { step, readers, dump, twin })?;
        }
    }
    out.flush()?;
    sum.counts.skipped = facts.counts.skipped;
    // `add` has already counted steps that only change stamps as unchanged. Do not count them twice.
    let listed = sum.counts.added + sum.counts.changed + sum.counts.metadata + sum.counts.renamed + sum.counts.unchanged;
    sum.counts.unchanged += (facts.seen + dumps).saturating_sub(listed);
    std::fs::rename(&temp, plan).map_err(|e| crate::error::Error::cache(plan, e))?;
    Ok((sum, unread))
}

fn decided(
    root: &Root,
    mut entry: crate::model::Entry,
    stamps: crate::model::Stamps,
    old: crate::model::Entry,
    unread: &mut Vec<Problem>,
) -> Option<Change> {
    match hash_file(root, entry.path.as_bytes()) {
        Ok((hash, stat, xattrs)) if old.content.as_ref().is_some_and(|c| c.hash == hash) => {
            entry.xattrs = xattrs;
            entry.content.clone_from(&old.content);
            let stamps = stat.stamps();
            Some(if entry.same_metadata(&old) {
                Change::Stamped { path: entry.path, stamps }
            } else {
                Change::Metadata { entry, stamps, old }
            })
        }
        Ok(_) => Some(Change::Changed { entry, stamps, old, unverified: None }),
        Err(ReadError::Vanished) => None,
        Err(error) => {
            unread.push(Problem { path: entry.path, problem: error.to_string() });
            None
        }
    }
}
