//! What is special about a run that copies a snapshot of another destination.
//!
//! Owns the facts of that snapshot which the new one takes over, and the rule that a copy lacks nothing: if a content
//! could not be read or was refused, the run ends before its commit.

use std::sync::Arc;

use object_store::PutMode;

use crate::engine::destination::Destination;
use crate::engine::outcome::Outcome;
use crate::engine::warning::Warning;
use crate::error::{Error, Result};
use crate::manifest::CopiedTimes;
use crate::model::{CopiedFrom, Problem, RelPath, Sample, Snapshot};
use crate::transfer::{Findings, StoredContents};

/// A snapshot of another destination that becomes the next snapshot of this one.
pub struct Replay {
    pub host: String,
    /// When it was committed by its writer's clock, as its snapshot says.
    pub time: String,
    pub unstable: Vec<RelPath>,
    pub from: CopiedFrom,
    pub contents: Arc<StoredContents>,
}

impl Replay {
    /// Fails if a content is missing here. `outcome` gets the paths and the reasons.
    pub fn is_whole(&self, sent: Result<()>, findings: &Findings, outcome: &mut Outcome) -> Result<()> {
        if let Some(error) = self.contents.failure() {
            return Err(error);
        }
        sent?;
        let gone = findings.vanished.iter().map(|path| Problem { path: path.clone(), problem: "it was not found".into() });
        let lost: Vec<Problem> = findings.unread.iter().cloned().chain(gone).collect();
        let Some(Problem { path, problem }) = lost.first() else { return Ok(()) };
        let error = Error::damaged(path, problem);
        outcome.unread = Sample::of(&lost);
        Err(error)
    }

    /// Gives a new snapshot the facts of the copied one.
    pub fn mark(&self, snapshot: &mut Snapshot, unstable: &mut Vec<RelPath>) {
        (snapshot.host, snapshot.time) = (self.host.clone(), self.time.clone());
        snapshot.copied = Some(self.from.clone());
        unstable.extend(self.unstable.iter().cloned());
    }
}

/// Notes the time of the newest snapshot beside the snapshots, if it is a copy. A failure is a warning: the next copy
/// notes it.
pub async fn note_time(destination: &Destination) -> Option<Warning> {
    note(destination).await.err().map(|error| Warning::TimeNotNoted(error.to_string()))
}

async fn note(destination: &Destination) -> Result<()> {
    let Some((snapshot, _)) = destination.snapshot() else { return Ok(()) };
    let Some(from) = &snapshot.copied else { return Ok(()) };
    let mut times = match destination.records.copied_times().await {
        Ok(times) if !times.times.is_empty() => times,
        Ok(_) | Err(Error::Damaged { .. }) => CopiedTimes::default(),
        Err(error) => return Err(error),
    };
    let mut news = times.note(snapshot.number, from.time);
    // It is missing or damaged: the snapshots have the times, too.
    if times.times.len() == 1 {
        for listed in destination.records.snapshots(None).await? {
            let read = destination.records.snapshot(listed.number).await;
            if let Some(from) = read.ok().and_then(|(snapshot, _)| snapshot.copied) {
                news |= times.note(listed.number, from.time);
            }
        }
    }
    if news {
        destination.records.write(CopiedTimes::KEY, &times, PutMode::Overwrite).await?;
    }
    Ok(())
}
