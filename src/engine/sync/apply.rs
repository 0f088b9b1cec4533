//! One plan, carried out at one destination.
//!
//! Owns the order lease → transfer → commit → tidy → retention, and what is left behind when it breaks
//! off: the lease with a note, the journal, and after the commit the list of what is to be tidied up.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use offsite_backends::Tree;

use super::twins::Twins;
use super::{adopt, dumps, left_out, orphans, unfinished_uploads};
use crate::engine::clock::rfc3339;
use crate::engine::commit::Figures;
use crate::engine::commit::still_newest;
use crate::engine::destination::Destination;
use crate::engine::dir_metadata::root_meta;
use crate::engine::lease::{Claim, Lease};
use crate::engine::machine::PROGRAM;
use crate::engine::outcome::Outcome;
use crate::engine::sync::run::{Common, DestinationRun};
use crate::engine::warning::Warning;
use crate::engine::{cleanup, commit, dir_metadata, prune};
use crate::error::{Error, Result};
use crate::manifest::{Format, probe};
use crate::model::{Counts, Problem, Sample};
use crate::transfer::{
    Conditions, Done, Doubt, Findings, Header, Journal, Phase, Resumed, Target, Undone, Why, abort_stale, file_meta, not_taken, place,
    unset_problems, upload_objects, upload_tree,
};

/// Carries the plan out; `outcome` has what happened, also when an error is returned.
pub async fn run(common: &Common, part: &mut DestinationRun, outcome: &mut Outcome) -> Result<()> {
    let run = format!("{:016x}{:016x}", crate::random(), crate::random());
    let unread: Vec<Problem> = common.unread.iter().chain(&part.unread).cloned().collect();
    let quiet = !part.facts.counts.any()
        && part.destination.number() > 0
        && !common.adopt
        && cleanup::left_over(&part.destination).is_none()
        && !part.destination.local("journal").exists()
        // A list beside the snapshot is written under the lease.
        && !tokio::task::block_in_place(|| commit::is_new_list(&part.destination, &unread))?;
    drop(unread);
    if quiet {
        commit_only(common, part, outcome, run).await?;
        let_go(common, part, outcome, None).await;
        return Ok(());
    }
    let format = make_format(&mut part.destination).await?;
    if part.destination.snapshot().is_none() && format.keys.folds() {
        // When the plan was made nobody knew.
        tokio::task::block_in_place(|| Twins::default().resolve(&part.plan, &format.keys))?;
    }
    let claim = Claim { run: run.clone(), ..Claim::of(&part.destination, &common.machine) };
    let lease = Lease::take(&part.destination, &format, claim, &common.stop).await?;
    let before = part.destination.snapshot().map_or_else(Vec::new, |(s, _)| s.objects.clone());
    match write(common, part, outcome, &lease, &format, run).await {
        Ok(None) => {
            if let Err(error) = lease.release(Vec::new()).await {
                outcome.warnings.push(Warning::LeaseNotReleased(error.to_string()));
            }
            Ok(())
        }
        Ok(Some(versioned)) => {
            let also = if common.keep.keeps_old() || !outcome.warnings.is_empty() {
                Vec::new()
            } else {
                prune::superseded(&mut part.destination, &before, versioned)?
            };
            let_go(common, part, outcome, Some(&lease)).await;
            if let Err(error) = lease.release(also).await {
                outcome.warnings.push(Warning::LeaseNotReleased(error.to_string()));
            }
            Ok(())
        }
        Err(error) => {
            lease.leave().await;
            Err(error)
        }
    }
}

/// `format.json`, made on the first run.
async fn make_format(destination: &mut Destination) -> Result<Format> {
    if let Some(head) = &destination.head {
        return Ok(head.format.clone());
    }
    destination.backend.prepare().await?;
    let format = probe(&destination.records, PROGRAM, rfc3339()).await?;
    destination.keep_head(crate::engine::destination::Head {
        url: destination.backend.location().to_string(),
        format: format.clone(),
        snapshot: None,
        list: Vec::new(),
        inner: Vec::new(),
        own: None,
        file: None,
        pruned: destination.backend.meter().clock().unwrap_or_else(chrono::Utc::now).timestamp(),
        locked: None,
    })?;
    Ok(format)
}

