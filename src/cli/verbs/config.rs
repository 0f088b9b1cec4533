//! `offsite config check` and `offsite config schema`

use clap::{Args, Subcommand};
use offsite::config::ConfigFile;
use offsite::error::Result;
use schemars::schema_for;

use super::super::Context;
use super::super::args_config::ConfigArgs;

/// Arguments of `config`.
#[derive(Debug, Args)]
pub struct ConfigVerbArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Resolve every job for every type and say what would run; asks no destination
    Check(CheckConfigArgs),
    /// Print the JSON Schema of the config file
    Schema,
}

#[derive(Debug, Args)]
struct CheckConfigArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub fn run(args: ConfigVerbArgs, context: &Context) -> Result<u8> {
    match args.what {
        What::Schema => context.out.schema(&schema_for!(ConfigFile))?,
        What::Check(args) => {
            let parsed = args.config.parsed()?;
            let plans = args.config.plans(&parsed, &[])?;
            context.out.config_checked(parsed.name(), &plans)?;
        }
    }
    Ok(0)
}
