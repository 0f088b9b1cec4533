//! `offsite cat URL PATH`

use clap::Args;
use offsite::engine;
use offsite::error::Result;

use super::super::args_from::FromArgs;
use crate::cli::context::Context;

/// Arguments of `cat`.
#[derive(Debug, Args)]
pub struct CatArgs {
    #[command(flatten)]
    from: FromArgs,
    /// A file of the snapshot
    #[arg(value_name = "PATH")]
    path: String,
    /// The snapshot: a number, a date (2026-11-01) or an age (3d) (default: the newest)
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
}

pub async fn run(args: CatArgs, context: &Context) -> Result<u8> {
    let machine = context.machine_from(&args.from)?;
    let (url, zone) = args.from.url_and_zone()?;
    let at = args.at.map(|at| engine::at_in(&zone, &at));
    let mut out = context.out.content(&url, &args.path);
    let result = engine::cat(&machine, &url, &args.path, at.as_deref(), &mut out).await;
    out.end(result)
}
