//! `check`: compares a destination with what its snapshots say must be there.
//!
//! Owns the flow: read manifests → merge them with one listing → look again → read contents back → write the record.
//! A check writes nothing at the destination but its record, takes no lease, and deletes nothing.
//! Invariant: a check requests the snapshots, the pages and the listing. It sends no request for a single content,
//! unless something is wrong or the run reads that content back.

mod confirm;
mod expect;
pub mod found;
mod history;
mod keys;
mod merge;
mod packs;
pub mod read;
pub mod record;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use offsite_backends::{Depth, Scope};

use self::confirm::Confirm;
use self::expect::{Expect, Expected, names};
pub(super) use self::found::{CheckFindings, Wrong};
use self::history::{History, lost_problem};
pub(super) use self::keys::key_of;
use self::merge::{Merge, MergeTotals};
use self::packs::PackNeeds;
pub(super) use self::read::ReadOptions;
use self::read::Reading;
pub use self::record::CheckRecord;
use self::record::{keep_here, where_to};
use super::control::RunControl;
use super::destination::Destination;
use super::download::download;
use super::lease::is_released;
use super::leftovers;
use super::machine::{Machine, PROGRAM};
use super::note::Note;
use super::outcome::{CheckOutcome, Flaw, ReadBack};
use super::query::resolve_at;
use super::scratch::Scratch;
use super::sync::packing::note_wrong;
use crate::error::{Error, Result};
use crate::manifest::{CacheReader, Format, Lost, PageSource, Records, SnapshotRef};
use crate::model::{Hash, Kind, Layout, RelPath, Sample, Snapshot};
use crate::spool::Sorter;
use crate::transfer::{Limit, Phase};

/// How to check.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// Check only what this snapshot needs. `None`: what any snapshot needs.
    pub at: Option<String>,
    /// The share of contents to read back: 0.05 is 5 %.
    pub read_data: Option<f64>,
    /// Write no check record at the destination.
    pub no_record: bool,
    /// Transfers in flight at most. `None`: as many as suit the store.
    pub transfers: Option<usize>,
    /// Limit of the download in bytes a second.
    pub limit_download: Option<u64>,
}

/// Checks a destination.
///
/// # Errors
/// A failure of the whole check: the newest snapshot cannot be read, or the store cannot be listed. The outcome has
/// what is wrong with single objects.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, CheckOptions, Flaw, RunControl};
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
///
/// // Reads 10 % of the contents back. Later checks read other contents, until a round is complete.
/// let options = CheckOptions { read_data: Some(0.1), ..CheckOptions::default() };
/// let checked = engine::check(&machine, &backup, &options, &RunControl::new(1)).await?;
/// let found = &checked.findings[0];
/// assert_eq!((checked.exit, found.flaw, found.path.to_string().as_str()), (1, Flaw::Missing, "index.html"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn check(machine: &Machine, url: &str, options: &CheckOptions, control: &RunControl) -> Result<CheckOutcome> {
    check_over(Destination::open(url, machine).await?, machine, options, control).await
}

/// Like [`check`], with a destination that is already open.
///
/// # Errors
/// [`Error::Usage`] if no snapshot exists or none fits `at`. [`Error::Damaged`] if the newest snapshot, or the one that
/// `at` names, cannot be read. [`Error::Interrupted`] if the run is stopped. Also if the store cannot be listed, or if
/// the cache cannot be written. The outcome has what is wrong with single objects.
pub async fn check_over(destination: Destination, machine: &Machine, options: &CheckOptions, control: &RunControl) -> Result<CheckOutcome> {
    let started = Instant::now();
    let scratch = Scratch::new(&destination, "check")?;
    let progress = control.progress.first().cloned().unwrap_or_default();
    progress.set_phase(Phase::Loading);
    let (newest, _, list) = resolve_at(&destination.records, None).await?;
    if newest.layout() == Layout::Packed {
        destination.backend.use_objects_only();
    }
    let at = match &options.at {
        None => None,
        Some(_) => Some(resolve_at(&destination.records, options.at.as_deref()).await?.0),
    };
    let asked = CheckRequest { destination: &destination, scratch: &scratch.0, newest: &newest, list: &list, at: at.as_ref(), copy: None };
    let surveyed = survey(&asked, options, control).await?;
    let mut outcome = outcome(&asked, &surveyed, options);
    if at.is_none() {
        let record = record(&destination, machine, options, &surveyed, &outcome);
        let note = if options.no_record { None } else { record.write(&destination.records).await.err() };
        outcome.recorded = !options.no_record && note.is_none();
        outcome.notes.extend(note.map(|error| Note::CheckUnrecorded(error.to_string())));
        if !outcome.recorded {
            keep_here(&destination, surveyed.before.as_ref(), &record)?;
        }
    }
    outcome.requests = destination.backend.meter().requests();
    outcome.seconds = started.elapsed().as_secs_f64();
    progress.set_phase(Phase::Finished);
    Ok(outcome)
}

