//! `offsite pull URL|JOB[@DESTINATION] DIRECTORY`

use std::path::PathBuf;

use clap::Args;
use offsite::config::{Job, Profile, values};
use offsite::engine::{self, Privileges, PullOptions};
use offsite::error::{Error, Result};
use offsite::jobs::run_command_in;
use offsite::plan::Limits;
use offsite_backends::{Restore, Tier};

use super::super::args_filter::{FilterArgs, Only};
use super::super::args_from::{FromArgs, ResolvedFrom};
use crate::cli::context::Context;

/// Arguments of `pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    #[command(flatten)]
    from: FromArgs,
    /// The directory to restore to; it is created if needed
    #[arg(value_name = "DIRECTORY")]
    target: PathBuf,
    /// The snapshot: a number, a date (2026-11-01) or an age (3d) (default: the newest)
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
    /// Refuse a snapshot with a number below this: 42, as the machine that writes knows it (default: any)
    #[arg(long, value_name = "NUMBER")]
    at_least: Option<u64>,
    /// Restore only this: a path from the top (docs/), or a pattern ('*.txt'); repeatable (default: all)
    #[arg(long, value_name = "PATH", help_heading = "Filters")]
    only: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Skip larger files: 10M, 1.5G (default: no limit)
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "Filters")]
    max_size: Option<u64>,
    /// Remove files from the directory that are not in the snapshot (default: keep them)
    #[arg(long)]
    delete: bool,
    /// Compare contents of files whose size and mtime are equal (default: they count as unchanged)
    #[arg(long)]
    checksum: bool,
    /// Show what would be done; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not wait until everything is on the disk (default: wait)
    #[arg(long)]
    no_sync: bool,
    /// Request archived contents (Glacier) from the store; a later pull restores them (default: only list them)
    #[arg(long, help_heading = "Archives")]
    restore_archived: bool,
    /// How fast to request them: expedited, standard or bulk
    #[arg(long, value_name = "TIER", default_value = "standard", value_parser = tier, requires = "restore_archived", help_heading = "Archives")]
    restore_tier: Tier,
    /// For how many days they stay readable
    #[arg(long, value_name = "DAYS", default_value = "7", value_parser = clap::value_parser!(u32).range(1..=365), requires = "restore_archived", help_heading = "Archives")]
    restore_days: u32,
    /// Restore set-id bits, owners and attributes that give rights, also from another host's snapshot (default: from
    /// another host only owners)
    #[arg(long, help_heading = "Rights", conflicts_with = "no_privileges")]
    privileges: bool,
    /// Restore none of them: files belong to the user who runs this (default: owners as root, the others if this host
    /// made the snapshot)
    #[arg(long, help_heading = "Rights")]
    no_privileges: bool,
    /// Download at most this many bytes a second: 500K, 10M (default: no limit)
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    limit_download: Option<u64>,
    /// Parallel transfers (default: depends on the store)
    #[arg(long, value_name = "N", value_parser = values::count)]
    transfers: Option<usize>,
    /// Refuse to remove more than this share of the entries in the directory: 25% or 0.25
    #[arg(long, value_name = "PERCENT", default_value = "25%", value_parser = values::share, help_heading = "Guard")]
    max_removals: f64,
    /// With --delete: allow an empty snapshot although the directory is not empty (default: refuse)
    #[arg(long, help_heading = "Guard")]
    allow_empty: bool,
    /// Restore what this profile of the job selects
    #[arg(long, value_name = "NAME", help_heading = "Config")]
    profile: Option<String>,
}

impl PullArgs {
    /// The profile that `--profile` names.
    fn profile(&self, job: Option<&Job>) -> Result<Option<Profile>> {
        let (Some(name), Some(job)) = (&self.profile, job) else { return Ok(None) };
        match job.profiles.iter().find(|(known, _)| known == name) {
            Some((_, profile)) => Ok(Some(profile.clone())),
            None => {
                let known = job.profiles.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
                Err(Error::Usage(format!("job {} has no profile `{name}`; its profiles are {known}", job.shown())))
            }
        }
    }

