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
Exit codes: that of the job that ended worst. 0 done, or left out; 1 failed; 2 usage or config;
3 committed, but some files could not be read; 4 refused by the guard; 130 interrupted.";

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub struct RunJobsArgs {
    /// Which jobs (default: all, in the order of the file)
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    /// Say what would be done; no command runs and nothing is made
    #[arg(long)]
    dry_run: bool,
    /// Write figures of the run to this file, for Prometheus' textfile collector (default: what the config says)
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    #[command(flatten)]
    once: OnceArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What a refusal names: for this run alone, and for the jobs that are named.
#[derive(Debug, Args)]
#[command(next_help_heading = "This time only, with a JOB")]
struct OnceArgs {
    /// Take a destination that was emptied since the last run for a new one
    #[arg(long)]
    start_over: bool,
    /// Take over what lies at the destination already and is the same
    #[arg(long)]
    adopt: bool,
    /// The source may be empty
    #[arg(long)]
    allow_empty: bool,
    /// The destination was another machine's and another source's, and is this job's from now on
    #[arg(long)]
    take_over: bool,
    /// Let it remove up to this share of the entries: 100%
    #[arg(long, value_name = "PERCENT", value_parser = values::share)]
    max_removals: Option<f64>,
    /// Let it rewrite up to this share of the files: 100%
    #[arg(long, value_name = "PERCENT", value_parser = values::share)]
    max_rewrites: Option<f64>,
    /// Let it send up to so many bytes to a destination: 500M, 10G, by 1024
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    max_bytes: Option<u64>,
    /// Let its requests cost up to so many US dollars at a destination: 0.50
    #[arg(long, value_name = "USD", value_parser = values::dollars)]
    max_cost: Option<f64>,
}

impl OnceArgs {
    fn once(&self, jobs: &[String]) -> Result<Overrides> {
        let Self { start_over, adopt, allow_empty, take_over, max_removals, max_rewrites, max_bytes, max_cost } = *self;
        let once = Overrides { start_over, adopt, allow_empty, take_over, max_removals, max_rewrites, max_bytes, max_cost };
        match once != Overrides::default() && jobs.is_empty() {
            true => Err(Error::Usage("what is allowed this time only is allowed to a job; name it: offsite run JOB --allow-empty".into())),
            false => Ok(once),
        }
    }
}

pub async fn run(args: RunJobsArgs, context: &Context) -> Result<u8> {
    let once = args.once.once(&args.jobs)?;
    let mut plan = args.config.plan(&args.jobs)?;
    if plan.jobs.is_empty() && args.config.parsed()?.file.jobs.0.is_empty() {
        return Err(Error::Usage(format!("{}: there are no jobs in it", args.config.parsed()?.name())));
    }
    plan.metrics = args.metrics.clone().or(plan.metrics);
    let machine = context.machine()?;
    let how = RunnerOptions { dry_run: args.dry_run, prices: Prices::shipped().map_err(Error::Usage)?, once };
    // Ctrl-C reaches what runs around the jobs as well.
    let (watch, bars) = context.control(&[]);
    drop(bars);
    let mut runner = Runner::begin(&machine, &plan, how, &watch.stop).await;
    for job in &plan.jobs {
        let names: Vec<String> = job.places.iter().map(|place| place.url.clone()).collect();
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
