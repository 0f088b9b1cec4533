//! `repair`: makes a destination equal to its newest snapshot again, as far as the source has the contents.
//!
//! Owns the flow: check → plan → guard → lease → send → commit. A repair deletes nothing, and keeps no copy of an
//! object that it replaces, because that object is not the content that the manifest names.
//! Invariants: a repair plans to send only contents whose hash is the one in the manifest. A lost content stays in the
//! manifest, so that a pull names it. The next sync on this machine reads its file again and sends what is there then.

mod change;
mod fix;
mod guard;
mod keys;
pub mod options;
mod other;
mod source;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use object_store::PutMode;
use offsite_backends::{self as backends, Backend};

use self::keys::KeyRepair;
use self::options::RepairOptions;
use self::other::RepairContents;
use self::source::{ContentsAt, RepairPlan, plan};
use super::check::{CheckOptions, CheckRequest, ReadOptions, Surveyed, how, survey};
use super::clock::coarse_now;
use super::commit::still_newest;
use super::control::{RunControl, WINDOW};
use super::copy::origin::CopyOrigin;
use super::destination::{Destination, Head};
use super::lease::{Claim, Lease};
use super::machine::Machine;
use super::note::Note;
use super::outcome::{Finding, RepairOutcome};
use super::paths::apart;
use super::scratch::Scratch;
use super::sync::packing;
use super::{commit, dir_metadata};
use crate::error::{Error, Result};
use crate::manifest::Format;
use crate::model::{Counts, Layout, Problem, Snapshot, Time};
use crate::scan::Root;
use crate::spool::Sorter;
use crate::transfer::{
    Conditions, Header, Journal, Limit, Phase, Resumed, SharedReader, StoredContents, Target, Undone, abort_stale, file_meta, place,
    upload_objects, upload_packed, upload_tree,
};
use change::Fix;
use fix::merge;
use guard::guard;

/// Name of the journal of what the repair has sent.
const JOURNAL: &str = "repair-journal";

/// Repairs a destination from a source.
///
/// # Errors
/// Those of a sync, and [`Error::Damaged`] if the newest manifest cannot be read and this machine has no copy of it.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, RepairOptions, RunControl};
/// # use offsite::engine::{Machine, SyncOptions};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # let urls = [backup.clone()];
/// # engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// std::fs::remove_file(at("backup/index.html"))?;
/// let options = RepairOptions { read_data: Some(1.0), ..RepairOptions::default() };
/// let repaired = engine::repair(&machine, &site, &backup, &options, &RunControl::new(1)).await?;
/// assert_eq!((repaired.exit, repaired.wrong, repaired.repaired, repaired.sent), (0, 1, 1, 14));
/// assert!(repaired.lost.is_empty() && at("backup/index.html").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn repair(machine: &Machine, source: &Path, url: &str, options: &RepairOptions, control: &RunControl) -> Result<RepairOutcome> {
    repair_over(machine, source, backends::open(url).await?, options, control).await
}

/// Like [`repair`], with a backend that is already open.
///
/// # Errors
/// [`Error::Usage`] if source and destination contain each other, or if the destination was never synced.
/// [`Error::Busy`] if another run has the lock or the lease, or if a sync of this machine was interrupted.
/// [`Error::Damaged`] if the newest manifest cannot be read and this machine has no copy of it. [`Error::Refused`] by
/// the guard, or if the source cannot be read.
pub async fn repair_over(
    machine: &Machine,
    source: &Path,
    backend: Arc<dyn Backend>,
    options: &RepairOptions,
    control: &RunControl,
) -> Result<RepairOutcome> {
    apart(source, &backend)?;
    repair_with(machine, RepairFrom::Source(source), backend, options, control).await
}

/// Repairs a destination from another one of the same source, without that source.
///
/// # Errors
/// Those of [`repair_over`], and those of opening the other destination.
pub async fn repair_from(machine: &Machine, from: &str, url: &str, options: &RepairOptions, control: &RunControl) -> Result<RepairOutcome> {
    let (from, backend) = futures::try_join!(backends::open(from), backends::open(url))?;
    repair_from_over(machine, from, backend, options, control).await
}