/// A run that found nothing to do: one request records it.
async fn commit_only(common: &Common, part: &mut DestinationRun, outcome: &mut Outcome, run: String) -> Result<()> {
    part.progress.set_phase(Phase::Commit);
    let (cache, figures, woven) = weave(common, part).await?;
    finish_commit(common, part, outcome, run, Findings::default(), figures, woven, cache).await?;
    let _ = std::fs::remove_file(&part.plan);
    Ok(())
}

/// The run under its lease; whether the store keeps versions of its own. None if there was nothing to commit in the end.
async fn write(
    common: &Common,
    part: &mut DestinationRun,
    outcome: &mut Outcome,
    lease: &Lease,
    format: &Format,
    run: String,
) -> Result<Option<bool>> {
    let tree = part.destination.backend.tree();
    clear(common, part, lease, tree.as_ref()).await?;
    let header = Header { destination: format.id.clone(), run: run.clone(), number: part.destination.number() + 1 };
    let (journal, resumed) = open_journal(&part.destination, lease, header).await?;
    outcome.resumed = resumed.as_ref().map_or(0, |r| r.done);
    if resumed.is_some() {
        orphans::clear(&part.destination, &part.plan, sorted(&part.destination)?).await?;
    }
    if lease.before.is_some() {
        unfinished_uploads::give_up(&part.destination, &part.plan, resumed.as_ref()).await?;
    }
    let target = Arc::new(target(common, part, lease));
    part.progress.begin_transfer(part.facts.uploads + part.facts.counts.renamed, part.facts.bytes);
    if !common.dump_streams.dumps().is_empty() {
        let sent = dumps::send(common, part, &target, tree.as_ref(), &journal).await?;
        outcome.dumps = sent.outcomes;
        if sent.alone && !common.adopt && outcome.dumps.iter().all(|dump| dump.error.is_some()) {
            nothing_came(common, part, outcome, resumed).await?;
            return Ok(None);
        }
    }
    if common.adopt {
        outcome.adopted =
            adopt::adopt(&target, &common.shared_reader, &part.destination, &part.plan, &journal, &common.limit_download).await?;
    }
    let done = sorted(&part.destination)?;
    let sent = match &tree {
        Some(tree) => upload_tree(&target, tree, &common.shared_reader, &part.plan, &journal, done).await,
        None => upload_objects(&target, &common.shared_reader, &part.plan, &journal, resumed, done).await,
    };
    let findings = std::mem::take(&mut *target.findings.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    sent?;
    still_there(common)?;
    part.facts.counts.unchanged += left_out::leave_out(&part.plan, &part.destination.local("journal"), &part.destination.dir)?;
    if let Some(tree) = &tree {
        tree.sync().await?;
    }
    part.progress.set_phase(Phase::Commit);
    let (cache, figures, woven) = weave(common, part).await?;
    let left = cleanup::left_over(&part.destination);
    let tidy = if left.is_some() || cleanup::is_needed(&part.plan, tree.is_some())? {
        cleanup::set_aside(&part.destination, &part.plan, &run, left.as_deref())?
    } else {
        part.plan.clone()
    };
    finish_commit(common, part, outcome, run, findings, figures, woven, cache).await?;
    let _ = std::fs::remove_file(part.destination.local("journal"));
    part.progress.set_phase(Phase::Tidy);
    after_commit(common, part, outcome, lease, &tidy).await;
    Ok(Some(target.versioned.load(Relaxed)))
}

/// Does what earlier runs left to do, under the lease and if nobody committed since.
async fn clear(common: &Common, part: &mut DestinationRun, lease: &Lease, tree: Option<&Arc<dyn Tree>>) -> Result<()> {
    still_newest(&part.destination).await?;
    if let Some(left) = cleanup::left_over(&part.destination) {
        lease.verify().await?;
        // What is refused again is said at the end: it is tried once more with what this run leaves.
        tidy_up(common, part, &left).await?;
    }
    match tree {
        Some(tree) => Ok(tree.clear_staging().await?),
        None => Ok(()),
    }
}

/// Ends a run whose dumps all failed and that had nothing else to do. A snapshot that differs from the last one in
/// nothing would only push a good one out of the number that stays.
async fn nothing_came(common: &Common, part: &DestinationRun, outcome: &mut Outcome, resumed: Option<Resumed>) -> Result<()> {
    outcome.unread = common.unread.iter().chain(&part.unread).cloned().collect();
    let stay = outcome.dumps.iter().filter(|dump| dump.stays).count() as u64;
    let known = part.facts.counts;
    outcome.changes = Counts { unchanged: known.unchanged + stay, skipped: known.skipped, ..Counts::default() };
    // Nobody goes on with what an earlier run had begun, and the journal that knows of it goes.
    if let Some(left) = resumed {
        abort_stale(&part.destination.backend, left).await?;
    }
    let _ = std::fs::remove_file(part.destination.local("journal"));
    Ok(())
}

/// A source that was removed while it was read is no run that went well: every file of it only vanished.
fn still_there(common: &Common) -> Result<()> {
    let root = common.shared_reader.root();
    let there = root.stat().and_then(|stat| match stat.nlink {
        0 => Err(std::io::Error::other("the source was removed during the run; nothing was committed")),
        _ => Ok(()),
    });
    there.map_err(|error| Error::source(root.path(), error))
}

fn target(common: &Common, part: &DestinationRun, lease: &Lease) -> Target {
    let backend = Arc::clone(&part.destination.backend);
    Target {
        index: part.index,
        store: backend.store(),
        rules: part.destination.rules(),
        number: part.destination.number() + 1,
        keeps: common.keep.keeps_old(),
        careful: lease.before.is_some(),
        conditions: conditions(&part.destination),
        transfers: common.transfers.unwrap_or(backend.capabilities().transfers),
        backend,
        window: common.window,
        limit: Arc::clone(&common.limit),
        progress: Arc::clone(&part.progress),
        stop: Arc::clone(&lease.stop),
        versioned: AtomicBool::new(false),
        findings: Mutex::default(),
        doubt: Doubt::default(),
    }
}

/// What is compared when a content is put. A first run finds nothing that it could take for its own.
pub fn conditions(destination: &Destination) -> Conditions {
    let free = destination.backend.capabilities().conditions_are_free && destination.snapshot().is_some();
    let format = destination.head.as_ref().map(|head| &head.format).filter(|_| free);
    format.map(|format| Conditions { create: format.create_only, swap: format.compare_and_swap }).unwrap_or_default()
}

/// The journal of this run. One of an earlier run goes on if the lease says nobody wrote in between;
/// otherwise what it had begun is given up.
async fn open_journal(destination: &Destination, lease: &Lease, header: Header) -> Result<(Arc<Mutex<Journal>>, Option<Resumed>)> {
    let path = destination.local("journal");
    let found = Resumed::read(&path)?;
    if let Some(resumed) = found {
        let mine = resumed.header.destination == header.destination;
        if mine && lease.before.as_ref() == Some(&resumed.header.run) && resumed.header.number == header.number {
            return Ok((Arc::new(Mutex::new(Journal::resume(&path, header)?)), Some(resumed)));
        }
        if mine {
            abort_stale(&destination.backend, resumed).await?;
        }
    }
    Ok((Arc::new(Mutex::new(Journal::create(&path, header)?)), None))
}

fn sorted(destination: &Destination) -> Result<crate::spool::Sorted<Done>> {
    Journal::sorted(&destination.local("journal"), &destination.dir)
}

type WeaveResult = (Option<String>, Figures, crate::manifest::MergedManifest);

async fn weave(common: &Common, part: &mut DestinationRun) -> Result<WeaveResult> {
    let name = format!("tree-{:016x}", crate::random());
    let cache = part.destination.local(&name);
    let scan_start = common.scan_start;
    let done = sorted(&part.destination)?;
    let woven = tokio::task::block_in_place(|| commit::weave(&part.destination, &part.plan, done, &part.facts, scan_start, &cache));
    let (woven, figures) = woven?;
    Ok((Some(name), figures, woven))
}

#[allow(clippy::too_many_arguments, reason = "everything the snapshot says, gathered in one place")]
async fn finish_commit(
    common: &Common,
    part: &mut DestinationRun,
    outcome: &mut Outcome,
    run: String,
    findings: Findings,
    figures: Figures,
    woven: crate::manifest::MergedManifest,
    cache: Option<String>,
) -> Result<()> {
    let mut snapshot = commit::draft(&part.destination, run, common.machine.host.clone(), common.source.clone(), common.tree_root.clone());
    (snapshot.job, snapshot.kind) = (common.job.clone(), common.kind.clone());
    let unread: Vec<Problem> = common.unread.iter().chain(&part.unread).cloned().chain(findings.unread).collect();
    (outcome.unread, outcome.unstable) = (Sample::of(&unread), Sample::of(&findings.unstable));
    outcome.vanished = Sample::of(&findings.vanished);
    outcome.unset = findings.unset;
    outcome.changes = figures.counts;
    outcome.bytes.copied = figures.copied;
    outcome.bytes.sent = part.progress.bytes.load(Relaxed);
    snapshot.changes = figures.counts;
    snapshot.sent = outcome.bytes.sent;
    snapshot.set_troubles(outcome.unread.clone(), outcome.unstable.clone());
    if snapshot.names_not_all() {
        commit::keep_troubles(&part.destination, &mut snapshot, &unread, &findings.unstable).await?;
    }
    common.stop.check()?;
    let number = commit::commit(&mut part.destination, snapshot, woven, cache).await?;
    outcome.snapshot = Some(number);
    Ok(())
}

/// Deletes and directory metadata. What goes wrong here is said and done again by the next run.
async fn after_commit(common: &Common, part: &mut DestinationRun, outcome: &mut Outcome, lease: &Lease, tidy: &Path) {
    let result = async {
        if tidy != part.plan {
            lease.verify().await?;
        }
        tidy_up(common, part, tidy).await
    };
    match result.await {
        Ok((refused, unset)) => {
            outcome.unread.extend(refused);
            outcome.unset.extend(unset);
        }
        Err(error) => outcome.warnings.push(Warning::NotCleanedUp(error.to_string())),
    }
}

/// Does what comes after a commit; answers what the destination refused of it, which the next run tries again, and what
/// lies there without an attribute.
async fn tidy_up(common: &Common, part: &DestinationRun, plan: &Path) -> Result<(Vec<Problem>, Vec<Problem>)> {
    let destination = &part.destination;
    let rules = destination.rules();
    let mut undone = Undone::default();
    match destination.backend.tree() {
        None => cleanup::objects(&destination.records, plan).await?,
        Some(tree) => {
            let manifest = [destination.base()?, destination.base()?];
            let wanted = cleanup::CleanupScope { rules: &rules, plan, manifest, keeps: common.keep.keeps_old() };
            cleanup::tree(&tree, wanted, &mut undone).await?;
            let not_there = |e: &crate::model::Entry| place(&rules, e).is_none();
            dir_metadata::settle(&tree, destination.base()?, plan, not_there, file_meta, &mut undone).await?;
            if let Some((snapshot, _)) = destination.snapshot() {
                match tree.set_meta(b"", root_meta(&snapshot.tree)).await {
                    // The place itself is somebody else's (a mount point): it is as they want it.
                    Err(error) if !error.concerns_place() => {}
                    done => drop(done?),
                }
            }
        }
    }
    let refused = undone.reasons().filter_map(|(path, why)| match why {
        Why::Refused(error) => Some(Problem { path: path.clone(), problem: not_taken(error) }),
        _ => None,
    });
    let refused: Vec<Problem> = refused.collect();
    if refused.is_empty() {
        let _ = std::fs::remove_file(plan);
    }
    let unset = undone.reasons().filter_map(|(path, why)| match why {
        Why::Unset(unset) => Some(unset_problems(path, std::slice::from_ref(unset))),
        _ => None,
    });
    let unset = unset.flatten().collect();
    Ok((refused, unset))
}

/// Old snapshots go, if some are due and the run did well. Trouble here does not make the run a failure.
async fn let_go(common: &Common, part: &mut DestinationRun, outcome: &mut Outcome, lease: Option<&Lease>) {
    // Night after night without a good dump must not let the good ones go.
    if outcome.dumps.iter().any(|dump| dump.error.is_some()) {
        return;
    }
    match prune::let_go(&mut part.destination, &common.keep, lease, &common.machine, &common.stop).await {
        Ok(gone) => {
            outcome.pruned = gone.map_or(0, |gone| gone.removed.len() as u64);
            outcome.locked = part.destination.head.as_ref().and_then(|head| head.locked.clone());
        }
        Err(error) => outcome.warnings.push(Warning::NotPruned(error.to_string())),
    }
}
