//! `offsite ls URL [PATH]`

use clap::Args;
use offsite::engine;
use offsite::error::Result;

use super::super::args_from::FromArgs;
use crate::cli::context::Context;

/// Arguments of `ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    #[command(flatten)]
    from: FromArgs,
    /// A directory or file of the snapshot (default: the top)
    #[arg(value_name = "PATH", default_value = "", hide_default_value = true)]
    path: String,
    /// The snapshot: a number, a date (2026-11-01) or an age (3d) (default: the newest)
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
    /// List everything below (default: one level, directories with their total sizes)
    #[arg(long, short)]
    recursive: bool,
    /// List files that could not be read in that run, and files that kept changing
    #[arg(long, conflicts_with_all = ["path", "recursive"])]
    unread: bool,
}

pub async fn run(args: LsArgs, context: &Context) -> Result<u8> {
    let machine = context.machine_from(&args.from)?;
    let (url, zone) = args.from.url_and_zone()?;
    let at = args.at.map(|at| engine::at_in(&zone, &at));
    if args.unread {
        let mut list = context.out.troubles();
        let totals = engine::unread(&machine, &url, at.as_deref(), &mut |line| list.line(&line)).await;
        return list.end(totals);
    }
    let mut list = context.out.ls();
    let totals = engine::ls(&machine, &url, &args.path, at.as_deref(), args.recursive, &mut |line| list.line(&line)).await;
    list.end(totals)
}
