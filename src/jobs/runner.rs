//! One run of `offsite run`, job by job.
//!
//! Owns the order of things:
//!
//! ```text
//! before ─▶ [ lock ─▶ before ─▶ initialize ─▶ sync ─▶ after | on_failure ─▶ finally ─▶ tell ] for each job
//!        ─▶ after | on_failure ─▶ finally ─▶ metrics ─▶ tell
//! ```
//!
//! Invariants: a `before` that fails keeps what is inside it from running, and nothing else; `finally` runs whatever
//! happened; on a dry run no command runs, nothing is made, and nobody is told.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::kept::TempFile;
use super::notify::{Moment, tell};
use super::outcome::{Ended, JobOutcome, RunOutcome};
use super::warning::JobWarning;
use super::{dumps, hooks, lock, metrics, prepare, source};
use crate::config::{Absent, Command, Hooks, Job, JobDestination, Notify, ResolvedJobs, default_price};
use crate::engine;
use crate::engine::{Machine, Note, Outcome, RunControl, SyncOptions, worst};
use crate::error::{Error, Result};
use crate::plan::Prices;
use crate::transfer::Stop;

/// How a run is done.
#[derive(Debug, Clone)]
pub struct RunnerOptions {
    /// Only plan; run no hook and write nothing.
    pub dry_run: bool,
    /// For the cost of a plan.
    pub prices: Prices,
    /// What this run may do once.
    pub once: Overrides,
}

/// What this run may do that the config does not allow, as the flags of `offsite sync` of the same names do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// Begin a new history where the manifest cannot be read.
    pub start_over: bool,
    /// Use files that another tool put at the destination.
    pub adopt: bool,
    /// Accept an empty source.
    pub allow_empty: bool,
    /// Take a destination over from another machine and source.
    pub take_over: bool,
    /// The most files to remove, as a share of all: 0.5 is 50 %.
    pub max_removals: Option<f64>,
    /// The most files to replace, as a share of all.
    pub max_rewrites: Option<f64>,
    /// The most bytes to send.
    pub max_bytes: Option<u64>,
    /// The most that a run may cost, in the currency of the price table.
    pub max_cost: Option<f64>,
}

/// A run that is under way.
pub struct Runner<'a> {
    machine: &'a Machine,
    plan: &'a ResolvedJobs,
    how: RunnerOptions,
    began: Instant,
    outcome: RunOutcome,
    /// Why no job may run.
    barred: Option<String>,
}

