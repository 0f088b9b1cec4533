//! `offsite diff URL FROM [TO]`

use clap::Args;
use offsite::engine;
use offsite::error::Result;

use super::super::Context;

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A URL or path that was synced to
    #[arg(value_name = "URL")]
    url: String,
    /// The older snapshot: its number, a date (2026-11-01), or how long ago (3d)
    #[arg(value_name = "FROM")]
    from: String,
    /// The newer one (default: the newest)
    #[arg(value_name = "TO")]
    to: Option<String>,
}

pub async fn run(args: DiffArgs, context: &Context) -> Result<u8> {
    let machine = context.machine()?;
    let mut list = context.out.diff();
    let totals = engine::diff(&machine, &args.url, &args.from, args.to.as_deref(), &mut |line| list.line(&line)).await;
    list.end(totals)
}
