//! `offsite snapshots URL`

use clap::Args;
use offsite::engine;
use offsite::error::Result;

use super::super::args_from::FromArgs;
use crate::cli::context::Context;

/// Arguments of `snapshots`.
#[derive(Debug, Args)]
pub struct SnapshotsArgs {
    #[command(flatten)]
    from: FromArgs,
}

pub async fn run(args: SnapshotsArgs, context: &Context) -> Result<u8> {
    let (url, zone) = args.from.url_and_zone()?;
    let listing = engine::snapshots(&context.machine_from(&args.from)?, &url).await?;
    context.out.snapshots(&listing, &zone)?;
    Ok(listing.exit)
}
