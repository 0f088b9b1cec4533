//! One job of a run.
//!
//! Owns the order inside a job: lock, `before`, initialize, sync, run record, `after` or `on_failure`, `finally`,
//! notifications.
//! Invariants: nothing is sent if a `before` hook fails. A job that is skipped or fails leaves a run record at each
//! destination that can be reached. A dry run runs no hook and writes nothing.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::hook_scope::HookScope;
use super::kept::TempFile;
use super::notify::{Moment, tell, to};
use super::options::RunnerOptions;
use super::outcome::{Ended, JobOutcome};
use super::prepare::{self, Preparation};
use super::warning::JobWarning;
use super::{dumps, lock, source};
use crate::config::{Job, JobDestination, default_price};
use crate::engine::{self, Machine, Note, RunControl, SyncOptions, worst};
use crate::error::{Error, Result};

/// A job that runs, and its outcome so far.
pub struct JobRun<'a> {
    machine: &'a Machine,
    how: &'a RunnerOptions,
    job: &'a Job,
    control: &'a RunControl,
    outcome: JobOutcome,
}

impl<'a> JobRun<'a> {
    /// Prepares the run of a job. Does nothing yet.
    pub fn new(machine: &'a Machine, how: &'a RunnerOptions, job: &'a Job, control: &'a RunControl) -> Self {
        let outcome = JobOutcome {
            job: job.name.clone(),
            volume: job.volume.clone(),
            kind: job.kind.clone(),
            source: job.shown_source(),
            began: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            ..JobOutcome::default()
        };
        Self { machine, how, job, control, outcome }
    }

    /// Runs the job and sends its notifications. `barred` says why no job may run.
    pub async fn run(mut self, barred: Option<&str>) -> JobOutcome {
        let began = Instant::now();
        if let Err(error) = self.whole(barred).await {
            self.failed(&error);
            // The run that holds the lock writes its own run record.
            if !self.how.dry_run && !matches!(error, Error::Busy(_)) {
                self.record_run(&self.all_destinations()).await;
            }
        }
        self.outcome.seconds = began.elapsed().as_secs_f64();
        if !self.how.dry_run && self.outcome.result != Ended::Ignored {
            let warnings = self.notified().await;
            self.outcome.warnings.extend(warnings);
        }
        self.outcome
    }

    async fn notified(&self) -> Vec<JobWarning> {
        let (job, outcome) = (self.job, &self.outcome);
        let moment = if outcome.result.is_well() { Moment::Well } else { Moment::Failed };
        let subject = format!("offsite: job {} {}", job.shown(), outcome.result.word());
        tell(&to(&job.notify, outcome.result == Ended::Skipped), moment, &subject, &outcome.sentence(), outcome).await
    }

    async fn whole(&mut self, barred: Option<&str>) -> Result<()> {
        let job = self.job;
        if job.ignored {
            self.outcome.result = Ended::Ignored;
            let who = if job.volume.is_some() { "its label or the config" } else { "the config" };
            self.outcome.message = Some(format!("{who} says \"ignore\" for this type"));
            return Ok(());
        }
        self.control.stop.check()?;
        if let Some(why) = barred {
            return Err(Error::Command(format!("a hook before the run failed: {why}")));
        }
        let _lock = lock::take(self.machine, job)?;
        let missing = self.missing();
        if self.how.dry_run {
            return match missing? {
                Some(why) => {
                    self.skipped(why).await;
                    Ok(())
                }
                None => self.planned().await,
            };
        }
        match missing {
            Ok(None) => self.around().await,
            Ok(Some(why)) => self.skipped(why).await,
            Err(error) => {
                self.failed(&error);
                self.record_run(&self.all_destinations()).await;
            }
        }
        self.after().await;
        Ok(())
    }

    /// Why the source is missing. `None` if it exists, or if a `before` hook may create it: a mount, or a snapshot of a
    /// volume.
    fn missing(&self) -> Result<Option<String>> {
        let created = !self.job.hooks.before.is_empty() && self.job.mounted.is_none();
        match (created, self.how.dry_run) {
            (false, _) => source::absent(self.job),
            (true, true) => {
                let perhaps = |why| format!("{why}; a `before` hook, which does not run on a dry run, may create it");
                Ok(source::lacking(self.job)?.map(perhaps))
            }
            (true, false) => Ok(None),
        }
    }

    /// The job from its `before` hooks to its run record.
    async fn around(&mut self) {
        let job = self.job;
        self.outcome.warnings.extend(tell(&job.notify, Moment::Start, "", "", &()).await);
        let before = HookScope { hooks: &job.hooks, variables: &job.variables, stop: &self.control.stop }.before().await;
        self.outcome.hooks.extend(before.outcomes);
        let missed = match before.failed {
            None => self.inside().await,
            Some(why) => {
                self.outcome.exit = if self.control.stop.check().is_err() { 130 } else { 1 };
                self.outcome.result = Ended::of(self.outcome.exit);
                self.outcome.message = Some(format!("a hook before it failed, so nothing was sent: {why}"));
                self.all_destinations()
            }
        };
        self.record_run(&missed).await;
    }

