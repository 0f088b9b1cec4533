//! How many files this process may have open.
//!
//! Connections, large files and the runs of a sort all take some, and many systems start a program with a soft limit
//! far below what they allow.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than offsite ever opens. Commands that it starts inherit the limit, and some of them go through all the
/// numbers that it allows.
const ENOUGH: u64 = 16_384;

/// Raises the soft limit as far as the hard one allows. Where that fails, the limit stays: what needs more files than
/// there are says so.
pub fn raise_limit() {
    let now = getrlimit(Resource::Nofile);
    if let Some(wanted) = wanted(now.current, now.maximum) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum });
    }
}

/// The soft limit to set, if it is not high enough; `None` stands for no limit.
fn wanted(soft: Option<u64>, hard: Option<u64>) -> Option<u64> {
    let soft = soft?;
    let wanted = hard.map_or(ENOUGH, |hard| hard.min(ENOUGH));
    (wanted > soft).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::wanted;

    #[test]
    fn the_limit_is_raised_and_never_lowered() {
        assert_eq!(wanted(Some(256), Some(1_048_576)), Some(16_384));
        assert_eq!(wanted(Some(256), Some(4_096)), Some(4_096));
        assert_eq!(wanted(Some(256), None), Some(16_384));
        assert_eq!(wanted(Some(65_536), Some(1_048_576)), None);
        assert_eq!(wanted(None, None), None);
        assert_eq!(wanted(Some(128), Some(128)), None);
    }
}
