//! The execution of one plan at one destination.
//!
//! Owns the order: lease, transfer, commit, cleanup, retention. Owns what an interrupted run leaves for the next one: a
//! lease that is marked as interrupted, the journal, and the plan for the cleanup, which is saved before the commit.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use offsite_backends::Tree;

use super::dumps::DumpWay;
use super::new_destination::make_format;
use super::twins::Twins;
use super::{adopt, dumps, left_out, orphans, packing, replay, tidy, unfinished_uploads};
use crate::engine::cleanup::CleanupNeed;
use crate::engine::commit::Figures;
use crate::engine::destination::Destination;
use crate::engine::lease::{Claim, Lease};
use crate::engine::outcome::Outcome;
use crate::engine::sync::run::{Common, DestinationRun};
use crate::engine::warning::Warning;
use crate::engine::{cleanup, commit, leftovers, prune};
use crate::error::{Error, Result};
use crate::manifest::{Format, KnownBlocks, MergedManifest};
use crate::model::{Counts, Layout, Problem, Sample};
use crate::transfer::{
    Conditions, Done, Doubt, Findings, Header, Journal, PackedTarget, Phase, Resumed, Target, abort_stale, upload_objects, upload_packed,
    upload_tree,
};

/// What a plan came to at one destination.
pub struct Applied {
    pub destination: Destination,
    /// What happened, also before an error.
    pub outcome: Outcome,
    /// The error that ended the run.
    pub error: Option<Error>,
}

/// Carries out the plan. `outcome` holds what is known before that.
pub async fn run(common: &Common, part: DestinationRun, outcome: Outcome) -> Applied {
    let mut apply = Apply { common, part, outcome, left: None };
    let error = apply.run().await.err();
    apply.part.progress.set_phase(if error.is_none() { Phase::Finished } else { Phase::Failed });
    apply.outcome.bytes.read = common.shared_reader.bytes_read();
    apply.outcome.requests = apply.part.destination.backend.meter().requests();
    Applied { destination: apply.part.destination, outcome: apply.outcome, error }
}

/// A plan that is being carried out, and its outcome so far.
struct Apply<'a> {
    common: &'a Common,
    part: DestinationRun,
    outcome: Outcome,
    /// What the snapshot says of leftovers; `None`: what the last one says.
    left: Option<bool>,
}

