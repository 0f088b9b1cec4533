//! `offsite repair SOURCE DESTINATION`

use std::path::PathBuf;

use clap::Args;
use offsite::config::values;
use offsite::engine::{self, RepairOptions};
use offsite::error::Result;
use offsite::plan::Limits;

use crate::cli::context::Context;

const EXIT_CODES: &str = "\
Exit codes: 0 everything is there again; 1 something is lost: the source has it no more, or only older snapshots
had it; 3 not everything could be looked at; 4 refused by the guard.
What is lost stays in the manifest, so a pull names it. The next sync sends what the source has by then.";

/// Arguments of `repair`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct RepairArgs {
    /// The directory that is synced there
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// A URL or path that was synced to
    #[arg(value_name = "DESTINATION")]
    url: String,
    /// Read contents back before: all, or this share (default: only those that the last check found damaged)
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "100%", value_parser = values::sample)]
    read_data: Option<f64>,
    /// Say what would be sent and what is lost; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Send at most so many bytes a second: 500K, 10M, by 1024 (default: no limit)
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    limit_upload: Option<u64>,
    /// Read at most so many bytes a second back (default: no limit)
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    limit_download: Option<u64>,
    /// Files in flight (default: what suits the store)
    #[arg(long, value_name = "N", value_parser = values::count)]
    transfers: Option<usize>,
    /// The source may be empty (default: refused if the last snapshot was not)
    #[arg(long, help_heading = "Guard")]
    allow_empty: bool,
    /// Refuse to send more bytes than this: 500M, 10G, by 1024 (default: no limit)
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "Guard")]
    max_bytes: Option<u64>,
}

pub async fn run(args: RepairArgs, context: &Context) -> Result<u8> {
    values::directory(&args.source)?;
    let options = RepairOptions {
        read_data: args.read_data,
        dry_run: args.dry_run,
        limits: Limits {
            removals: 1.0,
            rewrites: 1.0,
            allow_empty: args.allow_empty,
            take_over: false,
            max_bytes: args.max_bytes,
            max_cost: None,
        },
        transfers: args.transfers,
        limit_upload: args.limit_upload,
        limit_download: args.limit_download,
    };
    let machine = context.machine()?;
    let (control, bars) = context.control(std::slice::from_ref(&args.url));
    let outcome = engine::repair(&machine, &args.source, &args.url, &options, &control).await;
    drop(bars);
    let outcome = outcome?;
    context.out.repaired(&outcome)?;
    Ok(outcome.exit)
}
