//! The command line: arguments in, calls of the engine, output and exit code.
//!
//! Owns the way from `argv` to an exit code. A verb is one small file in `verbs/` with its arguments and
//! one function; only `render` and `progress` print. Invariant: with `--json` there is exactly one
//! document on standard output, also when the verb fails.

mod args;
mod args_config;
mod args_filter;
mod args_from;
mod args_run;
mod interrupt;
mod log;
mod progress;
mod render;
mod schema;
mod verbs;

use std::ffi::OsString;

use clap::FromArgMatches;
use offsite::config::Makeshift;
use offsite::engine::{Machine, Report};
use offsite::error::{Error, Result};

use self::args::Cli;
use self::interrupt::Interrupt;
use self::progress::{Bars, Screen};
use self::render::Out;

/// What every verb is given.
pub struct Context {
    pub out: Out,
    global: args::Global,
    screen: Screen,
    interrupt: Interrupt,
}

impl Context {
    /// The machine, with the cache where the user wants it.
    pub fn machine(&self) -> Result<Machine> {
        offsite::config::machine(self.global.cache_dir.clone())
    }

    /// The machine for a verb that only reads: where the cache cannot be written there is another one until the second
    /// value is dropped.
    pub fn machine_to_read(&self) -> Result<(Machine, Option<Makeshift>)> {
        let (machine, makeshift) = offsite::config::machine_to_read(self.global.cache_dir.clone())?;
        if let Some(makeshift) = &makeshift {
            self.out.info(&format!("the cache cannot be used ({}); this run has one in {}", makeshift.why, makeshift.dir().display()));
        }
        Ok((machine, makeshift))
    }

    /// From now on Ctrl-C stops this run.
    pub fn watch(&self, report: &Report) {
        self.interrupt.watch(report);
    }

    /// A report with one place a name, shown until the second value is dropped; Ctrl-C stops it.
    pub fn report(&self, names: &[String]) -> (Report, Bars) {
        let report = Report::new(names.len());
        self.watch(&report);
        let bars = Bars::start(&self.screen, &self.global, names, &report);
        (report, bars)
    }
}

/// Takes the arguments apart. What clap has to say (help, an error) is printed here; then there is only a code.
pub fn parse(argv: Vec<OsString>) -> Result<Cli, u8> {
    let parsed = args::command().try_get_matches_from(&argv).and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let json = argv.iter().any(|arg| arg == "--json");
        render::usage(&error, json)
    })
}

/// The runtime could not be made.
pub fn cannot_start(cli: &Cli, error: std::io::Error) -> u8 {
    Out::new(&cli.global, Screen::new(&cli.global)).failed(&Error::local("starting threads", error))
}

/// Carries a verb out, to its exit code.
pub async fn run(cli: Cli) -> u8 {
    let screen = Screen::new(&cli.global);
    let out = Out::new(&cli.global, screen.clone());
    if let Err(error) = log::start(&cli.global, &screen) {
        return out.failed(&error);
    }
    tracing::info!(target: "offsite::run", version = env!("CARGO_PKG_VERSION"), begins = true);
    let interrupt = Interrupt::install(out.clone());
    let context = Context { out, global: cli.global, screen, interrupt };
    let exit = match verbs::run(cli.verb, &context).await {
        Ok(code) => code,
        Err(error) => context.out.failed(&error),
    };
    tracing::info!(target: "offsite::run", exit);
    exit
}
