//! `offsite apply FILE`

use std::path::PathBuf;

use clap::Args;
use offsite::config::values;
use offsite::engine::{self, ApplyOptions};
use offsite::error::Result;

use super::super::args_run::GuardArgs;
use crate::cli::context::Context;

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// A plan that `offsite plan --out FILE` saved
    #[arg(value_name = "FILE")]
    plan: PathBuf,
    /// Upload at most this many bytes a second: 500K, 10M (default: no limit)
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    limit_upload: Option<u64>,
    /// Parallel transfers (default: depends on the store)
    #[arg(long, value_name = "N", value_parser = values::count)]
    transfers: Option<usize>,
    #[command(flatten)]
    guard: GuardArgs,
}

pub async fn run(args: ApplyArgs, context: &Context) -> Result<u8> {
    let machine = context.machine()?;
    let (control, bars) = context.control(&[args.plan.display().to_string()]);
    let options = ApplyOptions { limits: args.guard.limits(), transfers: args.transfers, limit_upload: args.limit_upload };
    let outcome = engine::apply(&machine, &args.plan, &options, &control).await;
    drop(bars);
    context.out.synced(&outcome)?;
    Ok(outcome.exit)
}
