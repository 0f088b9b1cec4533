//! The copy of one snapshot.
//!
//! Owns its plan: the manifest of the other destination stands for the scan, and its contents for the source. Guard,
//! lease, transfer, commit and cleanup are those of a sync. Invariant: what is committed is the whole snapshot, or
//! without exactly the paths that the user allowed to omit.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fold::ManifestTwins;
use super::origin::OriginSnapshot;
use super::request::CopyRequest;
use crate::engine::control::WINDOW;
use crate::engine::destination::{Destination, parts_of};
use crate::engine::outcome::Outcome;
use crate::engine::sync::apply::{self, Applied};
use crate::engine::sync::planning::verdict;
use crate::engine::sync::repack::Repack;
use crate::engine::sync::replay::Replay;
use crate::engine::sync::run::{Common, DestinationRun};
use crate::engine::sync::{compare_entries, preflight, prepare, renames};
use crate::error::{Error, Result};
use crate::manifest::CacheReader;
use crate::model::{Change, Entry, Hash, KeepRules, Kind, Layout, Problem, RelPath};
use crate::plan::{Facts, PlanTarget, judge};
use crate::spool::{Reader, Writer};
use crate::transfer::{DumpStreams, Limit, Line, SharedReader, Stop, StoredContents, WantedFile};

/// How the copy of a snapshot ended.
pub struct OneCopy {
    pub outcome: Outcome,
    pub error: Option<Error>,
    /// The snapshot was deleted at the other destination while it was copied.
    pub gone: bool,
}

/// Copies a snapshot without the files in `omitted`. `to` is loaded and locked.
pub async fn copy_one(asked: &CopyRequest<'_>, to: Destination, snapshot: &OriginSnapshot, omitted: &[Problem], scratch: &Path) -> OneCopy {
    let base = Some(to.number()).filter(|number| *number > 0);
    let outcome = Outcome { url: to.backend.location().to_string(), base, ..Outcome::default() };
    let planned = tokio::task::block_in_place(|| plan(asked, &to, snapshot, omitted, scratch));
    let planned = match planned {
        Ok(planned) => planned,
        Err(error) => return OneCopy { outcome, error: Some(error), gone: false },
    };
    // A failure of the store that is read stops this run only.
    let stop = Arc::new(Stop::below(&asked.control.stop));
    let limit = Arc::clone(&asked.limit_download);
    let (records, number) = (asked.origin.records().clone(), snapshot.from.number);
    let contents = Arc::new(StoredContents::new(records, snapshot.rules(), number, &planned.wanted, limit, Arc::clone(&stop)));
    let common = common(asked, snapshot, omitted, Arc::clone(&contents), stop);
    let progress = asked.control.progress.first().cloned().unwrap_or_default();
    let (plan, facts, repack) = (planned.lines, planned.facts, Repack::default());
    let part = DestinationRun { destination: to, index: 0, plan, facts, unread: Vec::new(), progress, repack };
    let Applied { outcome, error, .. } = apply::run(&common, part, outcome).await;
    let gone = error.is_some() && contents.is_gone().await;
    OneCopy { outcome, error, gone }
}

/// The plan of a copy.
struct CopyPlan {
    lines: PathBuf,
    facts: Facts,
    /// The local list of the files that it may read.
    wanted: PathBuf,
}

