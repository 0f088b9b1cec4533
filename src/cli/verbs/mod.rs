//! The verbs: one small file each, with its arguments and one function.
//!
//! Owns the dispatch. A verb calls the engine once, hands what comes back to `render` and says the exit
//! code. Invariant: a verb that has begun to print its document also ends it; any other failure is
//! returned, and printed in one place.

pub mod apply;
pub mod cat;
pub mod check;
pub mod completions;
pub mod config;
pub mod diff;
pub mod history;
pub mod init;
pub mod ls;
pub mod plan;
pub mod prune;
pub mod pull;
pub mod repair;
pub mod report;
pub mod run;
pub mod schedule;
pub mod schema;
pub mod snapshots;
pub mod status;
pub mod sync;

use offsite::error::Result;

use super::Context;
use super::args::Verb;

/// Carries one out, to its exit code.
pub async fn run(verb: Verb, context: &Context) -> Result<u8> {
    match verb {
        Verb::Run(args) => run::run(args, context).await,
        Verb::Config(args) => config::run(args, context),
        Verb::Schedule(args) => schedule::run(args, context),
        Verb::Sync(args) => sync::run(args, context).await,
        Verb::Pull(args) => pull::run(args, context).await,
        Verb::Plan(args) => plan::run(args, context).await,
        Verb::Apply(args) => apply::run(args, context).await,
        Verb::Report(args) => report::run(args, context).await,
        Verb::Status(args) => status::run(args, context).await,
        Verb::Snapshots(args) => snapshots::run(args, context).await,
        Verb::Ls(args) => ls::run(args, context).await,
        Verb::Diff(args) => diff::run(args, context).await,
        Verb::History(args) => history::run(args, context).await,
        Verb::Cat(args) => cat::run(args, context).await,
        Verb::Init(args) => init::run(args, context).await,
        Verb::Check(args) => check::run(args, context).await,
        Verb::Repair(args) => repair::run(args, context).await,
        Verb::Prune(args) => prune::run(args, context).await,
        Verb::Completions(args) => completions::run(&args, context),
        Verb::Schema(args) => schema::run(&args, context),
    }
}