/// What a survey compares.
pub struct CheckRequest<'a> {
    pub destination: &'a Destination,
    /// Directory for local files.
    pub scratch: &'a Path,
    pub newest: &'a Snapshot,
    pub list: &'a [SnapshotRef],
    /// Check only what this snapshot needs.
    pub at: Option<&'a Snapshot>,
    /// This machine's copy of the newest manifest, and the page object that was written with it. The check uses it if
    /// pages of the manifest at the destination cannot be read.
    pub copy: Option<(PathBuf, Option<Hash>)>,
}

/// What a survey found.
pub struct Surveyed {
    pub found: CheckFindings,
    seen: MergeTotals,
    snapshots: u64,
    /// Page objects of the newest manifest that have pages that cannot be read.
    pub damaged: Vec<Hash>,
    /// Foreign objects were counted, which takes all snapshots and all pages.
    foreign: bool,
    /// Key files that may not be read.
    keys_unread: u64,
    read: (u64, u64),
    next: (u32, f64),
    before: Option<CheckRecord>,
}

/// What must be at the destination.
struct CheckPlan {
    manifest: PathBuf,
    only: Option<PathBuf>,
    aside: Sorter<Expect>,
    /// At least one content is a version of the store.
    versions: bool,
    pages: Option<std::collections::HashSet<Hash>>,
    snapshots: u64,
    damaged: Vec<Hash>,
}

/// Checks without a record: writes nothing at the destination.
pub async fn survey(asked: &CheckRequest<'_>, options: &CheckOptions, control: &RunControl) -> Result<Surveyed> {
    let CheckRequest { destination, scratch, newest, .. } = asked;
    let progress = control.progress.first().cloned().unwrap_or_default();
    let number = asked.at.map_or(newest.number, |s| s.number);
    let mut found = CheckFindings::new(number, &scratch.join("wrong"))?;
    destination.records.read_headers();
    format(&destination.records, &mut found).await?;
    let keys_unread = keys::compare(destination, &mut found).await?;
    let plan = expectations(asked, &mut found, control).await?;
    let before = CheckRecord::read(&destination.records).await?;
    let (from, rotten) = where_to(destination, before.as_ref());
    let spool = scratch.join("read");
    let mut reading = Reading::new(from, options.read_data.unwrap_or(0.0), rotten.into_iter().collect(), &spool)?;
    progress.set_phase(Phase::Scanning);
    let depth = if plan.versions { Depth::Everything } else { Depth::Current };
    let only = plan.only.as_deref().map(|path| CacheReader::open(path, None)).transpose()?;
    let (missed, changed) = (scratch.join("missed"), scratch.join("changed"));
    let manifest = match newest.layout() {
        Layout::Mirror => CacheReader::open(&plan.manifest, None)?,
        // The packs are all in `aside`.
        Layout::Packed => CacheReader::none(),
    };
    let merge = Merge {
        expected: Expected::new(manifest, plan.aside.finish()?, only)?,
        found: &mut found,
        reading: &mut reading,
        tree: destination.backend.tree().is_some(),
        pages: plan.pages.as_ref(),
        stop: &control.stop,
        progress: &progress,
        missed: &missed,
        changed: &changed,
        spill: scratch,
    };
    let mut seen = merge.run(destination.backend.list(Scope::Prefix, depth)).await?;
    seen.lease = seen.lease && !is_released(&destination.records).await?;
    let mut confirm = Confirm {
        records: &destination.records,
        rules: &newest.keys,
        tree: destination.backend.tree(),
        found: &mut found,
        reading: &mut reading,
        stop: &control.stop,
    };
    confirm.run(&missed, &changed).await?;
    if asked.at.is_none_or(|at| at.number == newest.number) {
        confirm.others(CacheReader::open(&plan.manifest, None)?).await?;
    }
    let how = how(destination, options, control);
    let read = reading.run(&how, &mut found, &spool).await?;
    packs::tell_files(&plan.manifest, &mut found)?;
    note_wrong(destination, found.wrong_packs.keys().copied())?;
    found.flush()?;
    let next = if options.read_data.is_some() { reading.next() } else { (from, 0.0) };
    let (snapshots, damaged, foreign) = (plan.snapshots, plan.damaged, plan.pages.is_some());
    Ok(Surveyed { found, seen, snapshots, damaged, foreign, keys_unread, read, next, before })
}

