//! `offsite apply FILE`

use std::path::PathBuf;

use clap::Args;
use offsite::engine;
use offsite::error::Result;

use super::super::Context;
use super::super::args_run::GuardArgs;

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// What `offsite plan --out FILE` saved
    #[arg(value_name = "FILE")]
    plan: PathBuf,
    #[command(flatten)]
    guard: GuardArgs,
}

pub async fn run(args: ApplyArgs, context: &Context) -> Result<u8> {
    let machine = context.machine()?;
    let (report, bars) = context.report(&[args.plan.display().to_string()]);
    let outcome = engine::apply(&machine, &args.plan, &report, &args.guard.limits()).await;
    drop(bars);
    context.out.synced(&outcome)?;
    Ok(outcome.exit)
}