    /// The rights to restore: a flag counts before the profile, and the profile before the default.
    fn rights(&self, profile: &Profile, host: &str) -> Privileges {
        match (self.privileges, self.no_privileges, profile.privileges) {
            (true, ..) => Privileges::All,
            (_, true, _) => Privileges::None,
            (.., Some(true)) => Privileges::All,
            (.., Some(false)) => Privileges::None,
            (.., None) => Privileges::MadeOn(host.to_owned()),
        }
    }

    fn options(&self, profile: Option<&Profile>, host: &str) -> Result<PullOptions> {
        let own = Profile::default();
        let profile = profile.unwrap_or(&own);
        let only = Only::new(if self.only.is_empty() { &profile.only } else { &self.only })?;
        Ok(PullOptions {
            filter: self.filter.filter_after(&profile.rules, &only.rules)?,
            prefixes: only.prefixes,
            at: self.at.clone(),
            at_least: self.at_least,
            max_size: self.max_size.or(profile.max_size),
            delete: self.delete || profile.delete,
            checksum: self.checksum,
            dry_run: self.dry_run,
            // A restore rewrites files on request, so the guard has no limit for rewrites.
            limits: Limits { removals: self.max_removals, rewrites: 1.0, allow_empty: self.allow_empty, ..Limits::default() },
            transfers: self.transfers,
            limit_download: self.limit_download,
            privileges: self.rights(profile, host),
            no_sync: self.no_sync,
            restore: self.restore_archived.then_some(Restore { tier: self.restore_tier, days: self.restore_days }),
        })
    }
}

pub async fn run(args: PullArgs, context: &Context) -> Result<u8> {
    values::directory(&args.target)?;
    let ResolvedFrom { urls, job } = args.from.resolve(args.profile.is_some())?;
    let profile = args.profile(job.as_ref())?;
    let (mut machine, _makeshift) = context.machine_to_read()?;
    job.iter().for_each(|job| job.add_keys(&mut machine.keys));
    let mut options = args.options(profile.as_ref(), &machine.host)?;
    let zone = job.as_ref().map(|job| job.options.keep.zone.clone()).unwrap_or_default();
    options.at = options.at.map(|at| engine::at_in(&zone, &at));
    let mut left = urls.iter();
    let (outcome, control) = loop {
        let Some(url) = left.next() else { return Err(Error::Usage("no destination to restore from".into())) };
        let (control, bars) = context.control(std::slice::from_ref(url));
        let outcome = engine::pull(&machine, url, &args.target, &options, &control).await;
        drop(bars);
        match outcome {
            // Another destination of the job may be reachable.
            Err(error) if !left.as_slice().is_empty() && !matches!(error, Error::Interrupted | Error::Refused(_) | Error::Local { .. }) => {
                context.out.failed_over(&error);
            }
            outcome => break (outcome?, control),
        }
    };
    context.out.pulled(&outcome, &args.target, args.dry_run)?;
    let commands = profile.as_ref().map_or(&[][..], |profile| &profile.after);
    if outcome.exit != 0 && !commands.is_empty() && !args.dry_run {
        context.out.warning("not everything was restored, so the commands of the profile did not run: the data they clean is not clean");
    }
    let (variables, timeout) = job.map(|job| (job.variables, job.hooks.timeout)).unwrap_or_default();
    for command in commands.iter().filter(|_| !args.dry_run && outcome.exit == 0) {
        let mut variables = variables.clone();
        variables.push(("OFFSITE_TARGET".to_owned(), args.target.display().to_string()));
        let hook = run_command_in(Some(&args.target), "after", command, &variables, timeout, &control.stop).await;
        context.out.hook_ran("pull", &hook);
        if hook.error.is_some() {
            context.out.warning("a command of the profile failed: the data that it and later commands clean is not clean");
            return Ok(1);
        }
    }
    Ok(outcome.exit)
}

fn tier(text: &str) -> Result<Tier, String> {
    match text {
        "expedited" => Ok(Tier::Expedited),
        "standard" => Ok(Tier::Standard),
        "bulk" => Ok(Tier::Bulk),
        _ => Err("expedited, standard or bulk".into()),
    }
}