fn plan(asked: &CopyRequest<'_>, to: &Destination, snapshot: &OriginSnapshot, omitted: &[Problem], scratch: &Path) -> Result<CopyPlan> {
    let mut side = prepare::side(0, to)?;
    let twins = if side.may_fold() { ManifestTwins::find(snapshot.entries()?, scratch)? } else { ManifestTwins::default() };
    let omitted: BTreeSet<&[u8]> = omitted.iter().map(|problem| problem.path.as_bytes()).collect();
    let progress = asked.control.progress.first().cloned().unwrap_or_default();
    let watched = (&*progress, &*asked.control.stop);
    compare_entries(snapshot.entries()?, &mut side, |path| !omitted.contains(path), |path| twins.covers(path), watched)?;
    let (lines, parts) = (side.path, parts_of(to));
    let mut hashes = Hashes(snapshot.entries()?);
    let facts = renames::find(&mut |entry| hashes.of(entry), &lines, to.base()?, side.facts, &parts, &asked.control.stop)?;
    let limits = &asked.options.writing.limits;
    let packed = to.layout() == Layout::Packed;
    let (first, tree, sealed) = (to.head.is_none(), to.directory.is_some(), to.records.keys().is_some());
    let way = PlanTarget { keeps: true, first, tree, packed, sealed };
    let mut refused = judge(&facts, limits, asked.options.writing.price.requests(&facts.estimate(way)));
    refused.extend(preflight::refusal(&to.foreign, &lines)?);
    refused.iter_mut().for_each(|why| *why = format!("snapshot {} of {}: {why}", snapshot.from.number, asked.origin.url()));
    verdict(&refused)?;
    let wanted = scratch.join("wanted");
    list_wanted(&lines, snapshot.entries()?, &wanted)?;
    Ok(CopyPlan { lines, facts, wanted })
}

/// The hashes of contents, asked in order of the paths.
struct Hashes(CacheReader);

impl Hashes {
    fn entry(&mut self, path: &RelPath) -> Result<Option<Entry>> {
        while let Some(known) = self.0.peek()? {
            if known.path.as_slice() >= path.as_bytes() {
                return if known.path == path.as_bytes() { known.entry().map(Some) } else { Ok(None) };
            }
            self.0.advance();
        }
        Ok(None)
    }

    fn of(&mut self, entry: &Entry) -> Result<Option<Hash>> {
        Ok(self.entry(&entry.path)?.and_then(|known| known.content).map(|content| content.hash))
    }
}

/// Writes the list of the files whose contents the plan may need.
fn list_wanted(plan: &Path, entries: CacheReader, wanted: &Path) -> Result<()> {
    let (mut lines, mut hashes) = (Reader::<Line>::open(plan)?, Hashes(entries));
    let mut out = Writer::create(wanted)?;
    while let Some(line) = lines.next_line()? {
        let sent = matches!(line.step, Change::Added { .. } | Change::Changed { .. });
        let Some(path) = line.step.entry().filter(|entry| entry.kind == Kind::File).map(|entry| &entry.path) else { continue };
        if let Some(entry) = hashes.entry(path)? {
            out.push(&WantedFile { path: path.clone(), entry, sent })?;
        }
    }
    out.flush()
}

fn common(
    asked: &CopyRequest<'_>,
    snapshot: &OriginSnapshot,
    omitted: &[Problem],
    contents: Arc<StoredContents>,
    stop: Arc<Stop>,
) -> Common {
    let OriginSnapshot { snapshot: of, unread, unstable, from, .. } = snapshot;
    let writing = &asked.options.writing;
    Common {
        machine: asked.machine.clone(),
        shared_reader: Arc::new(SharedReader::over(Arc::new(Arc::clone(&contents)))),
        stop,
        source: of.source.clone(),
        tree_root: of.tree.clone(),
        scan_start: None,
        unread: unread.iter().chain(omitted).cloned().collect(),
        adopt: false,
        // Every copied snapshot stays until a prune. So every replaced content does.
        keep: KeepRules { within: Some(u64::MAX), ..KeepRules::default() },
        transfers: writing.transfers,
        limit: Arc::clone(&asked.limit_upload),
        limit_download: Arc::new(Limit::new(None)),
        window: WINDOW,
        job: of.job.clone(),
        kind: of.kind.clone(),
        dump_streams: Arc::new(DumpStreams::none()),
        replay: Some(Replay { host: of.host.clone(), time: of.time.clone(), unstable: unstable.clone(), from: from.clone(), contents }),
    }
}
