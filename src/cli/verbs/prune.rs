//! `offsite prune URL --keep-…`

use clap::{ArgGroup, Args};
use offsite::config::values;
use offsite::engine;
use offsite::error::{Error, Result};
use offsite::model::{KeepRules, Zone};

use super::super::args_from::FromArgs;
use crate::cli::context::Context;

/// Arguments of `prune`. A snapshot stays if any rule selects it; the newest always stays. For a job of the config the
/// rules are those of its `keep`, unless others are given here.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("keep").multiple(true))]
pub struct PruneArgs {
    #[command(flatten)]
    from: FromArgs,
    /// Keep the newest N snapshots
    #[arg(long, value_name = "N", group = "keep", default_value_t = 0, hide_default_value = true)]
    keep_last: u64,
    /// Keep the newest snapshot of each of N days
    #[arg(long, value_name = "N", group = "keep", default_value_t = 0, hide_default_value = true)]
    keep_daily: u64,
    /// Keep the newest snapshot of each of N weeks
    #[arg(long, value_name = "N", group = "keep", default_value_t = 0, hide_default_value = true)]
    keep_weekly: u64,
    /// Keep the newest snapshot of each of N months
    #[arg(long, value_name = "N", group = "keep", default_value_t = 0, hide_default_value = true)]
    keep_monthly: u64,
    /// Keep every snapshot that was the newest at some time within this period: 30d, 12h, 2w
    #[arg(long, value_name = "DURATION", group = "keep", value_parser = values::duration)]
    keep_within: Option<u64>,
    /// The time zone of days, weeks and months: Europe/London, UTC (default: the job's, otherwise this machine's)
    #[arg(long, value_name = "ZONE", value_parser = Zone::named)]
    keep_zone: Option<Zone>,
    /// Delete packs that no snapshot names and that are older than 2 days, instead of snapshots (packed destinations only)
    #[arg(long, conflicts_with = "keep")]
    strays: bool,
    /// Show what would be deleted; delete nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(args: PruneArgs, context: &Context) -> Result<u8> {
    let mut rules = KeepRules {
        last: args.keep_last,
        daily: args.keep_daily,
        weekly: args.keep_weekly,
        monthly: args.keep_monthly,
        within: args.keep_within,
        zone: Zone::default(),
    };
    let (url, job) = args.from.only()?;
    let machine = context.machine_for(&job)?;
    if let Some(job) = job {
        if job.destinations.iter().any(|to| to.url == url && to.append_only) {
            return Err(Error::Usage(format!(
                "{url}: it is append-only in the config, so this machine deletes nothing there; prune it by its URL, from a machine \
                 whose credentials may delete"
            )));
        }
        rules = match rules.is_empty() {
            true => job.options.keep,
            false => KeepRules { zone: job.options.keep.zone, ..rules },
        };
    }
    rules.zone = args.keep_zone.unwrap_or(rules.zone);
    let (control, bars) = context.control(std::slice::from_ref(&url));
    let outcome = match args.strays {
        true => engine::prune_strays(&machine, &url, args.dry_run, &control).await,
        false => engine::prune(&machine, &url, &rules, args.dry_run, &control).await,
    };
    drop(bars);
    context.out.pruned(&outcome?)?;
    Ok(0)
}