pub fn how(destination: &Destination, options: &CheckOptions, control: &RunControl) -> ReadOptions {
    ReadOptions {
        records: destination.records.clone(),
        transfers: options.transfers.unwrap_or(destination.backend.capabilities().transfers.max(8)),
        limit: Arc::new(Limit::new(options.limit_download)),
        progress: control.progress.first().cloned().unwrap_or_default(),
        stop: Arc::clone(&control.stop),
    }
}

/// Notes a finding if `format.json` is missing or cannot be read.
async fn format(records: &Records, found: &mut CheckFindings) -> Result<()> {
    let (flaw, problem) = match records.format().await {
        Ok(Some(_)) => return Ok(()),
        Ok(None) => (Flaw::Missing, "not found".to_owned()),
        Err(error @ Error::Damaged { .. }) => (Flaw::Damaged, error.to_string()),
        Err(error) => return Err(error),
    };
    let newest = found.newest;
    found.flaw(flaw, RelPath::from(Format::KEY), problem, (newest, newest));
    Ok(())
}

/// Everything that must be there, from the manifests.
async fn expectations(asked: &CheckRequest<'_>, found: &mut CheckFindings, control: &RunControl) -> Result<CheckPlan> {
    let CheckRequest { destination, scratch, newest, list, at, copy } = asked;
    let records = &destination.records;
    let mut manifest = scratch.join("manifest");
    let (_, mut lost) = download(records, newest, &manifest, true, |_, _| true).await?;
    if let Some((copy, own)) = copy.as_ref().filter(|_| !lost.is_empty()) {
        lost.extend(lost_leaves(records, copy, *own).await?);
    }
    for lost in &lost {
        let key = lost.object.map_or_else(|| ".offsite/pages/".to_owned(), |object| Records::pages_object_key(&object));
        found.flaw(Flaw::Damaged, RelPath::from(key.as_str()), lost_problem(lost)?, (newest.number, newest.number));
    }
    let mut whole = lost.is_empty();
    if let Some((copy, _)) = copy.as_ref().filter(|_| !lost.is_empty()) {
        manifest.clone_from(copy);
        whole = true;
    }
    let mut aside = Sorter::new(scratch, Expect::order);
    let damaged = lost.iter().filter_map(|l| l.object).collect();
    if let Some(at) = at {
        let only = scratch.join("at");
        let (_, lost) = download(records, at, &only, true, |_, _| true).await?;
        for lost in &lost {
            found.flaw(Flaw::Damaged, RelPath::from(lost.first.as_bytes()), lost_problem(lost)?, (at.number, at.number));
        }
        if newest.layout() == Layout::Packed {
            let mut packs = PackNeeds::default();
            packs.add_manifest(&only, at.number)?;
            packs.expect(records, at.number, &mut aside)?;
            return Ok(CheckPlan { manifest: only, only: None, aside, versions: false, pages: None, snapshots: 1, damaged });
        }
        let versions = of_one(&manifest, &only, at, &mut aside)? | odd(&manifest, Some(&only), &mut aside)?;
        return Ok(CheckPlan { manifest, only: Some(only), aside, versions, pages: None, snapshots: 1, damaged });
    }
    let mut versions = odd(&manifest, None, &mut aside)?;
    let mut history = History::new(records, &control.stop, found, newest);
    history.read(list, newest, &manifest, &mut aside).await?;
    if newest.left {
        leftovers::listed(records, newest.layout(), |key| aside.push(&Expect::left(key))).await?;
    }
    versions |= history.versions;
    if let Some(mut packs) = history.packs.take() {
        packs.add_manifest(&manifest, newest.number)?;
        packs.expect(records, newest.number, &mut aside)?;
    }
    let (objects, snapshots, readable) = (std::mem::take(&mut history.objects), history.snapshots, history.whole);
    let pages = (whole && readable).then_some(objects);
    Ok(CheckPlan { manifest, only: None, aside, versions, pages, snapshots, damaged })
}

