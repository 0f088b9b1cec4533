//! `offsite history URL PATH`

use clap::Args;
use offsite::engine;
use offsite::error::Result;

use super::super::args_from::FromArgs;
use crate::cli::context::Context;

/// Arguments of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    from: FromArgs,
    /// A file or directory of the snapshots
    #[arg(value_name = "PATH")]
    path: String,
}

pub async fn run(args: HistoryArgs, context: &Context) -> Result<u8> {
    let url = args.from.url()?;
    let lines = engine::history(&context.machine_from(&args.from)?, &url, &args.path).await?;
    context.out.history(&url, &args.path, &lines)?;
    Ok(0)
}
