//! `copy`: the snapshots of one destination, replayed into another one, the oldest first.
//!
//! Owns which snapshots are copied, and what is reported of each. Nothing is written to the destination that is copied.
//! Invariants: a snapshot is committed whole or not at all. A copy adds only snapshots that are newer than the last one
//! that it added, so a destination always shows one history.

mod fold;
mod one;
pub mod options;
pub(super) mod origin;
mod outcome;
mod request;

use std::sync::Arc;
use std::time::Instant;

use offsite_backends::{self as backends, Backend};

use self::one::{OneCopy, copy_one};
use self::options::{CopyOptions, CopySelection};
use self::origin::CopyOrigin;
pub use self::outcome::{CopiedSnapshot, CopyOutcome};
use self::request::CopyRequest;
use super::cleanup;
use super::control::RunControl;
use super::destination::Destination;
use super::lease::{Claim, Lease};
use super::machine::Machine;
use super::scratch::Scratch;
use super::sync::prepare::{self, SyncRequest};
use super::sync::{replay, tidy};
use super::warning::Warning;
use crate::error::{Error, Result};
use crate::manifest::SnapshotRef;
use crate::model::{CopiedFrom, Problem, Sample, Snapshot};
use crate::transfer::{Limit, Phase};

/// Copies snapshots of the destination `from` to the destination `to`.
///
/// # Errors
/// Those of opening both. A failure while snapshots are copied is in the outcome, together with what was copied before.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, CopyOptions, RunControl};
/// # use offsite::engine::{Machine, SyncOptions};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # engine::sync(&machine, &site, &[backup.clone()], &SyncOptions::default(), &RunControl::new(1)).await;
/// let offline = at("offline").display().to_string();
/// let copied = engine::copy(&machine, &backup, &offline, &CopyOptions::default(), &RunControl::new(1)).await?;
/// assert_eq!((copied.exit, copied.copied.len(), copied.copied[0].from), (0, 1, 1));
///
/// let again = engine::copy(&machine, &backup, &offline, &CopyOptions::default(), &RunControl::new(1)).await?;
/// assert!(again.copied.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn copy(machine: &Machine, from: &str, to: &str, options: &CopyOptions, control: &RunControl) -> Result<CopyOutcome> {
    let (from, backend) = futures::try_join!(backends::open(from), backends::open(to))?;
    copy_over(machine, from, (to, backend), options, control).await
}

/// Like [`copy`], with backends that are already open. The new destination comes with the URL that `options` may name.
///
/// # Errors
/// Those of [`copy`].
pub async fn copy_over(
    machine: &Machine,
    from: Arc<dyn Backend>,
    (url, to): (&str, Arc<dyn Backend>),
    options: &CopyOptions,
    control: &RunControl,
) -> Result<CopyOutcome> {
    let started = Instant::now();
    let progress = control.progress.first().cloned().unwrap_or_default();
    progress.set_phase(Phase::Loading);
    if from.location().identity() == to.location().identity() {
        return Err(Error::Usage(format!("{}: a destination cannot be copied to itself; name another one", to.location())));
    }
    let root = from.tree().and_then(|tree| tree.local_root());
    let origin = CopyOrigin::open(Arc::clone(&from), machine).await?;
    let asked = CopyRequest {
        machine,
        origin: &origin,
        to: &to,
        url,
        options,
        control,
        limit_upload: Arc::new(Limit::new(options.writing.limit_upload)),
        limit_download: Arc::new(Limit::new(options.writing.limit_download)),
    };
    let loaded = asked.loaded(root.as_deref()).await?;
    let last = asked.last_copied(&loaded).await?;
    let todo = asked.selected(last)?;
    let mut outcome = CopyOutcome {
        from: origin.url(),
        to: loaded.backend.location().to_string(),
        dry_run: options.dry_run,
        last: last.filter(|number| *number > 0),
        ..CopyOutcome::default()
    };
    let ended = match (options.dry_run, todo.is_empty()) {
        (true, _) => asked.preview(&todo, &mut outcome).await,
        (false, true) => asked.finish_earlier(&loaded, &mut outcome).await,
        (false, false) => {
            // Each snapshot is a run of its own, with its own lease.
            drop(loaded);
            asked.all(&todo, &mut outcome).await
        }
    };
    progress.set_phase(if ended.is_ok() { Phase::Finished } else { Phase::Failed });
    outcome.finish(ended.as_ref().err());
    (outcome.requests_from, outcome.requests_to) = (from.meter().requests(), to.meter().requests());
    outcome.seconds = started.elapsed().as_secs_f64();
    Ok(outcome)
}

