//! From a comparison to a plan that may run: renames, suspects, and the guard's verdict.

use crate::error::{Error, Result};
use crate::manifest::CacheReader;
use crate::model::Problem;
use crate::plan::{Estimate, Facts, Limits, PlanTarget, Price, judge};
use crate::scan::Root;
use crate::transfer::Stop;

use super::{renames, unverified};

/// What the guard goes by.
pub struct Judging<'a> {
    pub limits: &'a Limits,
    pub price: &'a Price,
    /// What the destination is like.
    pub way: PlanTarget,
    /// Decide about suspects in any case.
    pub exact: bool,
}

/// A plan with its figures.
pub struct FinishedPlan {
    pub facts: Facts,
    pub estimate: Estimate,
    pub cost: f64,
    pub refused: Vec<String>,
}

/// A plan as the comparison left it.
pub struct Draft<'a> {
    pub root: &'a Root,
    pub path: &'a std::path::Path,
    pub base: CacheReader,
    pub facts: Facts,
    pub parts: &'a dyn Fn(u64) -> u64,
}

/// Finishes a plan; what could not be read on the way is added to `unread`. Suspects are read here only if the
/// verdict or the reader of the plan depends on them; otherwise the transfer decides, with the same read. Blocks.
pub fn finish(draft: Draft<'_>, how: &Judging<'_>, stop: &Stop, unread: &mut Vec<Problem>) -> Result<FinishedPlan> {
    let Draft { root, path, base, facts, parts } = draft;
    let mut facts = renames::find(root, path, base, facts, parts, stop)?;
    let judged = |facts: &Facts| {
        let estimate = facts.estimate(how.way);
        let cost = how.price.requests(&estimate);
        (estimate, cost, judge(facts, how.limits, cost))
    };
    let (mut estimate, mut cost, mut refused) = judged(&facts);
    if facts.suspects > 0 && (how.exact || !refused.is_empty()) {
        facts = unverified::decide(root, path, &facts, parts, stop, unread)?;
        (estimate, cost, refused) = judged(&facts);
    }
    Ok(FinishedPlan { facts, estimate, cost, refused })
}

/// The verdict as an error.
pub fn verdict(refused: &[String]) -> Result<()> {
    if refused.is_empty() { Ok(()) } else { Err(Error::Refused(refused.to_vec())) }
}
