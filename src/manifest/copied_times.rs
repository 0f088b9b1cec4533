//! The times of copied snapshots: `.offsite/snapshots/times.json`.
//!
//! Owns its form. The store's time of a copied snapshot is that of the copy. Retention and `--at` go by the time that
//! the snapshot had where it was copied from, and this list has it, so that no reader opens every snapshot for it.

use serde::{Deserialize, Serialize};

/// The times of copied snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiedTimes {
    /// Number of each copied snapshot, and when it was committed where it was copied from, in seconds since 1970.
    pub times: Vec<(u64, i64)>,
}

impl CopiedTimes {
    /// Its key. It is in the folder of the snapshots, so a listing of them shows whether it exists.
    pub const KEY: &str = ".offsite/snapshots/times.json";

    /// Adds or replaces the time of a snapshot. Returns whether that changes anything.
    pub fn note(&mut self, number: u64, time: i64) -> bool {
        match self.times.iter_mut().find(|(of, _)| *of == number) {
            Some((_, known)) if *known == time => return false,
            Some((_, known)) => *known = time,
            None => self.times.push((number, time)),
        }
        true
    }
}
