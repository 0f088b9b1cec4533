//! `pull`: a snapshot, or a part of one, into a directory.
//!
//! Owns the flow: manifest → compare with what is there → guard → fetch → links → removals → directories.
//! The manifest is not trusted: its paths were checked when it was read, and the target is only touched
//! through a tree that follows no symlink and leaves no way out of its root.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use offsite_backends::file::LocalTree;
use offsite_backends::{FileMeta, Tree};

use super::apply::root_meta;
use super::destination::{Destination, download};
use super::look::resolve_at;
use super::outcome::PullOutcome;
use super::sync::Report;
use super::{Machine, pull_compare, settle};
use crate::error::{Error, Result};
use crate::manifest::{CacheReader, KeyRules, Lost};
use crate::model::{Entry, Problem, RelPath, Snapshot};
use crate::plan::{Limits, judge};
use crate::scan::{Filter, Names};
use crate::transfer::{Fetch, Fetched, Limit, Phase, file_meta, make_way};

/// Where contents are staged, at the top of the target.
pub(super) const STAGING: &[u8] = b".offsite-pull";
/// Content bytes in flight.
const WINDOW: u64 = 48 << 20;

/// How to pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// Which snapshot; the newest if none is named.
    pub at: Option<String>,
    pub filter: Filter,
    /// Only what lies at or below these paths; everything if there are none.
    pub prefixes: Vec<Vec<u8>>,
    /// Larger files are left out.
    pub max_size: Option<u64>,
    /// Remove what the snapshot does not have.
    pub delete: bool,
    /// Read local files even if size and mtime agree.
    pub checksum: bool,
    pub dry_run: bool,
    pub limits: Limits,
    pub transfers: Option<usize>,
    /// Bytes a second.
    pub limit_download: Option<u64>,
}

/// Pulls from a destination into a directory, which is made if it is not there.
pub async fn pull(machine: &Machine, url: &str, target: &Path, options: &PullOptions, report: &Report) -> Result<PullOutcome> {
    pull_over(Destination::open(url, machine).await?, target, options, report).await
}

/// The same over a destination that is open.
pub async fn pull_over(destination: Destination, target: &Path, options: &PullOptions, report: &Report) -> Result<PullOutcome> {
    let started = Instant::now();
    let scratch = Scratch::new(&destination, "pull")?;
    let progress = report.progress.first().cloned().unwrap_or_default();
    progress.set_phase(Phase::Loading);
    let (snapshot, ..) = resolve_at(&destination.records, options.at.as_deref()).await?;
    let manifest = scratch.0.join("manifest");
    let wanted = |first: &[u8], end: Option<&[u8]>| touches(&options.prefixes, first, end);
    let (_, lost) = download(&destination.records, &snapshot, &manifest, true, wanted).await?;
    prepare(target, options.dry_run)?;
    progress.set_phase(Phase::Scanning);
    let how = pull_compare::Comparing { target, manifest: &manifest, plan: &scratch.0.join("plan"), options, stop: &report.stop };
    let compared = tokio::task::block_in_place(|| pull_compare::compare(&how, !lost.is_empty()))?;
    let counts = &compared.facts.counts;
    if options.filter.is_partial() && lost.is_empty() && counts.added + counts.changed + counts.metadata + counts.unchanged == 0 {
        let url = destination.backend.location();
        return Err(Error::Usage(format!(
            "nothing in snapshot {} matches --only; `offsite ls {url}` lists what is there",
            snapshot.number
        )));
    }
    let refused = judge(&compared.facts, &options.limits, 0.0);
    if !refused.is_empty() {
        return Err(Error::Refused(refused));
    }
    let mut outcome = PullOutcome {
        url: destination.backend.location().to_string(),
        snapshot: snapshot.number,
        changes: compared.facts.counts,
        problems: lost.iter().map(lost_problem).chain(compared.problems.clone()).collect(),
        ..PullOutcome::default()
    };
    if !options.dry_run && compared.facts.counts.any() || !compared.links.is_empty() {
        room(target, compared.facts.bytes)?;
        progress.set_phase(Phase::Transfer);
        progress.files_total.store(compared.facts.uploads, std::sync::atomic::Ordering::Relaxed);
        progress.bytes_total.store(compared.facts.bytes, std::sync::atomic::Ordering::Relaxed);
        let pull = Pull { destination: &destination, snapshot: &snapshot, target, plan: how.plan, manifest: &manifest, options, report };
        let fetched = pull.carry_out(&compared).await?;
        outcome.files = fetched.files;
        outcome.bytes = fetched.bytes;
        outcome.problems.extend(fetched.problems);
    } else if options.dry_run {
        outcome.files = compared.facts.uploads;
        outcome.bytes = compared.facts.bytes;
    }
    outcome.requests = destination.backend.meter().requests();
    outcome.exit = if outcome.problems.is_empty() { 0 } else { 3 };
    outcome.seconds = started.elapsed().as_secs_f64();
    progress.set_phase(Phase::Finished);
    Ok(outcome)
}

