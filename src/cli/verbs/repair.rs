//! `offsite repair SOURCE DESTINATION` and `offsite repair DESTINATION --from URL`

use std::path::PathBuf;

use clap::Args;
use offsite::config::values;
use offsite::engine::{self, RepairOptions};
use offsite::error::{Error, Result};
use offsite::plan::Limits;

use crate::cli::context::Context;

const EXIT_CODES: &str = "\
Exit codes: 0 everything is repaired; 1 something is lost: the source no longer has it, or only older snapshots
need it; 3 not everything could be checked; 4 refused by the guard.
Lost files stay in the manifest, so a pull lists them. The next sync sends what the source has by then.";

const USAGE: &str = "\
offsite repair [OPTIONS] <SOURCE> <DESTINATION>
       offsite repair [OPTIONS] <DESTINATION> --from <URL>";

/// Arguments of `repair`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, override_usage = USAGE)]
pub struct RepairArgs {
    /// The directory that is backed up there, and the destination: a URL or path. With --from, only the destination
    #[arg(value_name = "SOURCE DESTINATION", required = true, num_args = 1..=2)]
    places: Vec<String>,
    /// Get contents from this other destination of the same source, instead of from the source
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// Read data back first: everything, or this share (default: only what the last check found damaged)
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "100%", value_parser = values::sample)]
    read_data: Option<f64>,
    /// Show what would be sent and what is lost; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Upload at most this many bytes a second: 500K, 10M (default: no limit)
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    limit_upload: Option<u64>,
    /// Download at most this many bytes a second (default: no limit)
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    limit_download: Option<u64>,
    /// Delete nothing, not even the lease, because the credentials may not (object stores only)
    #[arg(long)]
    append_only: bool,
    /// Parallel transfers (default: depends on the store)
    #[arg(long, value_name = "N", value_parser = values::count)]
    transfers: Option<usize>,
    /// Allow an empty source (default: refuse if the last snapshot was not empty)
    #[arg(long, help_heading = "Guard")]
    allow_empty: bool,
    /// Refuse to send more bytes than this: 500M, 10G (default: no limit)
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "Guard")]
    max_bytes: Option<u64>,
}

pub async fn run(args: RepairArgs, context: &Context) -> Result<u8> {
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
        append_only: args.append_only,
    };
    let machine = context.machine()?;
    let (outcome, bars);
    match (&args.places[..], &args.from) {
        ([url], Some(from)) => {
            let control;
            (control, bars) = context.control(std::slice::from_ref(url));
            outcome = engine::repair_from(&machine, from, url, &options, &control).await;
        }
        ([source, url], None) => {
            let source = PathBuf::from(source);
            values::directory(&source)?;
            let control;
            (control, bars) = context.control(std::slice::from_ref(url));
            outcome = engine::repair(&machine, &source, url, &options, &control).await;
        }
        ([_], None) => return Err(Error::Usage("repair needs the source and the destination, or the destination and --from URL".into())),
        _ => {
            return Err(Error::Usage(
                "with --from, name only the destination: `offsite repair DESTINATION --from URL`; run it without --from first, if the \
                 source still has some of the contents"
                    .into(),
            ));
        }
    }
    drop(bars);
    let outcome = outcome?;
    context.out.repaired(&outcome)?;
    Ok(outcome.exit)
}
