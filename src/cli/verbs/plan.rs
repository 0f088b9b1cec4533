//! `offsite plan SOURCE DESTINATION… [--out FILE]`

use std::path::{Path, PathBuf};

use clap::Args;
use offsite::engine;
use offsite::error::{Error, Result};

use super::super::args_run::RunArgs;
use crate::cli::context::Context;

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Save the plan for `offsite apply`; one destination only (default: only show it)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub async fn run(args: PlanArgs, context: &Context) -> Result<u8> {
    if args.out.is_some() && args.run.destinations.len() > 1 {
        return Err(Error::Usage("a saved plan is for one destination; save one for each with --out".into()));
    }
    show(&args.run, args.out.as_deref(), context).await
}

/// Plans and prints. `sync --dry-run` calls it without a file.
pub async fn show(run: &RunArgs, out: Option<&Path>, context: &Context) -> Result<u8> {
    let (options, machine) = (run.options(&context.screen)?, context.machine()?);
    let (control, bars) = context.control(&run.destinations);
    let plans = engine::plan(&machine, &run.source, &run.destinations, &options, &control, out).await;
    drop(bars);
    let exit = engine::worst(plans.iter().map(|plan| plan.exit));
    context.out.planned(&plans, exit)?;
    if let Some(out) = out.filter(|_| plans.iter().all(|plan| plan.error.is_none())) {
        context.out.info(&format!("saved; to carry it out, run: offsite apply {}", out.display()));
    }
    Ok(exit)
}
