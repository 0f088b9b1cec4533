//! `offsite report URL…`

use std::path::PathBuf;

use clap::Args;
use offsite::engine::{self, Priced, ReportOptions};
use offsite::error::{Error, Result};

use super::super::Context;
use super::super::values;

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// What to report on: a destination, a bucket or a directory with several in it
    #[arg(value_name = "URL", required = true)]
    urls: Vec<String>,
    /// Count what the store lists: everything that takes up room there now (default: the newest manifest, as of the
    /// last run; where there is none, the listing)
    #[arg(long)]
    list: bool,
    /// Sums of the first directories as well
    #[arg(long)]
    by_directory: bool,
    /// The row of the price table that storage is priced by (default: the one that fits each URL; none for directories
    /// and servers of your own)
    #[arg(long, value_name = "NAME", help_heading = "Cost")]
    price: Option<String>,
    /// A price table of your own, in the form of the shipped one
    #[arg(long, value_name = "FILE", help_heading = "Cost")]
    prices: Option<PathBuf>,
}

pub async fn run(args: ReportArgs, context: &Context) -> Result<u8> {
    let prices = values::prices(args.prices.as_deref())?;
    let priced = |url: &String| {
        let name = args.price.clone().unwrap_or_else(|| offsite::config::default_price(std::slice::from_ref(url)).to_owned());
        let price = prices.get(&name).map_err(Error::Usage)?.clone();
        Ok((url.clone(), (name != "none").then_some(Priced { name, price })))
    };
    let urls = args.urls.iter().map(priced).collect::<Result<Vec<_>>>()?;
    let options = ReportOptions { list: args.list, by_directory: args.by_directory, prices: prices.clone() };
    let machine = context.machine()?;
    let (run, bars) = context.report(&args.urls);
    let outcome = engine::report(&machine, &urls, &options, &run).await;
    drop(bars);
    context.out.reported(&outcome)?;
    Ok(outcome.exit)
}
