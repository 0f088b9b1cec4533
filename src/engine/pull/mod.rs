//! `pull`: restores a snapshot, or a part of one, into a directory.
//!
//! Owns the flow: manifest → comparison with the target → guard → free space → changes of the target (`target.rs`) →
//! outcome. Invariant: the manifest is not trusted. Its paths are checked when it is read, and only a tree that
//! follows no symlink and stays below its root changes the target.

mod compare;
pub mod options;
pub mod privileges;
mod target;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use offsite_backends::file::LocalTree;
use offsite_backends::{Restore, Tree};

use super::control::RunControl;
use super::destination::Destination;
use super::download::download;
use super::machine::Machine;
use super::note::{ArchiveRequest, Note};
use super::outcome::PullOutcome;
use super::scratch::Scratch;
use crate::engine::pull::options::{PullOptions, STAGING};
use crate::error::{Error, Result};
use crate::manifest::{KeyRules, Lost, probe_disk};
use crate::model::{DiskRules, Problem, Snapshot, plural};
use crate::plan::judge;
use crate::scan::Root;
use crate::transfer::{Archived, Phase, of_target};
use compare::{PullComparison, PullPlan};
use target::{Pull, Pulled};

/// Restores from a destination into a directory. It creates the directory if it does not exist.
///
/// # Errors
/// [`Error::Usage`] for a snapshot that does not exist, or if the target is a destination; [`Error::Refused`] by the
/// guard; errors of the whole target or the whole store. What concerns one entry is in the outcome.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, PullOptions, RunControl};
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
/// // Undoes every change that was made since snapshot 1.
/// std::fs::write(site.join("index.html"), "defaced")?;
/// std::fs::write(site.join("virus.html"), "")?;
/// let options = PullOptions { at: Some("1".into()), delete: true, ..PullOptions::default() };
/// let pulled = engine::pull(&machine, &backup, &site, &options, &RunControl::new(1)).await?;
/// assert_eq!((pulled.exit, pulled.files, pulled.changes.removed), (0, 1, 1));
/// assert_eq!(std::fs::read_to_string(site.join("index.html"))?, "<h1>hello</h1>");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn pull(machine: &Machine, url: &str, target: &Path, options: &PullOptions, control: &RunControl) -> Result<PullOutcome> {
    pull_over(Destination::open_contents(url, machine).await?, target, options, control).await
}

/// Like [`pull`], from a destination that is already open.
///
/// # Errors
/// Those of [`pull`], except those of opening the destination. Changes until the error stay.
pub async fn pull_over(destination: Destination, target: &Path, options: &PullOptions, control: &RunControl) -> Result<PullOutcome> {
    pull_onto(destination, target, |tree| tree, options, control).await
}

