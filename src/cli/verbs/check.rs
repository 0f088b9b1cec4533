//! `offsite check URL [--read-data[=N%]]`

use clap::Args;
use offsite::config::values;
use offsite::engine::{self, CheckOptions};
use offsite::error::Result;

use super::super::args_from::FromArgs;
use crate::cli::context::Context;

const EXIT_CODES: &str = "\
Exit codes: 0 no problems (foreign objects are none); 1 something is missing, changed or damaged, or the
check failed; 3 no problems found, but not everything could be checked.
`offsite repair SOURCE URL` sends missing and damaged files again.";

/// Arguments of `check`. Without --read-data nothing is read but the manifests: names, sizes, tags and versions are
/// compared with the store's listing.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct CheckArgs {
    #[command(flatten)]
    from: FromArgs,
    /// Read data back and compare hashes: everything, or this share, which continues with every check until it has
    /// covered everything (default: read none)
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "100%", value_parser = values::sample)]
    read_data: Option<f64>,
    /// Check only what this snapshot needs: a number, a date (2026-11-01) or an age (3d); writes no record
    /// (default: all snapshots)
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
    /// Write no record of the check at the destination (default: .offsite/check.json)
    #[arg(long)]
    no_record: bool,
    /// Download at most this many bytes a second: 500K, 10M (default: no limit)
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    limit_download: Option<u64>,
    /// Files to read in parallel (default: depends on the store)
    #[arg(long, value_name = "N", value_parser = values::count)]
    transfers: Option<usize>,
}

pub async fn run(args: CheckArgs, context: &Context) -> Result<u8> {
    let (url, job) = args.from.only()?;
    let zone = job.as_ref().map(|job| job.options.keep.zone.clone()).unwrap_or_default();
    let options = CheckOptions {
        at: args.at.map(|at| engine::at_in(&zone, &at)),
        read_data: args.read_data,
        no_record: args.no_record,
        transfers: args.transfers,
        limit_download: args.limit_download,
    };
    let (mut machine, _makeshift) = context.machine_to_read()?;
    job.iter().for_each(|job| job.add_keys(&mut machine.keys));
    let (control, bars) = context.control(std::slice::from_ref(&url));
    let outcome = engine::check(&machine, &url, &options, &control).await;
    drop(bars);
    let outcome = outcome?;
    context.out.checked(&outcome)?;
    Ok(outcome.exit)
}