impl<'a> Runner<'a> {
    /// Begins a run: sends notifications and runs the hooks before it.
    pub async fn begin(machine: &'a Machine, plan: &'a ResolvedJobs, how: RunnerOptions, stop: &Stop) -> Runner<'a> {
        let outcome = RunOutcome { dry_run: how.dry_run, ..RunOutcome::default() };
        let mut runner = Self { machine, plan, how, began: Instant::now(), outcome, barred: None };
        if !runner.how.dry_run {
            runner.outcome.warnings = tell(&plan.notify, Moment::Start, "", "", &()).await;
            let around = HookScope { hooks: &plan.hooks, variables: &plan.variables, stop };
            runner.barred = around.before(&mut runner.outcome.hooks).await;
        }
        runner
    }

    /// Runs one job and adds it to the run's outcome.
    pub async fn job(&mut self, job: &Job, control: &RunControl) -> JobOutcome {
        let began = Instant::now();
        let mut outcome = JobOutcome {
            job: job.name.clone(),
            volume: job.volume.clone(),
            kind: job.kind.clone(),
            source: job.shown_source(),
            began: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            ..JobOutcome::default()
        };
        if let Err(error) = self.one(job, control, &mut outcome).await {
            outcome.exit = error.exit_code();
            outcome.message = Some(error.to_string());
            outcome.failure = Some((&error).into());
            outcome.result = Ended::of(outcome.exit);
            // One that is at work leaves its own word.
            if !self.how.dry_run && !matches!(error, Error::Busy(_)) {
                self.record_run(job, &job.places.iter().collect::<Vec<_>>(), &mut outcome).await;
            }
        }
        outcome.seconds = began.elapsed().as_secs_f64();
        if !self.how.dry_run && outcome.result != Ended::Ignored {
            let text = sentence(&outcome);
            let moment = if outcome.result.is_well() { Moment::Well } else { Moment::Failed };
            let subject = format!("offsite: job {} {}", job.shown(), outcome.result.word());
            outcome.warnings.extend(tell(&to(&job.notify, outcome.result == Ended::Skipped), moment, &subject, &text, &outcome).await);
        }
        self.outcome.jobs.push(outcome.clone());
        outcome
    }

    /// Ends the run: the commands after it, the metrics, and those who want to know.
    pub async fn end(mut self, stop: &Stop) -> RunOutcome {
        self.outcome.exit = if self.outcome.jobs.is_empty() { 0 } else { worst(self.outcome.jobs.iter().map(|job| job.exit)) };
        if self.barred.is_some() && self.outcome.exit == 0 {
            self.outcome.exit = 1;
        }
        self.outcome.seconds = self.began.elapsed().as_secs_f64();
        if self.how.dry_run {
            return self.outcome;
        }
        let ended = Ended::of(self.outcome.exit);
        let mut hooks = std::mem::take(&mut self.outcome.hooks);
        let kept = TempFile::new(self.machine, "run", &self.outcome);
        let variables = with_result(&self.plan.variables, ended, self.outcome.exit, kept.path());
        let around = HookScope { hooks: &self.plan.hooks, variables: &variables, stop };
        let failed = around.after(ended, &mut hooks).await;
        self.outcome.hooks = hooks;
        let ended = if failed.is_some() && ended.is_well() { Ended::Failed } else { ended };
        if let Some(why) = failed {
            self.outcome.exit = self.outcome.exit.max(1);
            self.outcome.warnings.push(JobWarning::AfterRun(why));
        }
        if let Some(path) = &self.plan.metrics {
            self.outcome.warnings.extend(metrics::write(path, &self.outcome).err().map(|e| JobWarning::Metrics(e.to_string())));
        }
        let text = self.outcome.jobs.iter().map(sentence).collect::<Vec<_>>().join("\n");
        let moment = if ended.is_well() { Moment::Well } else { Moment::Failed };
        let subject = format!("offsite: run {} on {}", ended.word(), self.machine.host);
        let idle = self.outcome.jobs.iter().all(|job| matches!(job.result, Ended::Skipped | Ended::Ignored));
        let warnings = tell(&to(&self.plan.notify, idle && ended.is_well()), moment, &subject, &text, &self.outcome).await;
        self.outcome.warnings.extend(warnings);
        self.outcome
    }

    async fn one(&self, job: &Job, control: &RunControl, outcome: &mut JobOutcome) -> Result<()> {
        if job.ignored {
            outcome.result = Ended::Ignored;
            let who = if job.volume.is_some() { "its label or the config" } else { "the config" };
            outcome.message = Some(format!("{who} says \"ignore\" for this type"));
            return Ok(());
        }
        control.stop.check()?;
        if let Some(why) = &self.barred {
            return Err(Error::Command(format!("a hook before the run failed: {why}")));
        }
        // A command before the job may be what brings its source about: a mount, a snapshot of a volume.
        let brought = !job.hooks.before.is_empty() && job.mounted.is_none();
        let absent = match (brought, self.how.dry_run) {
            (false, _) => source::absent(job)?,
            (true, true) => source::lacking(job)?,
            (true, false) => None,
        };
        if let Some(why) = absent {
            let perhaps = if brought { "; a `before` hook, which does not run on a dry run, may create it" } else { "" };
            (outcome.result, outcome.message) = (Ended::Skipped, Some(format!("{why}{perhaps}")));
            self.record_skipped(job, outcome).await;
            return Ok(());
        }
        let _lock = lock::take(self.machine, job)?;
        if self.how.dry_run {
            return self.planned(job, control, outcome).await;
        }
        outcome.warnings.extend(tell(&job.notify, Moment::Start, "", "", &()).await);
        let around = HookScope { hooks: &job.hooks, variables: &job.variables, stop: &control.stop };
        let missed = match around.before(&mut outcome.hooks).await {
            None => self.inside(job, control, outcome).await,
            Some(why) => {
                outcome.exit = if control.stop.check().is_err() { 130 } else { 1 };
                outcome.result = Ended::of(outcome.exit);
                outcome.message = Some(format!("a hook before it failed, so nothing was sent: {why}"));
                job.places.iter().collect()
            }
        };
        self.record_run(job, &missed, outcome).await;
        let kept = TempFile::new(self.machine, &job.shown(), outcome);
        let variables = with_result(&job.variables, outcome.result, outcome.exit, kept.path());
        let around = HookScope { variables: &variables, ..around };
        // Everything was sent; a failed hook after it is reported separately.
        if let Some(why) = around.after(outcome.result, &mut outcome.hooks).await {
            outcome.warnings.push(JobWarning::AfterJob(why.clone()));
            if outcome.result.is_well() {
                outcome.exit = 1;
                outcome.result = Ended::Failed;
                outcome.message = Some(format!("everything was sent, but a hook after it failed: {why}"));
                self.record_run(job, &job.places.iter().collect::<Vec<_>>(), outcome).await;
            }
        }
        Ok(())
    }

    /// The job between its commands; answers the places that it did not come to and that are to know.
    async fn inside<'b>(&self, job: &'b Job, control: &RunControl, outcome: &mut JobOutcome) -> Vec<&'b JobDestination> {
        let done = match source::absent(job) {
            Ok(Some(why)) => {
                (outcome.result, outcome.message) = (Ended::Skipped, Some(why));
                self.record_skipped(job, outcome).await;
                return Vec::new();
            }
            Ok(None) => self.synced(job, control, outcome).await,
            Err(error) => Err(error),
        };
        let missed = done.unwrap_or_else(|error| {
            (outcome.exit, outcome.message, outcome.failure) = (error.exit_code(), Some(error.to_string()), Some((&error).into()));
            job.places.iter().collect()
        });
        if outcome.result != Ended::Skipped {
            outcome.result = Ended::of(outcome.exit);
        }
        missed
    }

    /// Syncs to the places that could be made ready; answers the others.
    async fn synced<'b>(&self, job: &'b Job, control: &RunControl, outcome: &mut JobOutcome) -> Result<Vec<&'b JobDestination>> {
        let ready = prepare::places(self.machine, job, &job.variables, &control.stop, outcome).await;
        if !ready.is_empty() {
            let places: Vec<&JobDestination> = ready.iter().map(|ready| ready.place).collect();
            let drift = ready.iter().filter_map(|ready| Some((ready.place.url.clone(), ready.drift.clone()?))).collect();
            let (urls, options) = (urls(&places), SyncOptions { drift, ..self.options(job, &places)? });
            let done = engine::sync(self.machine, &self.source(job)?, &urls, &options, control).await;
            outcome.destinations.extend(done.destinations);
            outcome.notes.extend(done.notes);
            let hiding = job.dumps.iter().filter(|dump| dump.hides_failure());
            outcome.notes.extend(hiding.map(|dump| Note::PipeHidesFailure(dump.name.clone())));
        }
        if nowhere(job, outcome) {
            return Ok(Vec::new());
        }
        outcome.exit = worst(outcome.destinations.iter().map(|d| d.exit));
        let absent = |place: &&JobDestination| outcome.absent.contains(&prepare::shown(place));
        Ok(job.places.iter().filter(|place| !absent(place) && !ready.iter().any(|one| one.place.url == place.url)).collect())
    }

    /// Writes the run record at destinations that the job did not reach.
    async fn record_run(&self, job: &Job, places: &[&JobDestination], outcome: &mut JobOutcome) {
        let (exit, message) = (outcome.exit, outcome.message.clone());
        for place in places {
            let said = outcome.destinations.iter().find(|to| place.url.starts_with(&to.url)).and_then(|to| to.error.clone());
            let message = said.or_else(|| message.clone());
            let left = engine::record_run(self.machine, &place.url, &job.name, job.kind.as_deref(), exit, message.as_deref());
            if let Err(error) = left.await {
                outcome.warnings.push(JobWarning::RunUnrecorded(error.to_string()));
            }
        }
    }

    /// Leaves word at the places of a job that was skipped, for `offsite status`.
    async fn record_skipped(&self, job: &Job, outcome: &mut JobOutcome) {
        let why = outcome.message.clone().unwrap_or_default();
        for place in job.places.iter().filter(|_| !self.how.dry_run) {
            if place.absent == Absent::Skip && engine::is_absent(self.machine, &place.url).await.unwrap_or(false) {
                continue;
            }
            let left = engine::record_skipped(self.machine, &place.url, &job.name, job.kind.as_deref(), &why);
            if let Err(error) = left.await {
                outcome.warnings.push(JobWarning::SkipUnrecorded(error.to_string()));
            }
        }
    }

    async fn planned(&self, job: &Job, control: &RunControl, outcome: &mut JobOutcome) -> Result<()> {
        let mut places: Vec<&JobDestination> = Vec::new();
        for place in &job.places {
            if !prepare::is_left_out(self.machine, place, outcome).await {
                places.push(place);
            }
        }
        if nowhere(job, outcome) {
            return Ok(());
        }
        let (urls, options) = (urls(&places), self.options(job, &places)?);
        outcome.plans = engine::plan(self.machine, &self.source(job)?, &urls, &options, control, None).await;
        outcome.exit = worst(outcome.plans.iter().map(|plan| plan.exit));
        outcome.result = Ended::of(outcome.exit);
        Ok(())
    }

    /// The directory to read: for a job of dumps alone an empty one.
    fn source(&self, job: &Job) -> Result<PathBuf> {
        if let Some(source) = &job.source {
            return Ok(source.clone());
        }
        let dir = self.machine.cache_dir.join(engine::NO_SOURCE);
        engine::private_dir(&dir)?;
        Ok(dir)
    }

    /// The job's own options, with what was said for this run alone and what only a run knows.
    fn options(&self, job: &Job, places: &[&JobDestination]) -> Result<SyncOptions> {
        let (mut options, once) = (job.options.clone(), &self.how.once);
        options.limits.allow_empty |= job.source.is_none() || once.allow_empty;
        options.limits.take_over |= once.take_over;
        options.limits.removals = once.max_removals.unwrap_or(options.limits.removals);
        options.limits.rewrites = once.max_rewrites.unwrap_or(options.limits.rewrites);
        options.limits.max_bytes = once.max_bytes.or(options.limits.max_bytes);
        options.limits.max_cost = once.max_cost.or(options.limits.max_cost);
        options.adopt |= once.adopt;
        options.start_over = once.start_over;
        let named = places.iter().find_map(|place| place.price.clone());
        options.price_name = named.unwrap_or_else(|| default_price(&urls(places)).to_owned());
        options.price = self.how.prices.get(&options.price_name).map_err(Error::Usage)?.clone();
        options.dumps = dumps::of(job);
        Ok(options)
    }
}