/// Like [`repair_from`], with backends that are already open.
///
/// # Errors
/// Those of [`repair_from`].
pub async fn repair_from_over(
    machine: &Machine,
    from: Arc<dyn Backend>,
    backend: Arc<dyn Backend>,
    options: &RepairOptions,
    control: &RunControl,
) -> Result<RepairOutcome> {
    if from.location().identity() == backend.location().identity() {
        return Err(Error::Usage(format!("{}: a destination cannot be repaired from itself; name another one", from.location())));
    }
    let origin = CopyOrigin::open(from, machine).await?;
    repair_with(machine, RepairFrom::Other(Box::new(origin)), backend, options, control).await
}

/// Where a repair gets contents.
enum RepairFrom<'a> {
    Source(&'a Path),
    Other(Box<CopyOrigin>),
}

async fn repair_with(
    machine: &Machine,
    from: RepairFrom<'_>,
    backend: Arc<dyn Backend>,
    options: &RepairOptions,
    control: &RunControl,
) -> Result<RepairOutcome> {
    let started = Instant::now();
    let progress = control.progress.first().cloned().unwrap_or_default();
    progress.set_phase(Phase::Loading);
    let (mut destination, snapshot) = load(machine, backend, options.append_only).await?;
    let scratch = Scratch::new(&destination, "repair")?;
    let list = destination.records.snapshots(None).await?;
    let checking = CheckOptions {
        read_data: options.read_data,
        transfers: options.transfers,
        limit_download: options.limit_download,
        ..CheckOptions::default()
    };
    let copy = destination.head.as_ref().and_then(|head| Some((destination.local(head.file.as_ref()?), head.own)));
    let asked = CheckRequest { destination: &destination, scratch: &scratch.0, newest: &snapshot, list: &list, at: None, copy };
    let surveyed = survey(&asked, &checking, control).await?;
    let contents = match from {
        RepairFrom::Source(source) => RepairContents::Source(Arc::new(Root::open(source).map_err(|e| missing_source(source, &e))?)),
        RepairFrom::Other(origin) => RepairContents::Other(Box::new(other::find(*origin, &scratch.0).await?)),
    };
    let how = how(&destination, &checking, control);
    let at = match &contents {
        RepairContents::Source(root) => ContentsAt::Source(root),
        RepairContents::Other(other) => ContentsAt::Other(other),
    };
    let planned = plan(at, &destination, &how, &scratch.0).await?;
    let keys = KeyRepair::new(&destination, &surveyed.found.findings);
    let mut outcome = outcome(&destination, &snapshot, &surveyed, &planned);
    outcome.repaired += keys.count();
    outcome.lost.extend(keys.lost.iter().cloned());
    guard(&contents, &snapshot, &planned, &destination, options)?;
    outcome.dry_run = options.dry_run;
    let mut work =
        RepairRun { machine, destination: &mut destination, snapshot: &snapshot, contents, options, control, how, scratch: &scratch.0 };
    if !options.dry_run {
        let done = work.run(&surveyed, &planned, &keys).await?;
        outcome.repaired -= done.unsent.len() as u64;
        match &work.contents {
            RepairContents::Source(_) => outcome.unread.extend(done.unsent),
            // Its hash was compared: the other destination does not have the content either.
            RepairContents::Other(_) => outcome.lost.extend(done.unsent.into_iter().map(|unsent| other::lost(unsent, snapshot.number))),
        }
        outcome.sent = done.sent;
        outcome.snapshot = done.snapshot;
        outcome.notes.extend(done.note);
    }
    outcome.unread_total = outcome.unread.cut();
    outcome.exit = if outcome.lost.is_empty() { 3 * u8::from(!outcome.unread.is_empty()) } else { 1 };
    outcome.requests = destination.backend.meter().requests();
    outcome.seconds = started.elapsed().as_secs_f64();
    progress.set_phase(Phase::Finished);
    Ok(outcome)
}

