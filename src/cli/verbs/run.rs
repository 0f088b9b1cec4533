//! `offsite run [JOB…] [--type T] [--set NAME=VALUE]`

use std::path::PathBuf;

use clap::Args;
use offsite::error::{Error, Result};
use offsite::jobs::{How, Runner};
use offsite::plan::Prices;

use super::super::Context;
use super::super::args_config::ConfigArgs;

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
    config: ConfigArgs,
}

pub async fn run(args: RunJobsArgs, context: &Context) -> Result<u8> {
    let mut plan = args.config.plan(&args.jobs)?;
    plan.metrics = args.metrics.clone().or(plan.metrics);
    let machine = context.machine()?;
    let how = How { dry_run: args.dry_run, prices: Prices::shipped().map_err(Error::Usage)? };
    // Ctrl-C reaches what runs around the jobs as well.
    let (watch, bars) = context.report(&[]);
    drop(bars);
    let mut runner = Runner::begin(&machine, &plan, how, &watch.stop).await;
    for job in &plan.jobs {
        let names: Vec<String> = job.places.iter().map(|place| place.url.clone()).collect();
        let (mut report, bars) = context.report(&names);
        report.stop = watch.stop.clone();
        context.watch(&report);
        let outcome = runner.job(job, &report).await;
        drop(bars);
        context.out.job_ran(&outcome, args.dry_run)?;
    }
    let outcome = runner.end(&watch.stop).await;
    context.out.jobs_ran(&outcome)?;
    Ok(outcome.exit)
}
