//! The shape of the command line: global flags, the verbs, the help page.
//!
//! Owns the list of verbs and their groups. The arguments of a verb are in its own file under `verbs/`. Invariant:
//! every verb that is not hidden is in exactly one group of the help page.

use std::fmt::Write as _;

use clap::{CommandFactory, Parser, Subcommand};

use super::global::Global;
use super::verbs;

/// Back up directories to disks, buckets and servers as plain mirrors with history
#[derive(Debug, Parser)]
#[command(name = "offsite", version, subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Back up a directory to one or more destinations
    Sync(verbs::sync::SyncArgs),
    /// Run the jobs in the config
    Run(verbs::run::RunJobsArgs),
    /// Restore a snapshot, or a part of it, into a directory
    Pull(verbs::pull::PullArgs),
    /// Copy the snapshots of a destination to another one, without the source
    Copy(verbs::copy::CopyArgs),
    /// Preview a sync: changes, upload size, cost
    Plan(verbs::plan::PlanArgs),
    /// Carry out a saved plan, if nothing has changed since
    Apply(verbs::apply::ApplyArgs),
    /// Show size, growth and cost of destinations and buckets
    Report(verbs::report::ReportArgs),
    /// Show the age and result of each job's last run
    Status(verbs::status::StatusArgs),
    /// List the snapshots of a destination
    Snapshots(verbs::snapshots::SnapshotsArgs),
    /// List the files of a snapshot
    Ls(verbs::ls::LsArgs),
    /// List the differences between two snapshots
    Diff(verbs::diff::DiffArgs),
    /// List the snapshots in which a path changed
    History(verbs::history::HistoryArgs),
    /// Print a file of a snapshot
    Cat(verbs::cat::CatArgs),
    /// Verify a destination against its snapshots
    Check(verbs::check::CheckArgs),
    /// Send missing or damaged files again from the source
    Repair(verbs::repair::RepairArgs),
    /// Create and configure a destination, or check it for drift
    Init(verbs::init::InitArgs),
    /// Delete old snapshots and the data that only they need
    Prune(verbs::prune::PruneArgs),
    /// Show, add, rotate and print the keys of a sealed destination
    Key(verbs::key::KeyArgs),
    /// Check the config, print its schema, or import another tool's
    Config(verbs::config::ConfigVerbArgs),
    /// Run the jobs on a timer: install, show, remove
    Schedule(verbs::schedule::ScheduleArgs),
    /// Print the completion script for a shell
    Completions(verbs::completions::CompletionsArgs),
    /// Print the JSON Schema of a verb's --json document
    #[command(hide = true)]
    Schema(verbs::schema::SchemaArgs),
}

/// The help page shows the verbs in this order.
const GROUPS: &[(&str, &[&str])] = &[
    ("Back up and restore", &["sync", "run", "pull", "copy", "plan", "apply"]),
    ("Inspect", &["report", "status", "snapshots", "ls", "diff", "history", "cat"]),
    ("Verify", &["check", "repair"]),
    ("Maintain", &["init", "prune", "key"]),
    ("Set up", &["config", "schedule", "completions"]),
];

const EXAMPLE: &str = "\
Example:
  offsite sync ./site /mnt/backup/site s3://acme/site
  offsite pull s3://acme/site ./staging --at 3d --only docs/";

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed; 2 usage; 3 committed, but some files could not be read,
kept changing, or were refused by the destination; 4 refused by the guard; 130 interrupted.
Run `offsite VERB --help` for the options of a verb.";

/// The whole command line, with its help page.
pub fn command() -> clap::Command {
    let command = Cli::command();
    let verbs = grouped(&command);
    command
        .before_help(verbs)
        .after_help(format!("{EXAMPLE}\n\n{EXIT_CODES}"))
        .help_template("{about}\n\n{usage-heading} offsite VERB …\n\n{before-help}Options:\n{options}{after-help}")
}

fn grouped(command: &clap::Command) -> String {
    let mut text = String::new();
    for (group, names) in GROUPS {
        let _ = writeln!(text, "{group}:");
        for name in *names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about).map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {name:<12} {about}");
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_is_in_one_group() {
        let mut shown: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let command = Cli::command();
        let mut known: Vec<&str> = command.get_subcommands().filter(|c| !c.is_hide_set()).map(clap::Command::get_name).collect();
        shown.sort_unstable();
        known.sort_unstable();
        assert_eq!(shown, known);
    }
}