/// Opens and locks the destination, and brings its newest manifest to this machine.
async fn load(machine: &Machine, backend: Arc<dyn Backend>, append_only: bool) -> Result<(Destination, Snapshot)> {
    let mut destination = Destination::over(backend, machine)?;
    if append_only {
        destination.append_only()?;
    }
    destination.lock()?;
    destination.unlock_for_run(&machine.keys).await?;
    destination.may_write()?;
    let url = destination.backend.location().to_string();
    destination.load(false, false).await.map_err(|error| match error {
        Error::Damaged { object, what } => Error::damaged(
            object,
            format_args!(
                "{what}; this machine has no copy of that manifest; run repair where the last sync ran, or rebuild the manifest \
                 with `offsite sync --adopt`"
            ),
        ),
        error => error,
    })?;
    let Some((snapshot, _)) = destination.snapshot().cloned() else {
        return Err(Error::Usage(format!("{url}: it was never synced")));
    };
    if destination.local("journal").exists() {
        return Err(Error::Busy(format!("{url}: a sync of this machine was interrupted; run it again, then repair")));
    }
    Ok((destination, snapshot))
}

fn missing_source(source: &Path, error: &std::io::Error) -> Error {
    Error::Refused(vec![format!("the source {} cannot be read ({error}), so nothing at the destination was touched", source.display())])
}

/// The outcome before anything is sent. `lost` has what a repair cannot correct: contents that the source does not
/// have, and findings that affect only older snapshots.
fn outcome(destination: &Destination, snapshot: &Snapshot, surveyed: &Surveyed, planned: &RepairPlan) -> RepairOutcome {
    let found = &surveyed.found;
    let old = |f: &&Finding| f.last_snapshot < snapshot.number;
    let mut lost: Vec<Finding> = planned.lost.iter().cloned().chain(found.findings.iter().filter(old).cloned()).collect();
    lost.sort_by(|a, b| a.path.cmp(&b.path));
    let mut unread = found.unread.clone();
    unread.absorb(planned.unread.clone());
    RepairOutcome {
        url: destination.backend.location().to_string(),
        base: snapshot.number,
        wrong: found.missing + found.changed + found.damaged,
        repaired: planned.files + planned.others,
        sent: planned.bytes,
        taken_over: planned.taken_over,
        pages: !surveyed.damaged.is_empty(),
        lost,
        unread,
        ..RepairOutcome::default()
    }
}

/// What a repair did.
#[derive(Default)]
struct Repaired {
    /// Planned files that were not sent, for example because they disappeared from the source.
    unsent: Vec<Problem>,
    /// Bytes that were sent.
    sent: u64,
    /// The number of the new snapshot, if one was needed.
    snapshot: Option<u64>,
    note: Option<Note>,
}

/// A repair that passed the guard.
struct RepairRun<'a> {
    machine: &'a Machine,
    destination: &'a mut Destination,
    snapshot: &'a Snapshot,
    contents: RepairContents,
    options: &'a RepairOptions,
    control: &'a RunControl,
    how: ReadOptions,
    scratch: &'a Path,
}