/// The pages of entries that cannot be read. Pages below a lost inner page are known only from this machine's copy.
async fn lost_leaves(records: &Records, copy: &Path, own: Option<Hash>) -> Result<Vec<Lost>> {
    let mut reader = CacheReader::open(copy, own)?;
    let mut leaves = Vec::new();
    while let Some(head) = reader.next_block()? {
        leaves.push(head.page.clone());
    }
    let mut lost = Vec::new();
    PageSource::new(records.clone())
        .read(leaves, |leaf| {
            leaf.err().into_iter().for_each(|gone| gone.add_to(&mut lost));
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    Ok(lost)
}

/// Adds to `aside` the contents of the newest manifest that are not stored under their paths. Returns whether any
/// content of the newest manifest is a version of the store.
fn odd(manifest: &Path, only: Option<&Path>, aside: &mut Sorter<Expect>) -> Result<bool> {
    let mut reader = CacheReader::open(manifest, None)?;
    let mut only = only.map(|path| CacheReader::open(path, None)).transpose()?;
    let mut versions = false;
    while let Some(known) = reader.peek()? {
        let entry = if known.kind() == Kind::File { Some(known.entry()?) } else { None };
        reader.advance();
        let Some(content) = entry.as_ref().and_then(|e| e.content.as_ref()) else { continue };
        versions |= content.version.is_some();
        if let Some(entry) = entry.filter(|e| e.content.as_ref().is_some_and(|c| c.key.is_some()))
            && only.as_mut().map_or(Ok(true), |only| names(only, &entry))?
        {
            aside.push(&Expect::current(entry))?;
        }
    }
    Ok(versions)
}

/// Adds to `aside` the contents of one older snapshot that the newest does not have. Returns whether any of them is a
/// version of the store.
fn of_one(manifest: &Path, only: &Path, at: &Snapshot, aside: &mut Sorter<Expect>) -> Result<bool> {
    let (mut newest, mut reader) = (CacheReader::open(manifest, None)?, CacheReader::open(only, None)?);
    let mut versions = false;
    while let Some(known) = reader.peek()? {
        let entry = if known.kind() == Kind::File { Some(known.entry()?) } else { None };
        reader.advance();
        let Some(entry) = entry else { continue };
        if let Some(content) = entry.content.clone()
            && !names(&mut newest, &entry)?
        {
            versions |= content.version.is_some();
            aside.push(&Expect::kept(entry, &content, &at.keys, at.number, at.number))?;
        }
    }
    Ok(versions)
}

fn notes(asked: &CheckRequest<'_>, surveyed: &Surveyed) -> Vec<Note> {
    let Surveyed { found, seen, .. } = surveyed;
    // A file tree is listed by walking it, so its order says nothing about the store.
    let sorted = seen.sorted && !asked.newest.keys.any_name;
    let unlisted = if asked.newest.keys.folds() { Note::OtherSpelling } else { Note::Unlisted };
    let known = [
        sorted.then_some(Note::ListingSorted),
        (found.unlisted > 0).then(|| unlisted(found.unlisted)),
        (seen.lease || found.aside > 0).then_some(Note::Unfinished),
        (!surveyed.foreign && asked.at.is_none()).then_some(Note::ForeignUncounted),
        (surveyed.keys_unread > 0).then_some(Note::KeysUnread(surveyed.keys_unread)),
    ];
    known.into_iter().flatten().collect()
}

fn outcome(asked: &CheckRequest<'_>, surveyed: &Surveyed, options: &CheckOptions) -> CheckOutcome {
    let Surveyed { found, seen, .. } = surveyed;
    let (files, bytes) = surveyed.read;
    let read = options.read_data.map(|share| ReadBack { share, files, bytes, round: surveyed.next.1 });
    CheckOutcome {
        url: asked.destination.backend.location().to_string(),
        snapshot: found.newest,
        snapshots: surveyed.snapshots,
        layout: asked.newest.layout(),
        contents: seen.contents,
        bytes: seen.bytes,
        listed: seen.listed,
        missing: found.missing,
        changed: found.changed,
        damaged: found.damaged,
        foreign: found.foreign,
        foreign_bytes: found.foreign_bytes,
        strays: found.strays,
        aside: found.aside,
        touched: found.touched,
        read,
        findings: found.findings.clone(),
        foreign_listed: found.foreign_listed.clone(),
        unread: found.unread.clone(),
        unread_total: found.unread.cut(),
        notes: notes(asked, surveyed),
        exit: if found.any() { 1 } else { 3 * u8::from(!found.unread.is_empty()) },
        ..CheckOutcome::default()
    }
}

fn record(
    destination: &Destination,
    machine: &Machine,
    options: &CheckOptions,
    surveyed: &Surveyed,
    outcome: &CheckOutcome,
) -> CheckRecord {
    let found = &surveyed.found;
    let now = destination.backend.meter().clock().unwrap_or_else(chrono::Utc::now);
    CheckRecord {
        time: now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        host: machine.host.clone(),
        program: PROGRAM.into(),
        snapshot: found.newest,
        result: ["good", "wrong", "", "partly"][usize::from(outcome.exit)].into(),
        missing: found.missing,
        changed: found.changed,
        damaged: found.damaged,
        foreign: found.foreign,
        contents: outcome.contents,
        bytes: outcome.bytes,
        share: options.read_data.unwrap_or(0.0),
        read: surveyed.read.0,
        read_bytes: surveyed.read.1,
        next: surveyed.next.0,
        rotten: Sample::of(&found.rotten),
    }
}
