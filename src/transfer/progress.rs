//! Progress of a run at one destination, for the display.
//!
//! Owns counters only. `cli/progress` reads them a few times a second.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// What a destination is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not started.
    Waiting,
    /// Reads the manifest.
    Loading,
    /// Scans the source or the target of a restore, or lists the destination.
    Scanning,
    /// Transfers contents, or reads them for a check.
    Transfer,
    /// Writes the manifest and the snapshot.
    Commit,
    /// Deletes what the new snapshot no longer references.
    Cleanup,
    /// Done.
    Finished,
    /// Ended with an error.
    Failed,
}

const PHASES: [Phase; 8] =
    [Phase::Waiting, Phase::Loading, Phase::Scanning, Phase::Transfer, Phase::Commit, Phase::Cleanup, Phase::Finished, Phase::Failed];

/// Counters of one destination. They are updated independently of each other.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    /// Entries scanned so far.
    pub scanned: AtomicU64,
    /// Files to transfer.
    pub files_total: AtomicU64,
    /// Content bytes to transfer.
    pub bytes_total: AtomicU64,
    /// Files transferred so far.
    pub files: AtomicU64,
    /// Content bytes transferred so far.
    pub bytes: AtomicU64,
    /// Content bytes of large files that the destination has already, so that they were copied there.
    pub copied: AtomicU64,
    /// Bytes of packs sent so far.
    pub packed: AtomicU64,
    current: Mutex<String>,
}

impl Progress {
    /// Enters a phase, and logs it.
    pub fn set_phase(&self, phase: Phase) {
        let (files, bytes) = (self.files.load(Relaxed), self.bytes.load(Relaxed));
        tracing::info!(target: "offsite::run", phase = ?phase, files, bytes);
        self.phase.store(phase as u8, Relaxed);
    }

    /// Enters the transfer phase with this number of files and bytes to transfer. The counters begin at 0, since a copy has
    /// a transfer for each snapshot.
    pub fn begin_transfer(&self, files: u64, bytes: u64) {
        for counter in [&self.files, &self.bytes, &self.copied, &self.packed] {
            counter.store(0, Relaxed);
        }
        self.set_phase(Phase::Transfer);
        self.files_total.store(files, Relaxed);
        self.bytes_total.store(bytes, Relaxed);
    }

    /// Notes that these bytes were to be transferred and were copied at the destination instead.
    pub fn note_copied(&self, bytes: u64) {
        self.copied.fetch_add(bytes, Relaxed);
        let _ = self.bytes_total.fetch_update(Relaxed, Relaxed, |total| Some(total.saturating_sub(bytes)));
    }

    /// The present phase.
    pub fn phase(&self) -> Phase {
        PHASES.get(self.phase.load(Relaxed) as usize).copied().unwrap_or(Phase::Waiting)
    }

    /// Sets the file that is being worked on. The call does nothing while another thread reads or sets it.
    pub fn set_current(&self, path: &crate::model::RelPath) {
        if let Ok(mut current) = self.current.try_lock() {
            *current = path.display();
        }
    }

    /// The file that is being worked on, in printable form. Empty if none was set.
    pub fn current(&self) -> String {
        self.current.lock().map_or_else(|_| String::new(), |c| c.clone())
    }
}
