//! From a verb to the function that carries it out.

use offsite::error::Result;

use super::args::{Verb, command};
use super::context::Context;
use super::verbs::{
    apply, cat, check, completions, config, copy, diff, history, init, key, ls, plan, prune, pull, repair, report, run, schedule, schema,
    snapshots, status, sync,
};

/// Runs a verb. Returns its exit code.
pub async fn run(verb: Verb, context: &Context) -> Result<u8> {
    match verb {
        Verb::Run(args) => run::run(args, context).await,
        Verb::Config(args) => config::run(args, context),
        Verb::Schedule(args) => schedule::run(args, context),
        Verb::Sync(args) => sync::run(args, context).await,
        Verb::Copy(args) => copy::run(args, context).await,
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
        Verb::Key(args) => key::run(args, context).await,
        Verb::Check(args) => check::run(args, context).await,
        Verb::Repair(args) => repair::run(args, context).await,
        Verb::Prune(args) => prune::run(args, context).await,
        Verb::Completions(args) => completions::run(&args, command(), context),
        Verb::Schema(args) => schema::run(&args, context),
    }
}
