//! The guard of a repair.
//!
//! Owns the reasons to refuse one: a source that is empty, and the byte limit.

use super::options::RepairOptions;
use super::other::RepairContents;
use super::source::RepairPlan;
use crate::engine::destination::{Destination, parts_of};
use crate::error::{Error, Result};
use crate::model::Snapshot;
use crate::plan::{Facts, judge};
use crate::spool::Reader;
use crate::transfer::Line;

/// Refuses a repair from an empty source, which is probably not mounted, and one that exceeds its byte limit.
pub fn guard(
    contents: &RepairContents,
    snapshot: &Snapshot,
    planned: &RepairPlan,
    destination: &Destination,
    options: &RepairOptions,
) -> Result<()> {
    if planned.is_empty() {
        return Ok(());
    }
    let seen = match contents {
        RepairContents::Source(root) => std::fs::read_dir(root.path()).map_err(|e| Error::source(root.path(), e))?.next().is_some(),
        RepairContents::Other(_) => true,
    };
    let mut facts = Facts { base: Some(snapshot.totals), seen: u64::from(seen), ..Facts::default() };
    let parts = parts_of(destination);
    let mut lines = Reader::<Line>::open(&planned.lines)?;
    while let Some(line) = lines.next_line()? {
        facts.add(&line.step, &parts);
    }
    let refused = judge(&facts, &options.limits, 0.0);
    if refused.is_empty() { Ok(()) } else { Err(Error::Refused(refused)) }
}
