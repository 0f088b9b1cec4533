//! `offsite copy FROM TO`

use std::ops::RangeInclusive;

use clap::Args;
use offsite::config::values;
use offsite::engine::{self, CopyOptions, CopySelection, SealWish, SyncOptions};
use offsite::error::{Error, Result};
use offsite::model::Layout;

use super::super::args_from::FromArgs;
use super::super::args_run::GuardArgs;
use crate::cli::context::Context;

const EXIT_CODES: &str = "\
Exit codes: 0 everything is copied; 1 failed, or a content is lost, and the copy stopped before that snapshot;
3 copied without lost files (--skip-damaged); 4 refused by the guard.
Run the same command again to copy what is new since, or to continue after an interruption.";

/// Arguments of `copy`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct CopyArgs {
    #[command(flatten)]
    from: FromArgs,
    /// Where the snapshots go: the URL or path of a destination of its own
    #[arg(value_name = "TO")]
    to: String,
    /// Copy only these snapshots: numbers and ranges, such as 3,7..9 (default: all)
    #[arg(long, value_name = "NUMBERS", value_parser = snapshots, conflicts_with_all = ["last", "newest"])]
    snapshots: Option<Numbers>,
    /// Copy only the last snapshots, this many (default: all)
    #[arg(long, value_name = "N", value_parser = values::count, conflicts_with = "newest")]
    last: Option<usize>,
    /// Copy only the newest snapshot
    #[arg(long)]
    newest: bool,
    /// Copy snapshots without the files whose contents are lost (default: stop before the first such snapshot)
    #[arg(long)]
    skip_damaged: bool,
    /// Show which snapshots would be copied; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Make a new destination packed: small files together in compressed packs, each content once (default: a mirror)
    #[arg(long)]
    packed: bool,
    /// Seal a new destination to this recipient: `age1…`, an SSH public key, a recipient of an age plugin, or a file of
    /// recipients; name two or more
    #[arg(long, value_name = "RECIPIENT", help_heading = "Sealing")]
    seal_to: Vec<String>,
    /// Seal to a single recipient: if its key is lost, so is the copy
    #[arg(long, requires = "seal_to", help_heading = "Sealing")]
    only_key: bool,
    /// Treat an emptied destination as new (default: refuse)
    #[arg(long)]
    start_over: bool,
    /// Delete nothing at the new destination, because the credentials may not (object stores only)
    #[arg(long)]
    append_only: bool,
    /// Upload at most this many bytes a second: 500K, 10M (default: no limit)
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    limit_upload: Option<u64>,
    /// Download at most this many bytes a second (default: no limit)
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    limit_download: Option<u64>,
    /// Parallel transfers (default: depends on the store)
    #[arg(long, value_name = "N", value_parser = values::count)]
    transfers: Option<usize>,
    #[command(flatten)]
    guard: GuardArgs,
}

/// Numbers of snapshots.
#[derive(Debug, Clone)]
struct Numbers(Vec<RangeInclusive<u64>>);

fn snapshots(text: &str) -> Result<Numbers, String> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number > 0);
    let one = |part: &str| match part.split_once("..") {
        None => number(part).map(|only| only..=only),
        Some((first, last)) => Some(number(first)?..=number(last)?).filter(|range| !range.is_empty()),
    };
    let ranges: Option<Vec<_>> = text.split(',').map(one).collect();
    ranges.map(Numbers).ok_or_else(|| "numbers and ranges, such as 3,7..9".into())
}

impl CopyArgs {
    fn options(&self) -> Result<CopyOptions> {
        let price_name = offsite::config::default_price(std::slice::from_ref(&self.to)).to_owned();
        let select = match (&self.snapshots, self.last, self.newest) {
            (Some(numbers), ..) => CopySelection::Numbers(numbers.0.clone()),
            (None, Some(count), _) => CopySelection::Last(count as u64),
            (None, None, true) => CopySelection::Last(1),
            (None, None, false) => CopySelection::All,
        };
        let seal = SealWish { to: self.seal_to.clone(), only_key: self.only_key, ..SealWish::default() };
        let writing = SyncOptions {
            layout: self.packed.then_some(Layout::Packed),
            seal: (!self.seal_to.is_empty()).then_some(seal),
            start_over: self.start_over,
            append_only: if self.append_only { vec![self.to.clone()] } else { Vec::new() },
            limits: self.guard.limits(),
            limit_upload: self.limit_upload,
            limit_download: self.limit_download,
            transfers: self.transfers,
            price: values::prices(None)?.get(&price_name).map_err(Error::Usage)?.clone(),
            price_name,
            ..SyncOptions::default()
        };
        Ok(CopyOptions { writing, select, skip_damaged: self.skip_damaged, dry_run: self.dry_run })
    }
}

pub async fn run(args: CopyArgs, context: &Context) -> Result<u8> {
    let (from, job) = args.from.only()?;
    let machine = context.machine_for(&job)?;
    let (control, bars) = context.control(std::slice::from_ref(&args.to));
    let outcome = engine::copy(&machine, &from, &args.to, &args.options()?, &control).await;
    drop(bars);
    let outcome = outcome?;
    context.out.copied(&outcome)?;
    Ok(outcome.exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges() {
        assert_eq!(snapshots("3,7..9").unwrap().0, [3..=3, 7..=9]);
        for wrong in ["", "3,", "a", "9..7", "0", "1-3", "..3"] {
            assert!(snapshots(wrong).is_err(), "{wrong}");
        }
    }
}