/// Like [`pull_over`], onto the tree that `through` makes of the target's tree.
///
/// # Errors
/// Those of [`pull_over`]. An error of the new tree counts as one of the target.
pub async fn pull_onto(
    mut destination: Destination,
    target: &Path,
    through: impl FnOnce(Arc<dyn Tree>) -> Arc<dyn Tree>,
    options: &PullOptions,
    control: &RunControl,
) -> Result<PullOutcome> {
    let started = Instant::now();
    let scratch = Scratch::new(&destination, "pull")?;
    let progress = control.progress.first().cloned().unwrap_or_default();
    progress.set_phase(Phase::Loading);
    destination.records.opens_contents()?;
    let (snapshot, _) = destination.resolve(options.at.as_deref()).await?;
    new_enough(&destination, &snapshot, options.at_least)?;
    let manifest = scratch.0.join("manifest");
    let wanted = |first: &[u8], end: Option<&[u8]>| touches(&options.prefixes, first, end);
    let (_, lost) = download(&destination.records, &snapshot, &manifest, true, wanted).await?;
    let open = open(target, options.dry_run).await?.map(|open| OpenTarget { tree: through(open.tree), ..open });
    progress.set_phase(Phase::Scanning);
    let kept = options.privileges.of(&snapshot);
    let (plan, links) = (scratch.0.join("plan"), scratch.0.join("links"));
    let root = open.as_ref().map(|open| Arc::clone(&open.root));
    let rules = KeyRules::any();
    let mut how = PullComparison { root, manifest: &manifest, plan: &plan, links: &links, options, kept, rules, stop: &control.stop };
    let compared = compared(&mut how, open.as_ref(), !lost.is_empty()).await?;
    judged(&compared, &destination, options, snapshot.number, lost.is_empty())?;
    let mut outcome = PullOutcome {
        url: destination.backend.location().to_string(),
        snapshot: snapshot.number,
        changes: compared.facts.counts,
        left_out: compared.left_out,
        problems: lost.iter().map(lost_problem).collect(),
        ..PullOutcome::default()
    };
    outcome.problems.absorb(compared.problems.clone());
    let open = open.filter(|_| !options.dry_run && compared.any());
    if let Some(open) = open {
        room(target, compared.growth)?;
        progress.begin_transfer(compared.facts.uploads, compared.facts.bytes);
        let (destination, copies) = (&destination, &scratch.0.join("copies"));
        let (snapshot, rules) = (&snapshot, how.rules);
        let (tree, plan, links, manifest) = (open.tree, &plan, &links, &manifest);
        let pull = Pull { destination, snapshot, tree, plan, links, copies, manifest, options, kept, rules, control };
        let pulled = pull.carry_out().await?;
        outcome = pulled.into_outcome(outcome, options);
    } else if options.dry_run {
        outcome.files = compared.facts.uploads;
        outcome.bytes = compared.facts.bytes;
    }
    let sparse = compared.unsized_sparse;
    outcome.notes.extend((sparse > 0).then_some(Note::SparseUncounted(sparse)));
    outcome.notes.extend(Note::of(&options.filter, None));
    outcome.requests = destination.backend.meter().requests();
    outcome.problems_total = outcome.problems.cut();
    outcome.exit = if outcome.problems.is_empty() { 0 } else { 3 };
    outcome.seconds = started.elapsed().as_secs_f64();
    progress.set_phase(Phase::Finished);
    Ok(outcome)
}

/// The differences. If there are any, it compares by the rules that the target's disk has for names.
async fn compared(how: &mut PullComparison<'_>, open: Option<&OpenTarget>, damaged: bool) -> Result<PullPlan> {
    let found = tokio::task::block_in_place(|| compare::compare(how, damaged))?;
    let Some(open) = open.filter(|_| !how.options.dry_run && found.any()) else { return Ok(found) };
    how.rules.disk = disk(&open.tree).await?;
    // The second comparison is rare. Most disks treat every name as distinct, and most restores onto another disk
    // find nothing to do.
    match &how.rules.disk {
        Some(disk) if *disk != DiskRules::default() => tokio::task::block_in_place(|| compare::compare(how, damaged)),
        _ => Ok(found),
    }
}

impl Pulled {
    /// The outcome with the result of the changes.
    fn into_outcome(self, mut outcome: PullOutcome, options: &PullOptions) -> PullOutcome {
        outcome.notes.extend(archive_note(&self.archived, options.restore));
        outcome.notes.extend(self.gone.map(Note::SnapshotPruned));
        outcome.problems.extend(self.fetched.undone.into_problems(self.gone));
        PullOutcome { files: self.fetched.files, bytes: self.fetched.bytes, archived: self.archived.files, ..outcome }
    }
}

/// Refuses a snapshot with a number below the one that the user expects at least.
fn new_enough(destination: &Destination, snapshot: &Snapshot, at_least: Option<u64>) -> Result<()> {
    match at_least.filter(|least| snapshot.number < *least) {
        None => Ok(()),
        Some(least) => Err(Error::Refused(vec![format!(
            "{}: snapshot {} is older than --at-least {least}; the store may offer an older state",
            destination.backend.location(),
            snapshot.number
        )])),
    }
}

