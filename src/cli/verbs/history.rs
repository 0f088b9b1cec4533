//! `offsite history URL PATH`

use clap::Args;
use offsite::engine;
use offsite::error::Result;

use super::super::Context;

/// Arguments of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// A URL or path that was synced to
    #[arg(value_name = "URL")]
    url: String,
    /// A file or directory of the tree
    #[arg(value_name = "PATH")]
    path: String,
}

pub async fn run(args: HistoryArgs, context: &Context) -> Result<u8> {
    let lines = engine::history(&context.machine()?, &args.url, &args.path).await?;
    context.out.history(&args.url, &args.path, &lines)?;
    Ok(0)
}