impl Apply<'_> {
    async fn run(&mut self) -> Result<()> {
        let run = format!("{:016x}{:016x}", crate::random(), crate::random());
        if self.is_quiet()? {
            return self.commit_only(run).await;
        }
        let format = make_format(&mut self.part.destination, &self.common.machine).await?;
        if self.part.destination.snapshot().is_none() && format.keys.folds() {
            // The plan was made before the probe found that the disk folds names.
            tokio::task::block_in_place(|| Twins::default().resolve(&self.part.plan, &format.keys))?;
        }
        let claim = Claim { run: run.clone(), ..Claim::of(&self.part.destination, &self.common.machine) };
        let lease = Lease::take(&self.part.destination, &format, claim, &self.common.stop).await?;
        match self.under_lease(&lease, &format, run).await {
            Ok(superseded) => {
                if let Err(error) = lease.release(superseded).await {
                    self.outcome.warnings.push(Warning::LeaseNotReleased(error.to_string()));
                }
                Ok(())
            }
            Err(error) => {
                lease.mark_interrupted().await;
                Err(error)
            }
        }
    }

    /// Writes what changed, commits it, and deletes what has expired. Returns the objects that no snapshot needs any
    /// more and that are deleted together with the lease.
    async fn under_lease(&mut self, lease: &Lease, format: &Format, run: String) -> Result<Vec<Vec<u8>>> {
        let before = self.part.destination.snapshot().map_or_else(Vec::new, |(s, _)| s.objects.clone());
        let Some(versioned) = self.write(lease, format, run).await? else { return Ok(Vec::new()) };
        let packed = self.part.destination.layout() == Layout::Packed;
        let stays = packed || self.common.keep.keeps_old() || self.part.destination.backend.is_append_only();
        let superseded = if stays || !self.outcome.warnings.is_empty() {
            Vec::new()
        } else {
            prune::superseded(&mut self.part.destination, &before, versioned)?
        };
        self.delete_expired(Some(lease)).await;
        Ok(superseded)
    }

    /// Whether there is nothing to do under a lease.
    fn is_quiet(&self) -> Result<bool> {
        let destination = &self.part.destination;
        Ok(!self.part.facts.counts.any()
            && self.part.repack.is_empty()
            && destination.number() > 0
            && !self.common.adopt
            && self.common.replay.is_none()
            && cleanup::left_over(destination).is_none()
            && !destination.local("journal").exists()
            && !leftovers::to_clean(destination)
            // A run needs the lease to write a new list of problems beside the snapshot.
            && !tokio::task::block_in_place(|| commit::is_new_list(destination, &self.unread()))?)
    }

    /// The files that could not be read during the scan and the planning.
    fn unread(&self) -> Vec<Problem> {
        self.common.unread.iter().chain(&self.part.unread).cloned().collect()
    }

    /// Commits a run that found no changes, and deletes what has expired. The commit takes 1 request and no lease.
    async fn commit_only(&mut self, run: String) -> Result<()> {
        self.part.progress.set_phase(Phase::Commit);
        let merged = self.merge()?;
        self.finish_commit(run, Findings::default(), merged).await?;
        let _ = std::fs::remove_file(&self.part.plan);
        self.delete_expired(None).await;
        Ok(())
    }

    /// Does everything that needs the lease, from the cleanup of earlier runs to the cleanup of this one. Returns whether
    /// the store reported a version id for a put. Returns `None` if the run ended without a commit.
    async fn write(&mut self, lease: &Lease, format: &Format, run: String) -> Result<Option<bool>> {
        let tree = self.part.destination.backend.tree();
        tidy::clear(&self.part.destination, self.common.keep.keeps_old(), lease).await?;
        if self.common.replay.is_some() {
            // The copy before this one may have been cut off before it did.
            self.outcome.warnings.extend(replay::note_time(&self.part.destination).await);
        }
        let header = Header { destination: format.id.clone(), run: run.clone(), number: self.part.destination.number() + 1 };
        let (journal, resumed) = open_journal(&self.part.destination, lease, header).await?;
        self.outcome.resumed = resumed.as_ref().map_or(0, |r| r.done);
        let mirror = self.part.destination.layout() == Layout::Mirror;
        let mut orphans = Vec::new();
        if resumed.is_some() {
            if mirror {
                orphans = orphans::clear(&self.part.destination, &self.part.plan, sorted(&self.part.destination)?).await?;
            }
        } else if leftovers::to_clean(&self.part.destination) {
            // What an interrupted run sent again could be among them, so a run that continues one leaves them.
            self.left = Some(!prune::clean(&self.part.destination).await?);
        }
        if mirror && (lease.before.is_some() || self.left.is_some()) {
            unfinished_uploads::give_up(&self.part.destination, &self.part.plan, resumed.as_ref()).await?;
        }
        let mut packed = match self.part.destination.layout() {
            Layout::Packed => Some(self.part.repack.retire(packing::open(&self.part.destination, &format.id).await?)),
            Layout::Mirror => None,
        };
        let target = Arc::new(self.target(lease));
        let (facts, repack) = (&self.part.facts, &self.part.repack);
        self.part.progress.begin_transfer(facts.uploads + facts.counts.renamed + repack.files, facts.bytes + repack.read);
        if !self.common.dump_streams.dumps().is_empty() {
            let way = DumpWay { tree: tree.as_ref(), packed: packed.as_mut() };
            let sent = dumps::send(self.common, &self.part, &target, way, &journal).await?;
            self.outcome.dumps = sent.outcomes;
            if sent.alone && !self.common.adopt && self.outcome.dumps.iter().all(|dump| dump.error.is_some()) {
                self.nothing_came(resumed).await?;
                return Ok(None);
            }
        }
        let findings = self.send(&target, tree.as_ref(), packed.as_mut(), &journal, resumed).await?;
        self.part.progress.set_phase(Phase::Commit);
        let merged = self.merge()?;
        let mut left = cleanup::left_over(&self.part.destination);
        // A packed destination keeps every object until retention lets it go.
        let mut need = if mirror { cleanup::need(&self.part.plan, tree.is_some())? } else { CleanupNeed::Nothing };
        if !self.part.destination.backend.deletes() {
            let plans = [Some(self.part.plan.as_path()), left.as_deref()];
            if mirror {
                leftovers::note(&self.part.destination, &run, plans.into_iter().flatten(), orphans).await?;
            }
            (self.left, left, need) = (Some(true), None, CleanupNeed::Nothing);
        }
        let tidy = self.set_aside(&run, left.as_deref(), need)?;
        self.finish_commit(run, findings, merged).await?;
        self.part.progress.set_phase(Phase::Cleanup);
        if let Some(packed) = &mut packed {
            self.outcome.repack = self.part.repack.outcome(packed.repacked);
            self.keep_known(packed).await;
            return Ok(Some(false));
        }
        let _ = std::fs::remove_file(self.part.destination.local("journal"));
        // Another writer may have the lease by now. Nothing is deleted for a snapshot that may not be the newest.
        let verify = left.is_some() || need == CleanupNeed::Deletions;
        self.after_commit(verify.then_some(lease), &tidy).await;
        forget_blocks(&self.part.destination, &target);
        Ok(Some(target.versioned.load(Relaxed)))
    }

    /// The plan for the cleanup, which outlives a killed run if there is something to clean up.
    fn set_aside(&self, run: &str, left: Option<&Path>, need: CleanupNeed) -> Result<PathBuf> {
        if left.is_none() && need == CleanupNeed::Nothing {
            return Ok(self.part.plan.clone());
        }
        cleanup::set_aside(&self.part.destination, &self.part.plan, run, left)
    }

    /// Sends what the plan says, and waits until a tree has it on the disk. The plan and the figures lose what the
    /// destination refused.
    async fn send(
        &mut self,
        target: &Arc<Target>,
        tree: Option<&Arc<dyn Tree>>,
        packed: Option<&mut PackedTarget>,
        journal: &Arc<Mutex<Journal>>,
        resumed: Option<Resumed>,
    ) -> Result<Findings> {
        let (common, part) = (self.common, &mut self.part);
        let (reader, plan) = (&common.shared_reader, &part.plan);
        if common.adopt {
            self.outcome.adopted = adopt::adopt(target, reader, &part.destination, plan, journal, &common.limit_download).await?;
        }
        let done = sorted(&part.destination)?;
        let sent = match (packed, tree) {
            (Some(packed), _) => upload_packed(target, packed, reader, plan, journal, done).await,
            (None, Some(tree)) => upload_tree(target, tree, reader, plan, journal, done).await,
            (None, None) => upload_objects(target, reader, plan, journal, resumed, done).await,
        };
        let findings = std::mem::take(&mut *target.findings.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        if let Some(replay) = &common.replay {
            replay.is_whole(sent, &findings, &mut self.outcome)?;
        } else {
            sent?;
            still_there(common)?;
        }
        part.facts.counts.unchanged += left_out::leave_out(plan, &part.destination.local("journal"), &part.destination.dir)?;
        if let Some(tree) = tree.or(part.destination.directory.as_ref()) {
            tree.sync().await?;
        }
        Ok(findings)
    }

    /// Keeps what is known of the pieces for later runs, and deletes packs that were sent in vain. What fails here costs
    /// only room.
    async fn keep_known(&mut self, packed: &mut PackedTarget) {
        if let Err(error) = tokio::task::block_in_place(|| packed.known.keep()) {
            tracing::info!(target: "offsite::run", %error, "the next run looks for its pieces again");
        }
        self.end_packs().await;
    }

    /// Deletes packs that were sent in vain, or lists them in append-only mode. Then nothing needs the journal any more.
    async fn end_packs(&mut self) {
        let journal = self.part.destination.local("journal");
        match packing::delete_unnamed(&self.part.destination, &journal).await {
            Ok(()) => drop(std::fs::remove_file(journal)),
            // The journal stays, and the next run deletes them.
            Err(error) => self.outcome.warnings.push(Warning::NotCleanedUp(error.to_string())),
        }
    }

    /// Ends a run without a commit: all its dumps failed, and it had nothing else to do. A snapshot without a change would
    /// only push a good snapshot out of the number that retention keeps.
    async fn nothing_came(&mut self, resumed: Option<Resumed>) -> Result<()> {
        self.outcome.unread = self.unread().into_iter().collect();
        let stay = self.outcome.dumps.iter().filter(|dump| dump.stays).count() as u64;
        let known = self.part.facts.counts;
        self.outcome.changes = Counts { unchanged: known.unchanged + stay, skipped: known.skipped, ..Counts::default() };
        // Only the journal names the uploads that an earlier run began. No run can continue them after it is deleted.
        if let Some(left) = resumed {
            abort_stale(&self.part.destination.backend, left).await?;
        }
        match self.part.destination.layout() {
            Layout::Packed => self.end_packs().await,
            Layout::Mirror => drop(std::fs::remove_file(self.part.destination.local("journal"))),
        }
        Ok(())
    }

    fn target(&self, lease: &Lease) -> Target {
        let backend = Arc::clone(&self.part.destination.backend);
        Target {
            index: self.part.index,
            store: backend.store(),
            rules: self.part.destination.rules(),
            number: self.part.destination.number() + 1,
            // Retention runs elsewhere, and may keep what this run's rules would not.
            keeps: self.common.keep.keeps_old() || backend.is_append_only(),
            careful: lease.before.is_some(),
            conditions: conditions(&self.part.destination),
            transfers: self.common.transfers.unwrap_or(backend.capabilities().transfers),
            backend,
            window: self.common.window,
            limit: Arc::clone(&self.common.limit),
            progress: Arc::clone(&self.part.progress),
            stop: Arc::clone(&lease.stop),
            blocks: Some(KnownBlocks::of(self.part.destination.local("blocks"))),
            versioned: AtomicBool::new(false),
            findings: Mutex::default(),
            doubt: Doubt::default(),
        }
    }

    /// Merges the plan and the journal into the new manifest.
    fn merge(&self) -> Result<NewManifest> {
        let cache = format!("tree-{:016x}", crate::random());
        let destination = &self.part.destination;
        let (at, done) = (destination.local(&cache), sorted(destination)?);
        let (plan, facts, scan_start) = (&self.part.plan, &self.part.facts, self.common.scan_start);
        let (manifest, figures) = tokio::task::block_in_place(|| commit::merge(destination, plan, done, facts, scan_start, &at))?;
        Ok(NewManifest { cache, figures, manifest })
    }

    /// Writes the snapshot, and its figures into the outcome.
    async fn finish_commit(&mut self, run: String, findings: Findings, merged: NewManifest) -> Result<()> {
        let (common, part, outcome) = (self.common, &mut self.part, &mut self.outcome);
        let mut snapshot =
            commit::draft(&part.destination, run, common.machine.host.clone(), common.source.clone(), common.tree_root.clone());
        (snapshot.job, snapshot.kind) = (common.job.clone(), common.kind.clone());
        snapshot.left = self.left.unwrap_or(snapshot.left);
        let mut unstable = findings.unstable;
        if let Some(replay) = &common.replay {
            replay.mark(&mut snapshot, &mut unstable);
        }
        let unread: Vec<Problem> = common.unread.iter().chain(&part.unread).cloned().chain(findings.unread).collect();
        (outcome.unread, outcome.unstable) = (Sample::of(&unread), Sample::of(&unstable));
        outcome.vanished = Sample::of(&findings.vanished);
        outcome.unset = findings.unset;
        outcome.changes = merged.figures.counts;
        outcome.bytes.copied = merged.figures.copied + part.progress.copied.load(Relaxed);
        let packed = part.destination.layout() == Layout::Packed;
        outcome.bytes.sent = if packed { part.progress.packed.load(Relaxed) } else { part.progress.bytes.load(Relaxed) };
        snapshot.changes = merged.figures.counts;
        snapshot.sent = outcome.bytes.sent;
        snapshot.set_troubles(outcome.unread.clone(), outcome.unstable.clone());
        if snapshot.names_not_all() {
            commit::keep_troubles(&part.destination, &mut snapshot, &unread, &unstable).await?;
        }
        common.stop.check()?;
        part.repack.note_look(&mut part.destination);
        let number = commit::commit(&mut part.destination, snapshot, merged.manifest, Some(merged.cache)).await?;
        outcome.snapshot = Some(number);
        if common.replay.is_some() {
            outcome.warnings.extend(replay::note_time(&part.destination).await);
        }
        Ok(())
    }

    /// Runs the cleanup of this run: deletions and directory metadata. An error is only a warning. The next run repeats a
    /// cleanup whose plan was set aside.
    async fn after_commit(&mut self, verify: Option<&Lease>, plan: &Path) {
        let result = async {
            if let Some(lease) = verify {
                lease.verify().await?;
            }
            tidy::clean_up(&self.part.destination, self.common.keep.keeps_old(), plan).await
        };
        match result.await {
            Ok((refused, unset)) => {
                self.outcome.unread.extend(refused);
                self.outcome.unset.extend(unset);
            }
            Err(error) => self.outcome.warnings.push(Warning::NotCleanedUp(error.to_string())),
        }
    }

    /// Deletes expired snapshots, if some are due and no dump failed. An error is a warning and does not fail the run.
    async fn delete_expired(&mut self, lease: Option<&Lease>) {
        // If a dump fails every night, retention must not delete the snapshots that have its last good content.
        if self.common.replay.is_some()
            || self.part.destination.backend.is_append_only()
            || self.outcome.dumps.iter().any(|dump| dump.error.is_some())
        {
            return;
        }
        match prune::delete_expired(&mut self.part.destination, &self.common.keep, lease, &self.common.machine, &self.common.stop).await {
            Ok(gone) => {
                self.outcome.pruned = gone.map_or(0, |gone| gone.removed.len() as u64);
                self.outcome.locked = self.part.destination.head.as_ref().and_then(|head| head.locked.clone());
            }
            Err(error) => self.outcome.warnings.push(Warning::NotPruned(error.to_string())),
        }
    }
}

