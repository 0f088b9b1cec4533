//! What a run would do, and whether it may: comparison, guard, prices, retention, growth.
//!
//! Owns the decisions. Invariant: no I/O and no clock, everything by value, and no other module but `model`. The engine
//! supplies the facts and acts on the result.

mod cost;
mod diff;
mod facts;
mod growth;
mod guard;
mod retain;

pub use cost::{Price, Prices};
pub use diff::{Before, DiffState, Memory, Verdict, compare};
pub use facts::{Estimate, Facts, PlanTarget};
pub use growth::{GrowthSample, Slope, grown, slope};
pub use guard::{Limits, judge};
pub use retain::{Point, keep};
