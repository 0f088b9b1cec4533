//! Which snapshots stay and which expire.
//!
//! Owns the meaning of `--keep-*`. A snapshot stays if any rule selects it; the newest always stays. Times are the
//! store's. Days, weeks and months are those of the zone that the rules name. A snapshot is within a period if it was
//! the newest at any moment of it, so the state at the start of the period can still be restored.

use std::collections::BTreeSet;

use crate::model::KeepRules;

/// A snapshot and when it was committed, in seconds since 1970 UTC by the store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Number of the snapshot.
    pub number: u64,
    /// Seconds since 1970 UTC.
    pub time: i64,
}

/// The numbers of the snapshots that stay. `points` must be in order of their numbers. `now` is in seconds since 1970
/// UTC, by the store's clock.
pub fn keep(points: &[Point], rules: &KeepRules, now: i64) -> BTreeSet<u64> {
    let mut stay: BTreeSet<u64> = points.last().map(|p| p.number).into_iter().collect();
    stay.extend(points.iter().rev().take(rules.last as usize).map(|p| p.number));
    let calendar = rules.zone.calendar();
    newest_of_each(points, rules.daily, |p| calendar.day(p.time), &mut stay);
    newest_of_each(points, rules.weekly, |p| calendar.week(p.time), &mut stay);
    newest_of_each(points, rules.monthly, |p| calendar.month(p.time), &mut stay);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Zone;
    use proptest::prelude::*;

    const DAY: i64 = 86_400;

    const ZONES: [&str; 6] = ["Europe/London", "America/Los_Angeles", "Pacific/Auckland", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"];

    fn utc() -> Zone {
        Zone::named("UTC").unwrap()
    }

    /// Snapshots that are `steps` half hours apart, from a time in 2025 or 2026.
    fn nights(begin: i64, steps: &[i64]) -> Vec<Point> {
        let mut time = 1_735_689_600 + begin;
        let point = |(index, step): (usize, &i64)| {
            time += step * 1800;
            Point { number: index as u64 + 1, time }
        };
        steps.iter().enumerate().map(point).collect()
    }

    proptest! {
        /// The snapshot of a day that a rule keeps is the one that `--at DAY` finds: the newest one of that day by the
        /// zone's clock, in every zone and over every change of clocks.
        #[test]
        fn each_day_that_is_kept_can_be_asked_for(
            zone in proptest::sample::select(&ZONES[..]),
            begin in 0i64..63_072_000,
            steps in proptest::collection::vec(1i64..60, 1..80),
            daily in 1u64..40,
        ) {
            let points = nights(begin, &steps);
            let zone = Zone::named(zone).unwrap();
            let calendar = zone.calendar();
            let rules = KeepRules { daily, zone, ..KeepRules::default() };
            let stay = keep(&points, &rules, i64::MAX);
            let date = |p: &Point| calendar.shown(p.time)[..10].to_owned();
            let days: BTreeSet<String> = points.iter().map(date).collect();
            let asked: Vec<String> = days.iter().rev().take(daily as usize).cloned().collect();
            prop_assert_eq!(stay.len(), asked.len());
            for day in asked {
                let ends = calendar.day_ends(&day).unwrap();
                let found = points.iter().rfind(|p| p.time < ends).unwrap();
                prop_assert_eq!(date(found), day);
                prop_assert!(stay.contains(&found.number));
            }
        }

        /// The newest snapshot of a month or week is the newest one of the last of its days with a snapshot.
        #[test]
        fn months_and_weeks_are_made_of_days(
            zone in proptest::sample::select(&ZONES[..]),
            begin in 0i64..63_072_000,
            steps in proptest::collection::vec(1i64..200, 1..80),
        ) {
            let points = nights(begin, &steps);
            let zone = Zone::named(zone).unwrap();
            let calendar = zone.calendar();
            let all = |rules: KeepRules| keep(&points, &KeepRules { zone: zone.clone(), ..rules }, i64::MAX);
            let daily = all(KeepRules { daily: 10_000, ..KeepRules::default() });
            let monthly = all(KeepRules { monthly: 10_000, ..KeepRules::default() });
            let weekly = all(KeepRules { weekly: 10_000, ..KeepRules::default() });
            prop_assert!(daily.is_superset(&monthly) && daily.is_superset(&weekly));
            let months: BTreeSet<String> = points.iter().map(|p| calendar.shown(p.time)[..7].to_owned()).collect();
            prop_assert_eq!(monthly.len(), months.len());
            for pair in points.windows(2) {
                // A week ends with Sunday. Day 3 since 1970 was a Sunday.
                let ends = (calendar.day(pair[0].time) + 3).div_euclid(7) != (calendar.day(pair[1].time) + 3).div_euclid(7);
                prop_assert_eq!(weekly.contains(&pair[0].number), ends);
            }
        }
    }

    #[test]
    fn the_night_of_the_change_stays() {
        let calendar = Zone::named("Europe/London").unwrap();
        let at = |day: &str| calendar.calendar().moment(&format!("{day}T00:30")).unwrap();
        let days = ["2026-03-26", "2026-03-27", "2026-03-28", "2026-03-29", "2026-03-30", "2026-03-31"];
        let points: Vec<Point> = days.iter().zip(1..).map(|(day, number)| Point { number, time: at(day) }).collect();
        let rules = KeepRules { daily: 5, zone: calendar.clone(), ..KeepRules::default() };
        assert_eq!(keep(&points, &rules, at("2026-03-31")), [2, 3, 4, 5, 6].into());
    }

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
        let rules = KeepRules { last: 2, daily: 3, weekly: 2, monthly: 2, within: None, zone: utc() };
        let stay = keep(&daily(60), &rules, 60 * DAY);
        // Day 60 is Monday 2 March 1970. The week before ends on day 59, a Sunday. February ends on day 58.
        assert_eq!(stay, [58, 59, 60].into());
        let stay = keep(&daily(70), &KeepRules { monthly: 3, zone: utc(), ..KeepRules::default() }, 70 * DAY);
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
