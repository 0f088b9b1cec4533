//! `offsite completions SHELL`

use clap::Args;
use clap_complete::Shell;
use offsite::error::Result;

use crate::cli::context::Context;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub fn run(asked: &CompletionsArgs, mut command: clap::Command, context: &Context) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut command, "offsite", &mut script);
    context.out.completions(&asked.shell.to_string(), &script)?;
    Ok(0)
}
