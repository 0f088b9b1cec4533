//! The command line: arguments in, calls of the engine, output and exit code.
//!
//! Owns the way from `argv` to an exit code. A verb is one small file in `verbs/` with its arguments and one
//! function. Only `render` and `progress` print. Invariant: with `--json`, standard output has exactly one document,
//! also when the verb fails.

mod args;
mod args_config;
mod args_filter;
mod args_from;
mod args_run;
mod clean;
mod context;
mod dispatch;
mod global;
mod interrupt;
mod log;
mod progress;
mod render;
mod schema;
mod screen;
mod terminal;
mod verbs;

use std::ffi::OsString;

use clap::FromArgMatches;
use offsite::error::Error;

use self::args::Cli;
use self::context::Context;
use self::interrupt::Interrupt;
use self::render::Out;
use self::screen::Screen;

/// Parses the arguments. Prints help and errors of clap, and then returns only an exit code.
pub fn parse(argv: Vec<OsString>) -> Result<Cli, u8> {
    let parsed = args::command().try_get_matches_from(&argv).and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let json = argv.iter().any(|arg| arg == "--json");
        render::usage(&error, json)
    })
}

/// Reports that the runtime could not start. Returns the exit code.
pub fn cannot_start(cli: &Cli, error: std::io::Error) -> u8 {
    Out::new(&cli.global, Screen::new(&cli.global)).failed(&Error::local("starting threads", error))
}

/// Runs a verb. Returns its exit code.
pub async fn run(cli: Cli) -> u8 {
    let screen = Screen::new(&cli.global);
    let out = Out::new(&cli.global, screen.clone());
    if let Err(error) = log::start(&cli.global, &screen) {
        return out.failed(&error);
    }
    tracing::info!(target: "offsite::run", version = env!("CARGO_PKG_VERSION"), begins = true);
    let interrupt = Interrupt::install(out.clone());
    let context = Context { out, global: cli.global, screen, interrupt };
    let exit = match Box::pin(dispatch::run(cli.verb, &context)).await {
        Ok(code) => code,
        Err(error) => context.out.failed(&error),
    };
    tracing::info!(target: "offsite::run", exit);
    exit
}
