//! `offsite run [JOB…] [--type T] [--set NAME=VALUE]`

use std::path::PathBuf;

use clap::Args;
use offsite::config::values;
use offsite::error::{Error, Result};
use offsite::jobs::{Overrides, Runner, RunnerOptions};
use offsite::plan::Prices;

use super::super::args_config::ConfigArgs;
use crate::cli::context::Context;

const CODES: &str = "\
Exit codes: that of the job that ended worst. 0 done or skipped; 1 failed; 2 usage or config;
3 committed, but some files could not be read; 4 refused by the guard; 130 interrupted.";

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub struct RunJobsArgs {
    /// The jobs to run (default: all, in the order of the config)
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    /// Show what would be done; run no hook and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Write metrics to this file for Prometheus' textfile collector (default: as in the config)
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    #[command(flatten)]
    once: OnceArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What a refusal names: for this run alone, and for the jobs that are named.
#[derive(Debug, Args)]
#[command(next_help_heading = "For this run only, with a JOB")]
struct OnceArgs {
    /// Treat an emptied destination as new
    #[arg(long)]
    start_over: bool,
    /// Use identical files that are already at the destination
    #[arg(long)]
    adopt: bool,
    /// Allow an empty source
    #[arg(long)]
    allow_empty: bool,
    /// Take over a destination of another machine and source
    #[arg(long)]
    take_over: bool,
    /// Allow removing up to this share of the entries: 100%
    #[arg(long, value_name = "PERCENT", value_parser = values::share)]
    max_removals: Option<f64>,
    /// Allow rewriting up to this share of the files: 100%
    #[arg(long, value_name = "PERCENT", value_parser = values::share)]
    max_rewrites: Option<f64>,
    /// Allow sending up to this many bytes to a destination: 500M, 10G
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    max_bytes: Option<u64>,
    /// Allow requests for up to this many US dollars at a destination: 0.50
    #[arg(long, value_name = "USD", value_parser = values::dollars)]
    max_cost: Option<f64>,
}

impl OnceArgs {
    fn once(&self, jobs: &[String]) -> Result<Overrides> {
        let Self { start_over, adopt, allow_empty, take_over, max_removals, max_rewrites, max_bytes, max_cost } = *self;
        let once = Overrides { start_over, adopt, allow_empty, take_over, max_removals, max_rewrites, max_bytes, max_cost };
        match once != Overrides::default() && jobs.is_empty() {
            true => Err(Error::Usage("a flag for one run needs a job; name it: offsite run JOB --allow-empty".into())),
            false => Ok(once),
        }
    }
}

pub async fn run(args: RunJobsArgs, context: &Context) -> Result<u8> {
    let once = args.once.once(&args.jobs)?;
    let mut plan = args.config.plan(&args.jobs)?;
    if plan.jobs.is_empty() && args.config.parsed()?.file.jobs.0.is_empty() {
        return Err(Error::Usage(format!("{}: it has no jobs", args.config.parsed()?.name())));
    }
    plan.metrics = args.metrics.clone().or(plan.metrics);
    let machine = context.machine_for(&plan.jobs)?;
    let how = RunnerOptions { dry_run: args.dry_run, prices: Prices::shipped().map_err(Error::Usage)?, once };
    // Ctrl-C also ends hooks around the jobs.
    let (watch, bars) = context.control(&[]);
    drop(bars);
    let mut runner = Runner::begin(&machine, &plan, how, &watch.stop).await;
    for job in &plan.jobs {
        let names: Vec<String> = job.destinations.iter().map(|destination| destination.url.clone()).collect();
        let (mut control, bars) = context.control(&names);
        control.stop = watch.stop.clone();
        context.watch(&control);
        let outcome = runner.job(job, &control).await;
        drop(bars);
        context.out.job_ran(&outcome, args.dry_run)?;
    }
    let outcome = runner.end(&watch.stop).await;
    context.out.jobs_ran(&outcome)?;
    Ok(outcome.exit)
}
