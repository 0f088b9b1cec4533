//! The guard: judges a whole plan before anything is written.
//!
//! Owns the limits and the messages. Each refusal gives the figure, the limit and the flag that allows it.

use super::facts::Facts;
use crate::model::plural;

/// What a run may do without a flag.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Maximum share of removed entries in those of the last snapshot (1.0: any).
    pub removals: f64,
    /// Maximum share of rewritten files in those of the last snapshot (1.0: any).
    pub rewrites: f64,
    /// The source may be empty although the last snapshot was not.
    pub allow_empty: bool,
    /// The destination may belong to another machine and source.
    pub take_over: bool,
    /// Maximum content bytes to send.
    pub max_bytes: Option<u64>,
    /// Maximum cost of the requests, in US dollars.
    pub max_cost: Option<f64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { removals: 0.25, rewrites: 0.5, allow_empty: false, take_over: false, max_bytes: None, max_cost: None }
    }
}

/// A plan with at most this many removals is never refused for them.
const FEW_REMOVALS: u64 = 10;
/// A plan with at most this many rewritten files is never refused for them.
const FEW_REWRITES: u64 = 100;

/// The reasons to refuse a plan. Empty if the plan may run. `cost` is the cost of its requests in US dollars.
///
/// # Examples
///
/// ```
/// use offsite::model::{Counts, Totals};
/// use offsite::plan::{Facts, Limits, judge};
///
/// let base = Totals { entries: 1_000, files: 900, bytes: 1 << 30 };
/// let counts = Counts { removed: 600, unchanged: 400, ..Counts::default() };
/// let facts = Facts { base: Some(base), counts, seen: 400, ..Facts::default() };
/// let reasons = judge(&facts, &Limits::default(), 0.0);
/// assert!(reasons[0].starts_with("600 of 1000 entries would be removed (60 %)"));
///
/// let limits = Limits { removals: 1.0, ..Limits::default() };
/// assert!(judge(&facts, &limits, 0.0).is_empty());
/// ```
pub fn judge(facts: &Facts, limits: &Limits, cost: f64) -> Vec<String> {
    let mut reasons = Vec::new();
    let base = facts.base.unwrap_or_default();
    let share = |n: u64, of: u64| n as f64 / of.max(1) as f64;
    let percent = |x: f64| format!("{:.0} %", x * 100.0);
    if facts.seen == 0 && base.entries > 0 {
        if !limits.allow_empty {
            reasons.push(format!(
                "the source is empty, the last snapshot had {} {} (not mounted?); use --allow-empty if that is right",
                base.entries,
                plural(base.entries, "entry", "entries")
            ));
        }
    } else if facts.counts.removed > FEW_REMOVALS && share(facts.counts.removed, base.entries) > limits.removals {
        reasons.push(format!(
            "{} of {} entries would be removed ({}), the limit is {}; use --max-removals 100% if that is right",
            facts.counts.removed,
            base.entries,
            percent(share(facts.counts.removed, base.entries)),
            percent(limits.removals)
        ));
    }
    if facts.rewritten > FEW_REWRITES && share(facts.rewritten, base.files) > limits.rewrites {
        reasons.push(format!(
            "{} of {} files were rewritten since the last run ({}), the limit is {} (encrypted by ransomware?); use --max-rewrites 100% if that is right",
            facts.rewritten,
            base.files,
            percent(share(facts.rewritten, base.files)),
            percent(limits.rewrites)
        ));
    }
    if let Some(max) = limits.max_bytes
        && facts.bytes > max
    {
        reasons.push(format!("{} bytes would be sent, the limit is {max}; raise --max-bytes to allow it", facts.bytes));
    }
    if let Some(max) = limits.max_cost
        && cost > max
    {
        reasons.push(format!("the requests would cost ${cost:.4}, the limit is ${max:.4}; raise --max-cost to allow it"));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Counts, Totals};

    fn facts(removed: u64, rewritten: u64, entries: u64) -> Facts {
        Facts {
            base: Some(Totals { entries, files: entries, bytes: 0 }),
            counts: Counts { removed, ..Counts::default() },
            rewritten,
            seen: entries - removed,
            ..Facts::default()
        }
    }

    #[test]
    fn a_few_may_always_go() {
        let limits = Limits::default();
        assert!(judge(&facts(10, 0, 12), &limits, 0.0).is_empty());
        assert!(judge(&facts(25, 0, 100), &limits, 0.0).is_empty());
        assert_eq!(judge(&facts(26, 0, 100), &limits, 0.0).len(), 1);
        assert!(judge(&facts(0, 100, 120), &limits, 0.0).is_empty());
        assert_eq!(judge(&facts(0, 101, 120), &limits, 0.0).len(), 1);
    }

    #[test]
    fn an_empty_source_is_refused_whatever_the_number() {
        assert!(judge(&facts(3, 0, 3), &Limits::default(), 0.0)[0].contains("--allow-empty"));
        assert!(judge(&facts(3, 0, 3), &Limits { allow_empty: true, ..Limits::default() }, 0.0).is_empty());
    }

    #[test]
    fn budgets() {
        let limits = Limits { max_bytes: Some(9), max_cost: Some(0.5), ..Limits::default() };
        assert_eq!(judge(&Facts { bytes: 10, seen: 1, ..Facts::default() }, &limits, 0.6).len(), 2);
    }
}