impl CopyRequest<'_> {
    /// Opens, locks and loads the new destination.
    async fn loaded(&self, from: Option<&std::path::Path>) -> Result<Destination> {
        let writing = &self.options.writing;
        let mut to = prepare::open(from, Arc::clone(self.to), self.machine, self.url, writing)?;
        let (source, writes) = (std::path::Path::new(""), !self.options.dry_run);
        let asked = SyncRequest { machine: self.machine, source, options: writing, control: self.control, started: Instant::now(), writes };
        prepare::load(&mut to, &asked).await?;
        Ok(to)
    }

    fn is_of_origin(&self, snapshot: &Snapshot) -> Option<u64> {
        let CopiedFrom { destination, number, .. } = snapshot.copied.as_ref()?;
        (*destination == self.origin.format.id).then_some(*number)
    }

    /// The number of the last snapshot that was copied. `None` if the new destination has no snapshot.
    ///
    /// # Errors
    /// [`Error::Refused`] if its newest snapshot was not copied from here, and the user does not allow that.
    async fn last_copied(&self, to: &Destination) -> Result<Option<u64>> {
        let Some((newest, _)) = to.snapshot() else { return Ok(None) };
        if let Some(number) = self.is_of_origin(newest) {
            return Ok(Some(number));
        }
        if !self.options.writing.limits.take_over {
            return Err(Error::Refused(vec![format!(
                "the last snapshot of {} is of {} on {} and was not copied from {}; use a separate destination, or --take-over once if \
                 this copy replaces it",
                to.backend.location(),
                newest.source,
                newest.host,
                self.origin.url()
            )]));
        }
        for listed in to.records.snapshots(None).await?.iter().rev() {
            let (older, _) = to.records.snapshot(listed.number).await?;
            if let Some(number) = self.is_of_origin(&older) {
                return Ok(Some(number));
            }
        }
        Ok(Some(0))
    }

    /// The snapshots to copy, the oldest first.
    fn selected(&self, last: Option<u64>) -> Result<Vec<SnapshotRef>> {
        let list = &self.origin.list;
        if let CopySelection::Numbers(ranges) = &self.options.select
            && let Some(none) = ranges.iter().find(|range| !list.iter().any(|listed| range.contains(&listed.number)))
        {
            let (first, last) = (list.first().map_or(0, |s| s.number), list.last().map_or(0, |s| s.number));
            return Err(Error::Usage(format!(
                "{}: it has no snapshot {}; its snapshots are {first} to {last}",
                self.origin.url(),
                if none.start() == none.end() { none.start().to_string() } else { format!("{}..{}", none.start(), none.end()) }
            )));
        }
        let newer = (0..list.len() as u64).rev();
        let chosen = list.iter().zip(newer).filter(|(listed, newer)| self.options.select.has(listed.number, *newer));
        Ok(chosen.map(|(listed, _)| listed).filter(|listed| last.is_none_or(|last| listed.number > last)).cloned().collect())
    }

    /// What a copy would do.
    async fn preview(&self, todo: &[SnapshotRef], outcome: &mut CopyOutcome) -> Result<()> {
        for listed in todo {
            self.control.stop.check()?;
            let (snapshot, _) = self.origin.records().snapshot(listed.number).await?;
            outcome.copied.push(CopiedSnapshot::of(&snapshot, listed));
        }
        Ok(())
    }

    async fn all(&self, todo: &[SnapshotRef], outcome: &mut CopyOutcome) -> Result<()> {
        for listed in todo {
            self.control.stop.check()?;
            self.snapshot(listed, outcome).await?;
        }
        Ok(())
    }

    async fn snapshot(&self, listed: &SnapshotRef, outcome: &mut CopyOutcome) -> Result<()> {
        let (mut omitted, mut read, mut sent) = (Vec::new(), 0, 0);
        loop {
            let to = self.loaded(None).await?;
            let scratch = Scratch::new(&to, "copy")?;
            let snapshot = match self.origin.read(listed, &scratch.0).await {
                Err(_) if self.origin.is_gone(listed.number).await => {
                    outcome.gone.push(listed.number);
                    return Ok(());
                }
                read => read?,
            };
            let OneCopy { outcome: done, error, gone } = copy_one(self, to, &snapshot, &omitted, &scratch.0).await;
            (read, sent) = (read + done.bytes.read, sent + done.bytes.sent);
            let Some(error) = error else {
                let copied = CopiedSnapshot { omitted: Sample::of(&omitted), ..CopiedSnapshot::of(&snapshot.snapshot, listed) };
                outcome.add(CopiedSnapshot { sent, read, ..copied }, done);
                return Ok(());
            };
            if gone {
                outcome.gone.push(listed.number);
                return Ok(());
            }
            let known = |problem: &Problem| omitted.iter().any(|other: &Problem| other.path == problem.path);
            if done.unread.first().iter().all(known) {
                return Err(error);
            }
            if !self.options.skip_damaged {
                return Err(outcome.lost(listed.number, &done.unread));
            }
            let lacks = |problem: &Problem| Problem {
                path: problem.path.clone(),
                problem: format!("lost, and not in this copy: {}", problem.problem),
            };
            omitted.extend(done.unread.first().iter().map(lacks));
        }
    }

    /// Does what a copy that was cut off after its last commit did not do any more: its cleanup, and the note of the time.
    async fn finish_earlier(&self, to: &Destination, outcome: &mut CopyOutcome) -> Result<()> {
        let Some((newest, _)) = to.snapshot() else { return Ok(()) };
        let Some(from) = &newest.copied else { return Ok(()) };
        let noted = to.records.copied_times().await.is_ok_and(|times| times.times.contains(&(newest.number, from.time)));
        let Some(head) = to.head.clone().filter(|_| !noted || cleanup::left_over(to).is_some()) else { return Ok(()) };
        let lease = Lease::take(to, &head.format, Claim::of(to, self.machine), &self.control.stop).await?;
        let cleared = tidy::clear(to, true, &lease).await;
        outcome.warnings.extend(cleared.err().map(|error| Warning::NotCleanedUp(error.to_string())));
        outcome.warnings.extend(replay::note_time(to).await);
        let released = lease.release(Vec::new()).await;
        outcome.warnings.extend(released.err().map(|error| Warning::LeaseNotReleased(error.to_string())));
        Ok(())
    }
}
