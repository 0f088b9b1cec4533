//! How far a run is, for whoever shows it.
//!
//! Owns counters only; `cli/progress` reads them a few times a second.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// What a destination is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Waiting,
    Loading,
    Scanning,
    Transfer,
    Commit,
    Tidy,
    Finished,
    Failed,
}

const PHASES: [Phase; 8] =
    [Phase::Waiting, Phase::Loading, Phase::Scanning, Phase::Transfer, Phase::Commit, Phase::Tidy, Phase::Finished, Phase::Failed];

/// Counters of one destination.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    pub scanned: AtomicU64,
    pub files_total: AtomicU64,
    pub bytes_total: AtomicU64,
    pub files: AtomicU64,
    pub bytes: AtomicU64,
    current: Mutex<String>,
}

impl Progress {
    pub fn set_phase(&self, phase: Phase) {
        let (files, bytes) = (self.files.load(Relaxed), self.bytes.load(Relaxed));
        tracing::info!(target: "offsite::run", phase = ?phase, files, bytes);
        self.phase.store(phase as u8, Relaxed);
    }

    /// So many files and bytes are to be transferred now.
    pub fn begin_transfer(&self, files: u64, bytes: u64) {
        self.set_phase(Phase::Transfer);
        self.files_total.store(files, Relaxed);
        self.bytes_total.store(bytes, Relaxed);
    }

    pub fn phase(&self) -> Phase {
        PHASES.get(self.phase.load(Relaxed) as usize).copied().unwrap_or(Phase::Waiting)
    }

    /// The file that is being worked on; skipped when somebody is just reading it.
    pub fn set_current(&self, path: &crate::model::RelPath) {
        if let Ok(mut current) = self.current.try_lock() {
            *current = path.display();
        }
    }

    pub fn current(&self) -> String {
        self.current.lock().map_or_else(|_| String::new(), |c| c.clone())
    }
}
