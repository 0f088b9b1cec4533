//! How fast a tree grows, from the totals of its snapshots.
//!
//! Owns the line through them: least squares over all points, unweighted, so that one unusual run does not decide.
//! Invariant: if the points span less than a day, there is no result, because it would be a guess.

/// The size of one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrowthSample {
    /// When it was committed, in seconds since 1970 UTC.
    pub time: i64,
    /// Bytes of content in it.
    pub bytes: u64,
}

/// The slope of the line, and the time that its points span.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// Growth in bytes a day. Negative if the tree shrinks.
    pub bytes_per_day: f64,
    /// Days between the first and the last point.
    pub days: f64,
}

const DAY: f64 = 86_400.0;

/// The growth. None if the samples span less than a day.
pub fn slope(samples: &[GrowthSample]) -> Option<Slope> {
    let first = samples.iter().map(|s| s.time).min()?;
    let last = samples.iter().map(|s| s.time).max()?;
    let days = (last - first) as f64 / DAY;
    if days < 1.0 {
        return None;
    }
    let points: Vec<(f64, f64)> = samples.iter().map(|s| ((s.time - first) as f64 / DAY, s.bytes as f64)).collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let common: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    Some(Slope { bytes_per_day: common / spread, days })
}

/// The size in bytes after this many days at that growth, at least 0.
pub fn grown(bytes: u64, slope: &Slope, days: f64) -> u64 {
    (bytes as f64 + slope.bytes_per_day * days).max(0.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: f64, bytes: u64) -> GrowthSample {
        GrowthSample { time: 1_700_000_000 + (day * DAY) as i64, bytes }
    }

    #[test]
    fn a_straight_line_is_found() {
        let slope = slope(&[at(0.0, 1000), at(1.0, 1100), at(10.0, 2000)]).unwrap();
        assert!((slope.bytes_per_day - 100.0).abs() < 1e-6 && (slope.days - 10.0).abs() < 1e-9, "{slope:?}");
        assert_eq!(grown(2000, &slope, 365.0), 38_500);
    }

    #[test]
    fn too_little_says_nothing() {
        assert_eq!(slope(&[]), None);
        assert_eq!(slope(&[at(0.0, 1)]), None);
        assert_eq!(slope(&[at(0.0, 1), at(0.9, 2)]), None);
        assert!(slope(&[at(0.0, 1), at(1.0, 2)]).is_some());
    }

    #[test]
    fn what_shrinks_ends_at_nothing() {
        let slope = slope(&[at(0.0, 1000), at(2.0, 800)]).unwrap();
        assert!((slope.bytes_per_day + 100.0).abs() < 1e-6);
        assert_eq!(grown(800, &slope, 365.0), 0);
    }
}
