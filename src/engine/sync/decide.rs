//! The decision about the plan of one destination.
//!
//! Owns the reasons to refuse a plan: the guard, files that offsite did not write, and another owner of the destination.

use std::path::PathBuf;

use super::compare::Side;
use super::owner::{Claimant, Owner};
use super::planning::{self, Draft, FinishedPlan, Judging};
use super::preflight;
use super::prepare::{ScanResult, SyncRequest};
use crate::engine::destination::{Destination, parts_of};
use crate::error::Result;
use crate::model::Layout;
use crate::plan::PlanTarget;

/// A plan that was judged. It may be refused.
pub struct DecidedPlan {
    pub plan: FinishedPlan,
    /// The file with its steps.
    pub file: PathBuf,
    pub owner: Owner,
}

/// Finishes the plan of one destination and collects the reasons to refuse it. If the run only plans, it reads
/// unverified files in any case. Blocks.
pub fn decide(asked: &SyncRequest<'_>, seen: &ScanResult, destination: &Destination, side: Side) -> Result<DecidedPlan> {
    if let Some(error) = side.failed {
        return Err(error);
    }
    let SyncRequest { machine, source, options, control, writes, .. } = *asked;
    let how = Judging {
        limits: &options.limits,
        price: &options.price,
        way: PlanTarget {
            keeps: options.keep.keeps_old(),
            first: destination.head.is_none(),
            tree: destination.directory.is_some(),
            packed: destination.layout() == Layout::Packed,
            sealed: destination.seal_wish().is_some(),
        },
        exact: !writes || options.limits.max_bytes.is_some() || options.limits.max_cost.is_some(),
    };
    let parts = parts_of(destination);
    let draft = Draft { root: &seen.root, path: &side.path, base: destination.base()?, facts: side.facts, parts: &parts };
    let mut plan = planning::finish(draft, &how, &control.stop)?;
    plan.refused.extend(preflight::refusal(&destination.foreign, &side.path)?);
    let now = Claimant { host: &machine.host, source, job: options.job.as_deref(), kind: options.kind.as_deref() };
    let owner = Owner::of(destination, &now, options.limits.take_over);
    if let Owner::Other(why) = &owner {
        plan.refused.push(why.clone());
    }
    Ok(DecidedPlan { plan, file: side.path, owner })
}
