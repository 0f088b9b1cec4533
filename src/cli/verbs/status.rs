//! `offsite status [URL…] [--max-age 26h]`

use clap::Args;
use offsite::config::{Absent, values};
use offsite::engine::{self, Watched};
use offsite::error::Result;

use super::super::args_config::ConfigArgs;
use crate::cli::context::Context;

const CODES: &str = "\
Exit codes: 0 every last run is well; 1 a run is older than --max-age, never happened, failed, was refused
or cannot be read, or the last check found something wrong; 2 usage or config.";

/// Arguments of `status`.
#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub struct StatusArgs {
    /// Destinations (default: every destination of the config)
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// The maximum age of the last run: 26h; `max_age` of a destination in the config takes precedence (default: no
    /// limit)
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    max_age: Option<u64>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub async fn run(args: StatusArgs, context: &Context) -> Result<u8> {
    let mut machine = context.machine()?;
    let mut all: Vec<Watched> = args.urls.iter().map(|url| Watched { url: url.clone(), ..Watched::default() }).collect();
    if all.is_empty() {
        let plans = args.config.known_plans()?;
        let jobs = plans.iter().flat_map(|plan| &plan.jobs).filter(|job| !job.ignored);
        jobs.clone().for_each(|job| job.add_keys(&mut machine.keys));
        for place in jobs.flat_map(|job| &job.destinations) {
            if !all.iter().any(|known| known.url == place.url) {
                all.push(Watched { url: place.url.clone(), max_age: place.max_age, may_be_absent: place.absent == Absent::Skip });
            }
        }
    }
    let outcome = engine::status(&machine, &all, args.max_age).await;
    context.out.statuses(&outcome)?;
    Ok(outcome.exit)
}