/// The note about archived contents, if there are any.
fn archive_note(found: &Archived, asked: Option<Restore>) -> Option<Note> {
    let Archived { files, bytes, asked: made, hours, refused } = found;
    let request = match (asked, refused) {
        (None, _) => ArchiveRequest::NotMade,
        (Some(_), Some(error)) => ArchiveRequest::Partly { made: *made, why: error.to_string() },
        (Some(_), None) if *hours == 0 => ArchiveRequest::MadeBefore,
        (Some(_), None) => ArchiveRequest::Made { hours: *hours },
    };
    (*files > 0).then_some(Note::Archived { files: *files, bytes: *bytes, request })
}

/// Checks that `--only` matches anything, and that the guard lets the plan pass.
fn judged(compared: &PullPlan, destination: &Destination, options: &PullOptions, number: u64, whole: bool) -> Result<()> {
    let counts = &compared.facts.counts;
    if options.filter.is_partial() && whole && counts.added + counts.changed + counts.metadata + counts.unchanged == 0 {
        let url = destination.backend.location();
        return Err(Error::Usage(format!("nothing in snapshot {number} matches --only; `offsite ls {url}` lists its files")));
    }
    let refused = judge(&compared.facts, &options.limits, 0.0);
    if refused.is_empty() { Ok(()) } else { Err(Error::Refused(refused)) }
}

fn lost_problem(lost: &Lost) -> Problem {
    Problem {
        path: lost.first.clone(),
        problem: format!("{} {} from here on are lost: {}", lost.entries, plural(lost.entries, "entry", "entries"), lost.error),
    }
}

/// Whether a page with paths from `first` up to `end` may hold an entry at or below one of the prefixes.
fn touches(prefixes: &[Vec<u8>], first: &[u8], end: Option<&[u8]>) -> bool {
    prefixes.is_empty()
        || prefixes.iter().any(|prefix| {
            let below_end = end.is_none_or(|end| prefix.as_slice() < end);
            below_end && (first <= prefix.as_slice() || first.starts_with(prefix))
        })
}

/// The open target: `root` to compare, `tree` to change.
struct OpenTarget {
    root: Arc<Root>,
    tree: Arc<dyn Tree>,
}

/// Opens the target, and creates it if it does not exist; none on a dry run without a target. Refuses to restore over
/// a destination. The target may be a symlink, because the user has chosen it; below it no symlink is followed.
async fn open(target: &Path, dry_run: bool) -> Result<Option<OpenTarget>> {
    let there = target.is_dir();
    if !there && dry_run {
        return Ok(None);
    }
    if !there {
        std::fs::create_dir_all(target).map_err(|e| Error::target(target, e))?;
    }
    let root = Arc::new(Root::open(target).map_err(|e| Error::target(target, e))?);
    let tree: Arc<dyn Tree> = Arc::new(LocalTree::open(target, STAGING)?);
    if tree.stat(b".offsite/format.json").await.map_err(of_target)?.is_some() {
        return Err(Error::Usage(format!("{}: this is a destination itself; restore into another directory", target.display())));
    }
    Ok(Some(OpenTarget { root, tree }))
}

/// How the target's disk treats names. None if the probe fails for a reason that does not concern the whole target:
/// the restore will meet that error itself.
async fn disk(tree: &Arc<dyn Tree>) -> Result<Option<DiskRules>> {
    let place = format!("{}/probe", String::from_utf8_lossy(STAGING));
    let found = probe_disk(tree, &place).await;
    let _ = tree.clear_staging().await;
    let _ = tree.remove_staging().await;
    match found {
        Err(Error::Store(error)) if error.concerns_destination() => Err(of_target(error)),
        found => Ok(found.ok()),
    }
}

/// Refuses a restore that needs more space than is free, before it fetches anything.
fn room(target: &Path, bytes: u64) -> Result<()> {
    let Ok(stat) = rustix::fs::statvfs(target) else { return Ok(()) };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if bytes > free {
        let what =
            format!("the restore needs {bytes} more bytes, and {free} are free; make room, or restore less with --only or --max-size");
        return Err(Error::target(target, std::io::Error::new(std::io::ErrorKind::StorageFull, what)));
    }
    Ok(())
}
