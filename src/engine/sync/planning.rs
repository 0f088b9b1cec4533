//! The last steps of a plan: renames, unverified files, and the verdict of the guard.
//!
//! Owns the order of these steps, and the decision whether unverified files are read before the transfer.

use crate::error::{Error, Result};
use crate::manifest::CacheReader;
use crate::model::{Entry, Problem};
use crate::plan::{Estimate, Facts, Limits, PlanTarget, Price, judge};
use crate::scan::{Root, hash_file};
use crate::transfer::Stop;

use super::{renames, unverified};

/// The rules by which a plan is judged.
pub struct Judging<'a> {
    pub limits: &'a Limits,
    pub price: &'a Price,
    /// The properties of the destination that decide the number of requests.
    pub way: PlanTarget,
    /// Read unverified files in any case.
    pub exact: bool,
}

/// A plan with its figures.
pub struct FinishedPlan {
    pub facts: Facts,
    pub estimate: Estimate,
    pub cost: f64,
    pub refused: Vec<String>,
    /// Files that could not be read while the plan was finished.
    pub unread: Vec<Problem>,
}

/// A plan as the comparison left it.
pub struct Draft<'a> {
    pub root: &'a Root,
    pub path: &'a std::path::Path,
    pub base: CacheReader,
    pub facts: Facts,
    pub parts: &'a dyn Fn(u64) -> u64,
}

/// Finishes a plan. It reads unverified files only if the verdict or the reader of the plan depends on them. Otherwise
/// the transfer decides about each of them with the read that also sends it. Blocks.
pub fn finish(draft: Draft<'_>, how: &Judging<'_>, stop: &Stop) -> Result<FinishedPlan> {
    let Draft { root, path, base, facts, parts } = draft;
    let mut content = |entry: &Entry| Ok(hash_file(root, entry.path.as_bytes()).ok().map(|(hash, ..)| hash));
    let mut facts = renames::find(&mut content, path, base, facts, parts, stop)?;
    let judged = |facts: &Facts| {
        let estimate = facts.estimate(how.way);
        let cost = how.price.requests(&estimate);
        (estimate, cost, judge(facts, how.limits, cost))
    };
    let (mut estimate, mut cost, mut refused) = judged(&facts);
    let mut unread = Vec::new();
    if facts.unverified > 0 && (how.exact || !refused.is_empty()) {
        (facts, unread) = unverified::decide(root, path, &facts, parts, stop)?;
        (estimate, cost, refused) = judged(&facts);
    }
    Ok(FinishedPlan { facts, estimate, cost, refused, unread })
}

/// Returns the reasons to refuse a plan as an error.
pub fn verdict(refused: &[String]) -> Result<()> {
    if refused.is_empty() { Ok(()) } else { Err(Error::Refused(refused.to_vec())) }
}