/// A local directory that is gone when the verb is over, however it ends.
pub(super) struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(destination: &Destination, verb: &str) -> Result<Self> {
        let path = destination.local(&format!("{verb}-{:016x}", crate::random()));
        std::fs::create_dir(&path).map_err(|e| Error::local(&path, e))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn lost_problem(lost: &Lost) -> Problem {
    Problem { path: lost.first.clone(), problem: format!("{} entries from here on are lost: {}", lost.entries, lost.error) }
}

/// Whether a page with paths from `first` up to `end` may hold something at or below one of the prefixes.
fn touches(prefixes: &[Vec<u8>], first: &[u8], end: Option<&[u8]>) -> bool {
    prefixes.is_empty()
        || prefixes.iter().any(|prefix| {
            let below_end = end.is_none_or(|end| prefix.as_slice() < end);
            below_end && (first <= prefix.as_slice() || first.starts_with(prefix))
        })
}

/// Makes the target if need be, and refuses to pull over a destination.
fn prepare(target: &Path, dry_run: bool) -> Result<()> {
    if target.join(".offsite/format.json").exists() {
        return Err(Error::Usage(format!("{}: this is a destination itself; pull into another directory", target.display())));
    }
    if target.exists() || dry_run {
        return Ok(());
    }
    std::fs::create_dir_all(target).map_err(|e| Error::local(target, e))
}

/// Refuses what cannot fit before anything is fetched.
fn room(target: &Path, bytes: u64) -> Result<()> {
    let Ok(stat) = rustix::fs::statvfs(target) else { return Ok(()) };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if bytes > free {
        let what = format!("{bytes} bytes are to be fetched and {free} are free; make room, or pull less with --only or --max-size");
        return Err(Error::local(target, std::io::Error::new(std::io::ErrorKind::StorageFull, what)));
    }
    Ok(())
}

/// One pull that may run.
struct Pull<'a> {
    destination: &'a Destination,
    snapshot: &'a Snapshot,
    target: &'a Path,
    plan: &'a Path,
    manifest: &'a Path,
    options: &'a PullOptions,
    report: &'a Report,
}

