//! `offsite sync SOURCE DESTINATION…`

use clap::Args;
use offsite::engine::{self, Outcome};
use offsite::error::Result;

use super::super::args_run::RunArgs;
use super::plan;
use crate::cli::context::Context;

/// Arguments of `sync`.
#[derive(Debug, Args)]
pub struct SyncArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Show what would be done and write nothing; the same as `plan`
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(args: SyncArgs, context: &Context) -> Result<u8> {
    if args.dry_run {
        return plan::show(&args.run, None, context).await;
    }
    let (options, machine) = (args.run.options(&context.screen)?, context.machine()?);
    let urls = &args.run.destinations;
    let (control, bars) = context.control(urls);
    let outcome = engine::sync(&machine, &args.run.source, urls, &options, &control).await;
    drop(bars);
    context.out.synced(&outcome)?;
    if context.out.lists_changes() {
        for (outcome, url) in outcome.destinations.iter().zip(urls) {
            list_changes(context, &machine, outcome, url).await?;
        }
    }
    Ok(outcome.exit)
}

/// `--verbose`: lists the changes, from the differences between the new snapshot and the one before.
async fn list_changes(context: &Context, machine: &engine::Machine, outcome: &Outcome, url: &str) -> Result<()> {
    let Some(number) = outcome.snapshot.filter(|_| outcome.changes.any()) else { return Ok(()) };
    context.out.heading(&format!("changes at {}:", outcome.url))?;
    let mut print = |line: engine::DiffLine| context.out.diff_line(&line);
    match outcome.base {
        Some(base) => engine::diff(machine, url, &base.to_string(), Some(&number.to_string()), &mut print).await.map(drop),
        None => {
            let mut added = |line: engine::LsLine| context.out.added_line(&line);
            engine::ls(machine, url, "", Some(&number.to_string()), true, &mut added).await.map(drop)
        }
    }
}