    /// The job between its hooks. Returns the destinations that it did not reach and whose run record it has to write.
    async fn inside(&mut self) -> Vec<&'a JobDestination> {
        let done = match source::absent(self.job) {
            Ok(Some(why)) => {
                self.skipped(why).await;
                return Vec::new();
            }
            Ok(None) => self.synced().await,
            Err(error) => Err(error),
        };
        match done {
            Ok(missed) => missed,
            Err(error) => {
                self.failed(&error);
                self.all_destinations()
            }
        }
    }

    /// Syncs with the destinations that could be prepared. Returns the others.
    async fn synced(&mut self) -> Result<Vec<&'a JobDestination>> {
        let job = self.job;
        let Preparation { ready, absent, failed, hooks, warnings, initialized } =
            prepare::destinations(self.machine, job, &self.control.stop).await;
        let outcome = &mut self.outcome;
        (outcome.absent, outcome.destinations, outcome.initialized) = (absent, failed, initialized);
        outcome.hooks.extend(hooks);
        outcome.warnings.extend(warnings);
        if !ready.is_empty() {
            let destinations: Vec<&JobDestination> = ready.iter().map(|ready| ready.destination).collect();
            let drift = ready.iter().filter_map(|ready| Some((ready.destination.url.clone(), ready.drift.clone()?))).collect();
            let (urls, options) = (urls(&destinations), SyncOptions { drift, ..self.options(&destinations)? });
            let done = engine::sync(self.machine, &self.source()?, &urls, &options, self.control).await;
            self.outcome.destinations.extend(done.destinations);
            self.outcome.notes.extend(done.notes);
            let hiding = job.dumps.iter().filter(|dump| dump.hides_failure());
            self.outcome.notes.extend(hiding.map(|dump| Note::PipeHidesFailure(dump.name.clone())));
        }
        if self.is_nowhere() {
            return Ok(Vec::new());
        }
        self.outcome.exit = worst(self.outcome.destinations.iter().map(|d| d.exit));
        self.outcome.result = Ended::of(self.outcome.exit);
        let reached = |destination: &JobDestination| ready.iter().any(|one| one.destination.url == destination.url);
        Ok(job.destinations.iter().filter(|destination| !reached(destination)).collect())
    }

    async fn planned(&mut self) -> Result<()> {
        let mut destinations: Vec<&JobDestination> = Vec::new();
        for destination in &self.job.destinations {
            match prepare::is_left_out(self.machine, destination).await {
                true => self.outcome.absent.push(prepare::shown(destination)),
                false => destinations.push(destination),
            }
        }
        if self.is_nowhere() {
            return Ok(());
        }
        let (urls, options) = (urls(&destinations), self.options(&destinations)?);
        self.outcome.plans = engine::plan(self.machine, &self.source()?, &urls, &options, self.control, None).await;
        self.outcome.exit = worst(self.outcome.plans.iter().map(|plan| plan.exit));
        self.outcome.result = Ended::of(self.outcome.exit);
        Ok(())
    }

    /// Runs the hooks after the job, which may read its outcome in a file. Everything was sent by then, so the failure
    /// of such a hook is reported as that.
    async fn after(&mut self) {
        let job = self.job;
        let kept = TempFile::new(self.machine, &job.shown(), &self.outcome);
        let variables = with_result(&job.variables, self.outcome.result, self.outcome.exit, kept.path());
        let around = HookScope { hooks: &job.hooks, variables: &variables, stop: &self.control.stop };
        let after = around.after(self.outcome.result).await;
        self.outcome.hooks.extend(after.outcomes);
        let Some(why) = after.failed else { return };
        self.outcome.warnings.push(JobWarning::AfterJob(why.clone()));
        if self.outcome.result.is_well() {
            self.outcome.message = Some(match self.outcome.result {
                Ended::Skipped => format!("it was skipped, and a hook after it failed: {why}"),
                _ => format!("everything was sent, but a hook after it failed: {why}"),
            });
            (self.outcome.exit, self.outcome.result) = (1, Ended::Failed);
            self.record_run(&self.all_destinations()).await;
        }
    }

    fn failed(&mut self, error: &Error) {
        let outcome = &mut self.outcome;
        (outcome.exit, outcome.message, outcome.failure) = (error.exit_code(), Some(error.to_string()), Some(error.into()));
        outcome.result = Ended::of(outcome.exit);
    }

    /// Notes that the job is skipped, also at its destinations, for `offsite status`. A dry run writes nothing there.
    async fn skipped(&mut self, why: String) {
        let job = self.job;
        (self.outcome.result, self.outcome.message) = (Ended::Skipped, Some(why.clone()));
        for destination in self.reachable(&self.all_destinations()).await {
            let left = engine::record_skipped(self.machine, &destination.url, &job.name, job.kind.as_deref(), &why);
            if let Err(error) = left.await {
                self.outcome.warnings.push(JobWarning::SkipUnrecorded(error.to_string()));
            }
        }
    }

    /// Writes the run record at destinations that the sync did not reach.
    async fn record_run(&mut self, destinations: &[&JobDestination]) {
        let job = self.job;
        for destination in self.reachable(destinations).await {
            let shown = prepare::shown(destination);
            let own = self.outcome.destinations.iter().find(|to| to.url == shown).and_then(|to| to.error.clone());
            let message = own.or_else(|| self.outcome.message.clone());
            let (exit, kind) = (self.outcome.exit, job.kind.as_deref());
            let left = engine::record_run(self.machine, &destination.url, &job.name, kind, exit, message.as_deref());
            if let Err(error) = left.await {
                self.outcome.warnings.push(JobWarning::RunUnrecorded(error.to_string()));
            }
        }
    }

    fn all_destinations(&self) -> Vec<&'a JobDestination> {
        self.job.destinations.iter().collect()
    }

    /// Those of `destinations` where a run record can be written: not on a dry run, and not at a destination that may be
    /// absent and is.
    async fn reachable(&self, destinations: &[&'a JobDestination]) -> Vec<&'a JobDestination> {
        let mut reachable = Vec::new();
        for destination in destinations.iter().filter(|_| !self.how.dry_run) {
            if !prepare::is_left_out(self.machine, destination).await {
                reachable.push(*destination);
            }
        }
        reachable
    }

    /// Whether all destinations of the job are absent. It is skipped then.
    fn is_nowhere(&mut self) -> bool {
        let none = !self.job.destinations.is_empty() && self.outcome.absent.len() == self.job.destinations.len();
        if none {
            let what = format!("all of its destinations are absent: {}", self.outcome.absent.join(", "));
            (self.outcome.result, self.outcome.message) = (Ended::Skipped, Some(what));
        }
        none
    }

    /// The directory to read. For a job that has only dumps, it is an empty directory in the cache.
    fn source(&self) -> Result<PathBuf> {
        if let Some(source) = &self.job.source {
            return Ok(source.clone());
        }
        let dir = self.machine.cache_dir.join(engine::NO_SOURCE);
        engine::private_dir(&dir)?;
        Ok(dir)
    }

    /// The options of the job, with the exceptions for this run, the prices and the dumps.
    fn options(&self, destinations: &[&JobDestination]) -> Result<SyncOptions> {
        let job = self.job;
        let (mut options, once) = (job.options.clone(), &self.how.once);
        options.limits.allow_empty |= job.source.is_none() || once.allow_empty;
        options.limits.take_over |= once.take_over;
        options.limits.removals = once.max_removals.unwrap_or(options.limits.removals);
        options.limits.rewrites = once.max_rewrites.unwrap_or(options.limits.rewrites);
        options.limits.max_bytes = once.max_bytes.or(options.limits.max_bytes);
        options.limits.max_cost = once.max_cost.or(options.limits.max_cost);
        options.adopt |= once.adopt;
        options.start_over = once.start_over;
        let named = destinations.iter().find_map(|destination| destination.price.clone());
        options.price_name = named.unwrap_or_else(|| default_price(&urls(destinations)).to_owned());
        options.price = self.how.prices.get(&options.price_name).map_err(Error::Usage)?.clone();
        options.dumps = dumps::of(job);
        let layout = |destination: &&JobDestination| Some((destination.url.clone(), destination.layout?));
        options.layouts = destinations.iter().filter_map(layout).collect();
        let seal = |destination: &&JobDestination| Some((destination.url.clone(), destination.seal.as_ref()?.wish.clone()));
        options.seals = destinations.iter().filter_map(seal).collect();
        options.append_only = destinations.iter().filter(|to| to.append_only).map(|to| to.url.clone()).collect();
        options.repack_after = destinations.iter().map(|to| self.repack_after(to)).collect::<Result<_>>()?;
        Ok(options)
    }

    /// How many days old a pack must be at a destination before the run repacks it.
    fn repack_after(&self, to: &JobDestination) -> Result<(String, Option<u64>)> {
        let price = to.price.clone().unwrap_or_else(|| default_price(std::slice::from_ref(&to.url)).to_owned());
        let days = self.how.prices.get(&price).map_err(Error::Usage)?.min_days;
        Ok((to.url.clone(), to.repack.then_some(days)))
    }
}

fn urls(destinations: &[&JobDestination]) -> Vec<String> {
    destinations.iter().map(|destination| destination.url.clone()).collect()
}

/// The variables of hooks that come after a job or a run.
pub fn with_result(variables: &[(String, String)], ended: Ended, exit: u8, outcome: &Path) -> Vec<(String, String)> {
    let own = [("RESULT", ended.word().to_owned()), ("EXIT", exit.to_string()), ("OUTCOME", outcome.display().to_string())];
    variables.iter().cloned().chain(own.map(|(name, value)| (format!("OFFSITE_{name}"), value))).collect()
}
