//! One run of `offsite run`, job by job.
//!
//! Owns the order of the steps:
//!
//! ```text
//! before ─▶ [ lock ─▶ before ─▶ initialize ─▶ sync ─▶ after | on_failure ─▶ finally ─▶ notify ] for each job
//!        ─▶ after | on_failure ─▶ finally ─▶ metrics ─▶ notify
//! ```
//!
//! Invariants: a failed `before` hook of a job prevents only its initialize and sync. A failed `before` hook of the run
//! prevents all jobs. offsite calls the `finally` hooks of a job if it holds the lock, and those of the run always.
//! A dry run calls no hook, writes to no destination and sends no notification.

use std::time::Instant;

use super::hook_scope::{HookScope, HooksRun};
use super::job_run::{JobRun, with_result};
use super::kept::TempFile;
use super::metrics;
use super::notify::{Moment, tell, to};
use super::options::RunnerOptions;
use super::outcome::{Ended, JobOutcome, RunOutcome};
use super::warning::JobWarning;
use crate::config::{Job, ResolvedJobs};
use crate::engine::{Machine, RunControl, worst};
use crate::transfer::Stop;

/// A run in progress.
///
/// # Examples
///
/// ```
/// use std::path::Path;
///
/// use offsite::config::{self, Chosen, Parsed};
/// use offsite::engine::{Machine, RunControl};
/// use offsite::jobs::{Ended, Overrides, Runner, RunnerOptions};
/// use offsite::plan::Prices;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # std::fs::create_dir(at("site"))?;
/// # std::fs::write(at("site/index.html"), "<h1>hello</h1>")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// let config = serde_json::json!({"jobs": {"site": {"source": at("site"), "destinations": at("backup")}}});
/// let parsed = Parsed::from_text(&config.to_string(), Path::new("offsite.json"))?;
/// let resolved = config::plan(&parsed, &Chosen::default())?;
///
/// let options = RunnerOptions { dry_run: false, prices: Prices::shipped()?, once: Overrides::default() };
/// let control = RunControl::new(1);
/// let mut runner = Runner::begin(&machine, &resolved, options, &control.stop).await;
/// for job in &resolved.jobs {
///     runner.job(job, &control).await;
/// }
/// let outcome = runner.end(&control.stop).await;
/// assert_eq!((outcome.exit, outcome.jobs[0].result), (0, Ended::Done));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// Begins a run: sends notifications and runs the `before` hooks of the run. A dry run does neither.
    pub async fn begin(machine: &'a Machine, plan: &'a ResolvedJobs, how: RunnerOptions, stop: &Stop) -> Runner<'a> {
        let outcome = RunOutcome { dry_run: how.dry_run, ..RunOutcome::default() };
        let mut runner = Self { machine, plan, how, began: Instant::now(), outcome, barred: None };
        if !runner.how.dry_run {
            runner.outcome.warnings = tell(&plan.notify, Moment::Start, "", "", &()).await;
            let before = HookScope { hooks: &plan.hooks, variables: &plan.variables, stop }.before().await;
            (runner.outcome.hooks, runner.barred) = (before.outcomes, before.failed);
        }
        runner
    }

    /// Runs one job and adds it to the run's outcome.
    pub async fn job(&mut self, job: &Job, control: &RunControl) -> JobOutcome {
        let outcome = JobRun::new(self.machine, &self.how, job, control).run(self.barred.as_deref()).await;
        self.outcome.jobs.push(outcome.clone());
        outcome
    }

    /// Ends the run: runs the hooks after it, writes the metrics and sends notifications. A dry run does none of these.
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
        let kept = TempFile::new(self.machine, "run", &self.outcome);
        let variables = with_result(&self.plan.variables, ended, self.outcome.exit, kept.path());
        let HooksRun { outcomes, failed } = HookScope { hooks: &self.plan.hooks, variables: &variables, stop }.after(ended).await;
        self.outcome.hooks.extend(outcomes);
        let ended = if failed.is_some() && ended.is_well() { Ended::Failed } else { ended };
        if let Some(why) = failed {
            self.outcome.exit = self.outcome.exit.max(1);
            self.outcome.warnings.push(JobWarning::AfterRun(why));
        }
        if let Some(path) = &self.plan.metrics {
            self.outcome.warnings.extend(metrics::write(path, &self.outcome).err().map(|e| JobWarning::Metrics(e.to_string())));
        }
        let text = self.outcome.jobs.iter().map(JobOutcome::sentence).collect::<Vec<_>>().join("\n");
        let moment = if ended.is_well() { Moment::Well } else { Moment::Failed };
        let subject = format!("offsite: run {} on {}", ended.word(), self.machine.host);
        let idle = self.outcome.jobs.iter().all(|job| matches!(job.result, Ended::Skipped | Ended::Ignored));
        let warnings = tell(&to(&self.plan.notify, idle && ended.is_well()), moment, &subject, &text, &self.outcome).await;
        self.outcome.warnings.extend(warnings);
        self.outcome
    }
}
