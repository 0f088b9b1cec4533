//! `offsite diff URL FROM [TO]`

use clap::Args;
use offsite::engine;
use offsite::error::Result;

use super::super::args_from::FromArgs;
use crate::cli::context::Context;

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    #[command(flatten)]
    from: FromArgs,
    /// The older snapshot: a number, a date (2026-11-01) or an age (3d)
    #[arg(value_name = "OLDER")]
    older: String,
    /// The newer snapshot (default: the newest)
    #[arg(value_name = "NEWER")]
    newer: Option<String>,
}

pub async fn run(args: DiffArgs, context: &Context) -> Result<u8> {
    let machine = context.machine_from(&args.from)?;
    let (url, zone) = args.from.url_and_zone()?;
    let (older, newer) = (engine::at_in(&zone, &args.older), args.newer.map(|at| engine::at_in(&zone, &at)));
    let mut list = context.out.diff();
    let totals = engine::diff(&machine, &url, &older, newer.as_deref(), &mut |line| list.line(&line)).await;
    list.end(totals)
}
