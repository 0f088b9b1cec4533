//! `offsite report URL…`

use std::path::PathBuf;

use clap::Args;
use offsite::config::{ReportMethod, values};
use offsite::engine::{self, DestinationReport, KeyRing, Note, Priced, ReportOptions, worst};
use offsite::error::{Error, Result};
use offsite::jobs::run_command;

use super::super::args_config::ConfigArgs;
use crate::cli::context::Context;

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A destination, or a bucket or directory with several destinations (default: every destination of the config)
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// Count everything that the store lists now (default: the newest manifest, as of the last run; a listing if there
    /// is no manifest)
    #[arg(long)]
    list: bool,
    /// Show the totals of the top directories too
    #[arg(long)]
    by_directory: bool,
    /// The row of the price table for the cost of storage (default: the row for each URL; none for directories and
    /// servers of your own)
    #[arg(long, value_name = "NAME", help_heading = "Cost")]
    price: Option<String>,
    /// A price table of your own, in the form of data/prices.json
    #[arg(long, value_name = "FILE", help_heading = "Cost")]
    prices: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The URLs to report on, and their options.
#[derive(Default)]
struct ReportRequest {
    urls: Vec<String>,
    /// The name of the price for each URL, if one is given.
    prices: Vec<Option<String>>,
    list: bool,
    /// Reports of the user's own commands.
    reported: Vec<DestinationReport>,
    /// Keys that the config names.
    keys: KeyRing,
}

pub async fn run(args: ReportArgs, context: &Context) -> Result<u8> {
    let prices = values::prices(args.prices.as_deref())?;
    let wanted = match args.urls.is_empty() {
        false => ReportRequest { prices: vec![None; args.urls.len()], urls: args.urls.clone(), ..ReportRequest::default() },
        true => from_config(&args, context).await?,
    };
    let priced = |(url, named): (&String, &Option<String>)| {
        let name = args.price.clone().or_else(|| named.clone());
        let name = name.unwrap_or_else(|| offsite::config::default_price(std::slice::from_ref(url)).to_owned());
        let price = prices.get(&name).map_err(Error::Usage)?.clone();
        Ok((url.clone(), (name != "none").then_some(Priced { name, price })))
    };
    let urls = wanted.urls.iter().zip(&wanted.prices).map(priced).collect::<Result<Vec<_>>>()?;
    let options = ReportOptions { list: args.list || wanted.list, by_directory: args.by_directory, prices: prices.clone() };
    let mut machine = context.machine()?;
    let KeyRing { writers, usual_identities, passphrases, .. } = wanted.keys;
    (machine.keys.writers, machine.keys.usual_identities, machine.keys.passphrases) = (writers, usual_identities, passphrases);
    let (run, bars) = context.control(&wanted.urls);
    let mut outcome = engine::report(&machine, &urls, &options, &run).await;
    drop(bars);
    outcome.destinations.extend(wanted.reported);
    // An empty report is no failure.
    outcome.exit = worst(outcome.destinations.iter().map(|report| report.exit).chain([0]));
    context.out.reported(&outcome)?;
    Ok(outcome.exit)
}

/// Every destination of every job, once.
async fn from_config(args: &ReportArgs, context: &Context) -> Result<ReportRequest> {
    let plans = args.config.known_plans()?;
    // Ctrl-C also ends a hook that is running.
    let (watch, bars) = context.control(&[]);
    drop(bars);
    let mut wanted = ReportRequest::default();
    for (job, destination) in
        plans.iter().flat_map(|plan| &plan.jobs).filter(|job| !job.ignored).flat_map(|j| j.destinations.iter().map(move |p| (j, p)))
    {
        destination.add_keys(&mut wanted.keys);
        match &destination.report {
            ReportMethod::BuiltIn if !wanted.urls.contains(&destination.url) => {
                wanted.urls.push(destination.url.clone());
                wanted.prices.push(destination.price.clone());
                wanted.list |= destination.list;
            }
            ReportMethod::BuiltIn => {}
            ReportMethod::By(command) => {
                let mut variables = job.variables.clone();
                variables.push(("OFFSITE_DESTINATION".to_owned(), destination.url.clone()));
                let hook = run_command("report", command, &variables, job.hooks.timeout, &watch.stop).await;
                watch.stop.check()?;
                context.out.hook_ran(&job.shown(), &hook);
                let notes = hook.output.lines().map(|line| Note::Hook(line.to_owned())).collect();
                let url = super::super::render::printable_url(&destination.url);
                let exit = u8::from(hook.error.is_some());
                wanted.reported.push(DestinationReport { url, notes, error: hook.error, exit, ..DestinationReport::default() });
            }
        }
    }
    Ok(wanted)
}
