//! `offsite pull URL DIRECTORY`

use std::path::PathBuf;

use clap::Args;
use offsite::engine::{self, PullOptions};
use offsite::error::Result;
use offsite::plan::Limits;

use super::super::Context;
use super::super::args_filter::{FilterArgs, Only};
use super::super::values;

/// Arguments of `pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// Where from: a URL or path that was synced to
    #[arg(value_name = "URL")]
    url: String,
    /// The directory to bring it to; made if it is not there
    #[arg(value_name = "DIRECTORY")]
    target: PathBuf,
    /// Which snapshot: its number, a date (2026-11-01), or how long ago (3d) (default: the newest)
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
    /// Only this: a path from the top of the tree (docs/), or a pattern ('*.txt'); repeatable (default: all)
    #[arg(long, value_name = "PATH", help_heading = "What to leave out")]
    only: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Leave out larger files: 10M, 1.5G, by 1024 (default: no limit)
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "What to leave out")]
    max_size: Option<u64>,
    /// Remove from the directory what the snapshot does not have (default: it stays)
    #[arg(long)]
    delete: bool,
    /// Compare contents of files whose size and mtime agree (default: they count as the same)
    #[arg(long)]
    checksum: bool,
    /// Say what would be done and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Fetch at most so many bytes a second: 500K, 10M, by 1024 (default: no limit)
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    limit_download: Option<u64>,
    /// Files in flight (default: what suits the store)
    #[arg(long, value_name = "N", value_parser = values::count)]
    transfers: Option<usize>,
    /// Refuse to remove more than this share of what is in the directory: 25% or 0.25
    #[arg(long, value_name = "PERCENT", default_value = "25%", value_parser = values::share, help_heading = "Guard")]
    max_removals: f64,
    /// With --delete: the snapshot may be empty although the directory is not (default: refused)
    #[arg(long, help_heading = "Guard")]
    allow_empty: bool,
}

pub async fn run(args: PullArgs, context: &Context) -> Result<u8> {
    let only = Only::new(&args.only)?;
    let options = PullOptions {
        filter: args.filter.filter(&only.rules)?,
        prefixes: only.prefixes,
        at: args.at,
        max_size: args.max_size,
        delete: args.delete,
        checksum: args.checksum,
        dry_run: args.dry_run,
        // The user asked for the snapshot's contents: rewriting is what a pull is for.
        limits: Limits { removals: args.max_removals, rewrites: 1.0, allow_empty: args.allow_empty, ..Limits::default() },
        transfers: args.transfers,
        limit_download: args.limit_download,
    };
    let machine = context.machine()?;
    let (report, bars) = context.report(std::slice::from_ref(&args.url));
    let outcome = engine::pull(&machine, &args.url, &args.target, &options, &report).await;
    drop(bars);
    let outcome = outcome?;
    context.out.pulled(&outcome, &args.target, args.dry_run)?;
    Ok(outcome.exit)
}