/// The new manifest, before its commit.
struct NewManifest {
    /// Name of its file in the cache.
    cache: String,
    figures: Figures,
    manifest: MergedManifest,
}

/// Forgets the blocks of contents that no longer exist. What fails here only takes space in the cache.
fn forget_blocks(destination: &Destination, target: &Target) {
    let Some(blocks) = &target.blocks else { return };
    if let Err(error) = destination.base().and_then(|newest| tokio::task::block_in_place(|| blocks.sweep(newest))) {
        tracing::info!(target: "offsite::run", %error, "blocks of removed files stay in the cache");
    }
}

/// Fails if the source was removed during the run. Otherwise every file would only count as vanished, and the run
/// would succeed.
fn still_there(common: &Common) -> Result<()> {
    let Some(root) = common.shared_reader.root() else { return Ok(()) };
    let there = root.stat().and_then(|stat| match stat.nlink {
        0 => Err(std::io::Error::other("the source was removed during the run; nothing was committed")),
        _ => Ok(()),
    });
    there.map_err(|error| Error::source(root.path(), error))
}

/// The conditions of requests that put contents, if they cost nothing at this store. A first run uses none, because it
/// has no earlier contents to compare with.
pub fn conditions(destination: &Destination) -> Conditions {
    let free = destination.backend.capabilities().conditions_are_free && destination.snapshot().is_some();
    let format = destination.head.as_ref().map(|head| &head.format).filter(|_| free);
    format.map(|format| Conditions { create: format.create_only, swap: format.compare_and_swap }).unwrap_or_default()
}

/// Opens the journal of this run. It continues the journal of an earlier run if the lease shows that no other run wrote
/// in between. Otherwise it starts a new journal and aborts the uploads that the old one names at this destination.
async fn open_journal(destination: &Destination, lease: &Lease, header: Header) -> Result<(Arc<Mutex<Journal>>, Option<Resumed>)> {
    let path = destination.local("journal");
    let found = Resumed::read(&path)?;
    if let Some(resumed) = found {
        let mine = resumed.header.destination == header.destination;
        if mine && lease.before.as_ref() == Some(&resumed.header.run) && resumed.header.number == header.number {
            return Ok((Arc::new(Mutex::new(Journal::resume(&path, header)?)), Some(resumed)));
        }
        if mine {
            if destination.layout() == Layout::Packed {
                packing::delete_abandoned(destination, &path, resumed.header.number).await?;
            }
            abort_stale(&destination.backend, resumed).await?;
        }
    }
    Ok((Arc::new(Mutex::new(Journal::create(&path, header)?)), None))
}

fn sorted(destination: &Destination) -> Result<crate::spool::Sorted<Done>> {
    Journal::sorted(&destination.local("journal"), &destination.dir)
}