/// Whether none of a job's places is there; it is skipped then.
fn nowhere(job: &Job, outcome: &mut JobOutcome) -> bool {
    let none = !job.places.is_empty() && outcome.absent.len() == job.places.len();
    if none {
        let what = format!("all of its destinations are absent: {}", outcome.absent.join(", "));
        (outcome.result, outcome.message) = (Ended::Skipped, Some(what));
    }
    none
}

fn urls(places: &[&JobDestination]) -> Vec<String> {
    places.iter().map(|place| place.url.clone()).collect()
}

fn with_result(variables: &[(String, String)], ended: Ended, exit: u8, outcome: &Path) -> Vec<(String, String)> {
    let own = [("RESULT", ended.word().to_owned()), ("EXIT", exit.to_string()), ("OUTCOME", outcome.display().to_string())];
    variables.iter().cloned().chain(own.map(|(name, value)| (format!("OFFSITE_{name}"), value))).collect()
}

/// One job in a sentence, for notifications.
fn sentence(job: &JobOutcome) -> String {
    let mut text = format!("{}: {} in {:.0} s", job.shown(), job.result.word(), job.seconds);
    let said = job.destinations.iter().map(|d| match (&d.error, d.snapshot) {
        (Some(error), _) => format!("{}: {error}", d.url),
        (None, Some(number)) => format!("{}: snapshot {number}{}", d.url, left(d)),
        (None, None) => d.url.clone(),
    });
    for line in job.message.iter().cloned().chain(said).chain(job.warnings.iter().map(ToString::to_string)) {
        text.push_str("\n  ");
        text.push_str(&line);
    }
    text
}