impl RepairRun<'_> {
    async fn run(&mut self, surveyed: &Surveyed, planned: &RepairPlan, keys: &KeyRepair) -> Result<Repaired> {
        let format = surveyed.found.findings.iter().any(|f| f.path.as_bytes() == Format::KEY.as_bytes());
        if planned.is_idle() && surveyed.damaged.is_empty() && !format && keys.count() == 0 {
            self.look_again(planned)?;
            return Ok(Repaired::default());
        }
        let Some(head) = self.destination.head.clone() else { return Ok(Repaired::default()) };
        let claim = Claim::of(self.destination, self.machine);
        let run = claim.run.clone();
        let lease = Lease::take(self.destination, &head.format, claim, &self.control.stop).await?;
        let written = async {
            still_newest(self.destination).await?;
            if format {
                self.destination.records.write(Format::KEY, &head.format, PutMode::Overwrite).await?;
            }
            keys.put_back(self.destination).await?;
            self.write(surveyed, planned, (&head, &lease), run).await
        };
        match written.await {
            Ok(done) => {
                let note = lease.release(Vec::new()).await.err();
                Ok(Repaired { note: note.map(|error| Note::LeaseNotReleased(error.to_string())), ..done })
            }
            Err(error) => {
                lease.mark_interrupted().await;
                Err(error)
            }
        }
    }

    /// Writes under the lease: first contents, then the manifest that names them, then the times in a tree.
    async fn write(&mut self, surveyed: &Surveyed, planned: &RepairPlan, (head, lease): (&Head, &Lease), run: String) -> Result<Repaired> {
        let start = coarse_now();
        let journal = self.destination.local(JOURNAL);
        let unsent = self.send(planned, (head, lease), &run, &journal).await?;
        let packed = self.destination.layout() == Layout::Packed;
        let sent = if packed { &self.how.progress.packed } else { &self.how.progress.bytes }.load(Relaxed);
        self.how.progress.set_phase(Phase::Commit);
        let snapshot = self.commit(surveyed, planned, &journal, (start, run, sent)).await?;
        if self.destination.layout() == Layout::Packed {
            packing::delete_unnamed(self.destination, &journal).await?;
        }
        let _ = std::fs::remove_file(&journal);
        self.how.progress.set_phase(Phase::Cleanup);
        self.settle(planned).await?;
        Ok(Repaired { unsent, sent, snapshot, note: None })
    }

    /// Sends the planned files, and returns those that were not sent.
    async fn send(&self, planned: &RepairPlan, (head, lease): (&Head, &Lease), run: &str, path: &Path) -> Result<Vec<Problem>> {
        let backend = Arc::clone(&self.destination.backend);
        if let Some(left) = Resumed::read(path)?.filter(|left| left.header.destination == head.format.id) {
            if self.destination.layout() == Layout::Packed {
                packing::delete_abandoned(self.destination, path, left.header.number).await?;
            }
            abort_stale(&backend, left).await?;
        }
        let header = Header { destination: head.format.id.clone(), run: run.to_owned(), number: self.snapshot.number + 1 };
        let journal = Arc::new(Mutex::new(Journal::create(path, header)?));
        let progress = Arc::clone(&self.how.progress);
        for counter in [&progress.files, &progress.bytes] {
            counter.store(0, Relaxed);
        }
        progress.files_total.store(planned.files, Relaxed);
        progress.bytes_total.store(planned.bytes, Relaxed);
        progress.set_phase(Phase::Transfer);
        let target = Arc::new(self.target(&backend, lease));
        let (shared_reader, stored) = match &self.contents {
            RepairContents::Source(root) => (SharedReader::new(Arc::clone(root), 1, 0), None),
            RepairContents::Other(other) => {
                let (records, rules) = (other.origin.records().clone(), other.rules.clone());
                let limit = Arc::new(Limit::new(self.options.limit_download));
                let stored = Arc::new(StoredContents::new(records, rules, other.number, &other.wanted, limit, Arc::clone(&target.stop)));
                (SharedReader::over(Arc::new(Arc::clone(&stored))), Some(stored))
            }
        };
        let shared_reader = Arc::new(shared_reader);
        let nothing = || Sorter::new(self.scratch, |d: &crate::transfer::Done| d.entry.path.as_bytes()).finish();
        let layout = self.destination.layout();
        let sent = match backend.tree() {
            _ if layout == Layout::Packed => {
                let mut packed = packing::open(self.destination, &head.format.id).await?;
                let sent = upload_packed(&target, &mut packed, &shared_reader, &planned.lines, &journal, nothing()?).await;
                sent.and_then(|()| packed.known.keep())
            }
            Some(tree) => {
                tree.clear_staging().await?;
                match upload_tree(&target, &tree, &shared_reader, &planned.lines, &journal, nothing()?).await {
                    Ok(()) => Ok(tree.sync().await?),
                    failed => failed,
                }
            }
            None => upload_objects(&target, &shared_reader, &planned.lines, &journal, None, nothing()?).await,
        };
        // A failure of the store that is read stopped the transfer.
        if let Some(error) = stored.and_then(|stored| stored.failure()) {
            return Err(error);
        }
        sent?;
        let findings = std::mem::take(&mut *target.findings.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let vanished = findings.vanished.into_iter();
        let vanished = vanished.map(|path| Problem { path, problem: "it disappeared from the source".into() });
        Ok(findings.unread.into_iter().chain(vanished).collect())
    }

    fn target(&self, backend: &Arc<dyn Backend>, lease: &Lease) -> Target {
        Target {
            index: 0,
            store: backend.store(),
            rules: self.destination.rules(),
            number: self.snapshot.number + 1,
            // An object in place of a content is not that content, so nothing must be kept.
            keeps: false,
            careful: false,
            // The manifest does not know that object, so no request has a condition on it.
            conditions: Conditions::default(),
            transfers: self.options.transfers.unwrap_or(backend.capabilities().transfers),
            backend: Arc::clone(backend),
            window: WINDOW,
            limit: Arc::new(Limit::new(self.options.limit_upload)),
            progress: Arc::clone(&self.how.progress),
            stop: Arc::clone(&lease.stop),
            // What is there may be what is to be repaired.
            blocks: None,
            versioned: AtomicBool::new(false),
            findings: Mutex::default(),
            doubt: crate::transfer::Doubt::default(),
        }
    }

    /// Commits a snapshot that names what was sent. `None` if the manifest is unchanged, so that no snapshot is needed.
    async fn commit(
        &mut self,
        surveyed: &Surveyed,
        planned: &RepairPlan,
        journal: &Path,
        (start, run, sent): (Time, String, u64),
    ) -> Result<Option<u64>> {
        let fixes = fix::sorted(self.scratch, planned, Some(journal))?;
        let name = format!("tree-{:016x}", crate::random());
        let merged = tokio::task::block_in_place(|| merge(self.destination, fixes, surveyed.damaged.clone(), self.scanned(start), &name))?;
        self.control.stop.check()?;
        if merged.packed.root == self.snapshot.root && merged.packed.object.is_none() {
            self.keep(name)?;
            return Ok(None);
        }
        let mut snapshot =
            commit::draft(self.destination, run, self.machine.host.clone(), self.snapshot.source.clone(), self.snapshot.tree.clone());
        snapshot.unread.clone_from(&self.snapshot.unread);
        (snapshot.unread_total, snapshot.troubles) = (self.snapshot.unread_total, self.snapshot.troubles.clone());
        snapshot.copied.clone_from(&self.snapshot.copied);
        snapshot.sent = sent;
        snapshot.left |= !self.destination.backend.deletes();
        let changed = planned.files + planned.taken_over;
        snapshot.changes = Counts { changed, unchanged: merged.totals.entries.saturating_sub(changed), ..Counts::default() };
        Ok(Some(commit::commit(self.destination, snapshot, merged, Some(name)).await?))
    }

    /// When the source was read. `None` if no source was.
    fn scanned(&self, start: Time) -> Option<Time> {
        matches!(self.contents, RepairContents::Source(_)).then_some(start)
    }

    /// Marks lost files in the cache, so that the next sync reads them again. Nothing is written at the destination.
    fn look_again(&mut self, planned: &RepairPlan) -> Result<()> {
        if planned.fixes == 0 {
            return Ok(());
        }
        let name = format!("tree-{:016x}", crate::random());
        let fixes = fix::sorted(self.scratch, planned, None)?;
        tokio::task::block_in_place(|| merge(self.destination, fixes, Vec::new(), Some(Time::default()), &name))?;
        self.keep(name)
    }

    /// Makes `file` the cache of the unchanged manifest. Only the stamps that this machine remembers are new.
    fn keep(&mut self, file: String) -> Result<()> {
        let _ = std::fs::remove_file(self.destination.local("pack"));
        match self.destination.head.clone() {
            Some(head) => self.destination.keep_head(Head { file: Some(file), ..head }),
            None => Ok(()),
        }
    }

    /// Sets the metadata of files whose mtime alone was wrong, then that of directories in which the repair wrote.
    async fn settle(&self, planned: &RepairPlan) -> Result<()> {
        let Some(tree) = self.destination.backend.tree() else { return Ok(()) };
        let rules = self.destination.rules();
        let mut touched = crate::spool::Reader::<Fix>::open(&planned.touched)?;
        while let Some(Fix { entry: Some(entry), .. }) = touched.next_line()? {
            if let Some(place) = place(&rules, &entry) {
                tree.set_meta(&place, file_meta(&entry)).await?;
            }
        }
        let mut undone = Undone::default();
        dir_metadata::settle(&tree, self.destination.base()?, &planned.lines, |e| place(&rules, e).is_none(), file_meta, &mut undone)
            .await?;
        Ok(undone.strict()?)
    }
}