impl Pull<'_> {
    async fn carry_out(&self, compared: &pull_compare::Compared) -> Result<Fetched> {
        let tree: Arc<dyn Tree> = Arc::new(LocalTree::open(self.target, STAGING)?);
        tree.clear_staging().await?;
        let names = Arc::new(Names::default());
        let meta = Arc::new(move |entry: &Entry| meta(&names, entry));
        if self.options.delete {
            make_way(&tree, &KeyRules::any(), self.plan, false).await?;
        }
        let fetch = Arc::new(Fetch {
            records: self.destination.records.clone(),
            rules: self.snapshot.keys.clone(),
            tree: Arc::clone(&tree),
            transfers: self.options.transfers.unwrap_or(self.destination.backend.capabilities().transfers.max(8)),
            window: WINDOW,
            limit: Arc::new(Limit::new(self.options.limit_download)),
            progress: self.report.progress.first().cloned().unwrap_or_default(),
            stop: Arc::clone(&self.report.stop),
            meta: meta.clone(),
        });
        let mut fetched = fetch.run(self.plan).await?;
        self.set_metadata(&tree, &*meta, &mut fetched).await?;
        link(&tree, &compared.links, &mut fetched).await?;
        if self.options.delete {
            self.remove(&tree).await?;
        }
        settle::settle(&tree, CacheReader::open(self.manifest, None)?, self.plan, |e| !self.covers(e), |e| meta(e)).await?;
        let whole = self.options.prefixes.is_empty() && !self.options.filter.is_partial();
        remove_staging(self.target);
        if whole {
            tree.set_meta(b"", owned(root_meta(&self.snapshot.tree))).await?;
        }
        Ok(fetched)
    }

    fn covers(&self, entry: &Entry) -> bool {
        pull_compare::covers(self.options, entry)
    }

    /// Files and symlinks whose content is right and whose metadata is not.
    async fn set_metadata(&self, tree: &Arc<dyn Tree>, meta: &(dyn Fn(&Entry) -> FileMeta + Sync), fetched: &mut Fetched) -> Result<()> {
        use crate::model::{Change, Kind};
        let mut lines = crate::spool::Reader::<crate::transfer::Line>::open(self.plan)?;
        while let Some(line) = lines.next_line()? {
            let Change::Metadata { entry, .. } = line.step else { continue };
            if entry.kind != Kind::Dir
                && let Err(error) = tree.set_meta(entry.path.bare(), meta(&entry)).await
            {
                fetched.problems.push(Problem { path: entry.path, problem: error.to_string() });
            }
        }
        Ok(())
    }

    /// What the snapshot does not have goes.
    async fn remove(&self, tree: &Arc<dyn Tree>) -> Result<()> {
        super::tidy::tree(tree, &KeyRules::any(), self.plan, false).await
    }
}

/// Metadata as it was; owners by their names here, and only for root.
fn meta(names: &Names, entry: &Entry) -> FileMeta {
    let mut meta = file_meta(entry);
    meta.owner = Some((names.uid(entry.user.as_deref(), entry.uid), names.gid(entry.group.as_deref(), entry.gid)));
    owned(meta)
}

fn owned(mut meta: FileMeta) -> FileMeta {
    if !rustix::process::geteuid().is_root() {
        meta.owner = None;
    }
    meta
}

/// Names of one file become one file again.
async fn link(tree: &Arc<dyn Tree>, links: &[(RelPath, RelPath)], fetched: &mut Fetched) -> Result<()> {
    let mut inodes: HashMap<&RelPath, Option<u64>> = HashMap::new();
    for (first, other) in links {
        let want = match inodes.get(first) {
            Some(ino) => *ino,
            None => {
                let ino = tree.stat(first.as_bytes()).await?.map(|s| s.ino);
                inodes.insert(first, ino);
                ino
            }
        };
        let Some(want) = want else {
            fetched.problems.push(Problem { path: other.clone(), problem: format!("it is another name of {first}, which is not there") });
            continue;
        };
        if tree.stat(other.as_bytes()).await?.map(|s| s.ino) == Some(want) {
            continue;
        }
        match tree.hard_link(first.as_bytes(), other.as_bytes()).await {
            Ok(()) => fetched.files += 1,
            Err(error) => fetched.problems.push(Problem { path: other.clone(), problem: error.to_string() }),
        }
    }
    Ok(())
}

/// The staging area is empty by now; what somebody else put there stays.
fn remove_staging(target: &Path) {
    let top = target.join(std::str::from_utf8(STAGING).unwrap_or_default());
    if let Ok(entries) = std::fs::read_dir(&top) {
        for entry in entries.flatten() {
            let _ = std::fs::remove_dir(entry.path())
                .or_else(|_| if entry.file_name() == "lock" { std::fs::remove_file(entry.path()) } else { Ok(()) });
        }
    }
    let _ = std::fs::remove_dir(top);
}