/// What a snapshot does not have as it should be, and of what an example.
fn left(one: &Outcome) -> String {
    let unread =
        one.unread.first().first().map(|p| format!("; {} could not be read, such as {}: {}", one.unread.total(), p.path, p.problem));
    let unstable = one.unstable.first().first().map(|p| format!("; {} kept changing, such as {p}", one.unstable.total()));
    unread.into_iter().chain(unstable).collect()
}

/// Notifies of an end. A run that did nothing sends no ping of success, so that a monitor notices.
fn to(notify: &Notify, idle: bool) -> Notify {
    Notify { ping: notify.ping.clone().filter(|_| !idle), ..notify.clone() }
}

/// Commands around a job or a run.
#[derive(Clone, Copy)]
struct HookScope<'a> {
    hooks: &'a Hooks,
    variables: &'a [(String, String)],
    stop: &'a Stop,
}

impl HookScope<'_> {
    /// Answers why what is inside may not run.
    async fn before(&self, outcomes: &mut Vec<super::hooks::HookOutcome>) -> Option<String> {
        self.all("before", &self.hooks.before, true, outcomes).await
    }

    /// `after` or `on_failure`, and then `finally`; answers the first thing that went wrong.
    async fn after(&self, ended: Ended, outcomes: &mut Vec<super::hooks::HookOutcome>) -> Option<String> {
        let (name, commands) = match ended {
            // Nothing was done that something could follow on.
            Ended::Skipped => ("after", &[][..]),
            _ if ended.is_well() => ("after", &self.hooks.after[..]),
            _ => ("on_failure", &self.hooks.on_failure[..]),
        };
        // An interrupted run still cleans up after itself: only a fresh interrupt ends these.
        let calm = Stop::default();
        let around = HookScope { stop: &calm, ..*self };
        let first = around.all(name, commands, true, outcomes).await;
        let last = around.all("finally", &self.hooks.finally, false, outcomes).await;
        first.or(last)
    }

    async fn all(
        &self,
        name: &str,
        commands: &[Command],
        until_one_fails: bool,
        outcomes: &mut Vec<super::hooks::HookOutcome>,
    ) -> Option<String> {
        let mut failed = None;
        for command in commands {
            let outcome = hooks::run(name, command, self.variables, self.hooks.timeout, self.stop).await;
            let why = outcome.error.as_ref().map(|why| format!("`{}`: {why}", outcome.command));
            outcomes.push(outcome);
            failed = failed.or(why);
            if until_one_fails && failed.is_some() {
                break;
            }
        }
        failed
    }
}
