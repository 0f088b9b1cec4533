//! `offsite snapshots URL`

use clap::Args;
use offsite::engine;
use offsite::error::Result;

use super::super::Context;

/// Arguments of `snapshots`.
#[derive(Debug, Args)]
pub struct SnapshotsArgs {
    /// A URL or path that was synced to
    #[arg(value_name = "URL")]
    url: String,
}

pub async fn run(args: SnapshotsArgs, context: &Context) -> Result<u8> {
    let listing = engine::snapshots(&context.machine()?, &args.url).await?;
    context.out.snapshots(&listing)?;
    Ok(0)
}
