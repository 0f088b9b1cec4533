//! Which snapshots stay and which go.
//!
//! Owns the meaning of `--keep-*`. All that any rule names stay; the newest always stays. Times are the
//! store's. A snapshot counts as within a span if it was the newest at any moment of it, so the state at
//! the span's start can still be had.

use std::collections::BTreeSet;

use crate::model::KeepRules;

/// A snapshot and when it was committed, in seconds since 1970 UTC by the store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub number: u64,
    pub time: i64,
}

/// The numbers that stay. `points` in order of their numbers; `now` by the store's clock.
pub fn keep(points: &[Point], rules: &KeepRules, now: i64) -> BTreeSet<u64> {
    let mut stay: BTreeSet<u64> = points.last().map(|p| p.number).into_iter().collect();
    stay.extend(points.iter().rev().take(rules.last as usize).map(|p| p.number));
    let day = |p: &Point| p.time.div_euclid(86_400);
    // 1970-01-01 was a Thursday; weeks begin on Monday.
    newest_of_each(points, rules.daily, day, &mut stay);
    newest_of_each(points, rules.weekly, |p| (day(p) + 3).div_euclid(7), &mut stay);
    newest_of_each(points, rules.monthly, |p| month(day(p)), &mut stay);
    if let Some(within) = rules.within.filter(|w| *w > 0) {
        let start = now.saturating_sub(i64::try_from(within).unwrap_or(i64::MAX));
        for (index, point) in points.iter().enumerate() {
            let replaced = points.get(index + 1).map_or(i64::MAX, |next| next.time);
            if replaced > start {
                stay.insert(point.number);
            }
        }
    }
    stay
}

/// The newest snapshot of each of the `count` newest periods that have one.
fn newest_of_each(points: &[Point], count: u64, period: impl Fn(&Point) -> i64, stay: &mut BTreeSet<u64>) {
    let mut seen = BTreeSet::new();
    for point in points.iter().rev() {
        if seen.len() as u64 >= count && !seen.contains(&period(point)) {
            continue;
        }
        if seen.insert(period(point)) {
            stay.insert(point.number);
        }
    }
}

/// Months since 0000-03 for a day since 1970-01-01 (the proleptic Gregorian calendar).
fn month(day: i64) -> i64 {
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    (era * 400 + yoe) * 12 + (5 * doy + 2) / 153
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn daily(n: u64) -> Vec<Point> {
        (1..=n).map(|number| Point { number, time: number as i64 * DAY + 3 * 3600 }).collect()
    }

    #[test]
    fn the_newest_always_stays() {
        assert_eq!(keep(&daily(5), &KeepRules::default(), 100 * DAY), [5].into());
        assert_eq!(keep(&daily(5), &KeepRules { within: Some(0), ..KeepRules::default() }, 5 * DAY), [5].into());
        assert!(keep(&[], &KeepRules::default(), 0).is_empty());
    }

    #[test]
    fn rules_add_up() {
        let rules = KeepRules { last: 2, daily: 3, weekly: 2, monthly: 2, within: None };
        let stay = keep(&daily(60), &rules, 60 * DAY);
        // Day 60 is Monday 2 March 1970; week before ends on day 59, a Sunday; February ends on day 58.
        assert_eq!(stay, [58, 59, 60].into());
        let stay = keep(&daily(70), &KeepRules { monthly: 3, ..KeepRules::default() }, 70 * DAY);
        assert_eq!(stay, [30, 58, 70].into());
    }

    #[test]
    fn the_state_at_the_start_of_the_span_stays() {
        let points = [Point { number: 1, time: 0 }, Point { number: 2, time: 50 * DAY }];
        let rules = KeepRules { within: Some(30 * DAY as u64), ..KeepRules::default() };
        assert_eq!(keep(&points, &rules, 60 * DAY), [1, 2].into());
        assert_eq!(keep(&points, &rules, 81 * DAY), [2].into());
    }
}
