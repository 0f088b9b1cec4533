//! `offsite pull URL|JOB[@DESTINATION] DIRECTORY`

use std::path::{Path, PathBuf};

use clap::Args;
use offsite::config::{Lack, Profile, values};
use offsite::engine::{self, PullOptions};
use offsite::error::{Error, Result};
use offsite::jobs::run_command_in;
use offsite::plan::Limits;

use super::super::Context;
use super::super::args_config::ConfigArgs;
use super::super::args_filter::{FilterArgs, Only};

/// Arguments of `pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// Where from: a URL or path that was synced to, or a job of the config, JOB or JOB@DESTINATION
    #[arg(value_name = "FROM")]
    from: String,
    /// The directory to bring it to; made if it is not there
    #[arg(value_name = "DIRECTORY")]
    target: PathBuf,
    /// Which snapshot: its number, a date (2026-11-01), or how long ago (3d) (default: the newest)
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
    /// Only this: a path from the top of the tree (docs/), or a pattern ('*.txt'); repeatable (default: all)
    #[arg(long, value_name = "PATH", help_heading = "What to leave out")]
    only: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Leave out larger files: 10M, 1.5G, by 1024 (default: no limit)
    #[arg(long, value_name = "SIZE", value_parser = values::size, help_heading = "What to leave out")]
    max_size: Option<u64>,
    /// Remove from the directory what the snapshot does not have (default: it stays)
    #[arg(long)]
    delete: bool,
    /// Compare contents of files whose size and mtime agree (default: they count as the same)
    #[arg(long)]
    checksum: bool,
    /// Say what would be done and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Fetch at most so many bytes a second: 500K, 10M, by 1024 (default: no limit)
    #[arg(long, value_name = "RATE", value_parser = values::rate)]
    limit_download: Option<u64>,
    /// Files in flight (default: what suits the store)
    #[arg(long, value_name = "N", value_parser = values::count)]
    transfers: Option<usize>,
    /// Refuse to remove more than this share of what is in the directory: 25% or 0.25
    #[arg(long, value_name = "PERCENT", default_value = "25%", value_parser = values::share, help_heading = "Guard")]
    max_removals: f64,
    /// With --delete: the snapshot may be empty although the directory is not (default: refused)
    #[arg(long, help_heading = "Guard")]
    allow_empty: bool,
    /// Bring over what this profile of the job says
    #[arg(long, value_name = "NAME", help_heading = "Config")]
    profile: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Where a pull is from, and what the config says about it.
struct From {
    /// The first that can be reached is taken.
    urls: Vec<String>,
    profile: Option<Profile>,
    variables: Vec<(String, String)>,
    timeout: u64,
}

impl PullArgs {
    /// A URL or path as it always was; else a job, if there is a config with one of that name.
    fn whence(&self) -> Result<From> {
        let plain = || From { urls: vec![self.from.clone()], profile: None, variables: Vec::new(), timeout: 0 };
        let asked = self.profile.is_some() || self.config.is_asked_for();
        let is_path = self.from.contains('/') || Path::new(&self.from).join(".offsite").is_dir();
        if is_path && !asked {
            return Ok(plain());
        }
        let parsed = match self.config.parsed() {
            Ok(parsed) => parsed,
            Err(_) if !asked => return Ok(plain()),
            Err(error) => return Err(error),
        };
        let (job, place) = self.from.split_once('@').map_or((self.from.as_str(), None), |(job, place)| (job, Some(place)));
        if parsed.file.jobs.get(job).is_none() && !asked {
            return Ok(plain());
        }
        let plan = self.config.plan(&[job.to_owned()])?;
        if plan.jobs.len() > 1 {
            let volumes = plan.jobs.iter().filter_map(|job| job.volume.as_deref()).collect::<Vec<_>>().join(", ");
            return Err(Error::Usage(format!("job {job} is several volumes; say which with --set VOLUME=…: {volumes}")));
        }
        let Some(job) = plan.jobs.into_iter().next() else { return Ok(plain()) };
        if let Some(Lack::Unasked(why) | Lack::Missing(why)) = job.unknown() {
            return Err(Error::Usage(format!("job {}: {why}; say which volume with --set VOLUME=…", job.shown())));
        }
        let known = job.places.iter().filter_map(|place| place.name.clone()).collect::<Vec<_>>().join(", ");
        let chosen = job.places.iter().filter(|to| place.is_none_or(|name| to.name.as_deref() == Some(name)));
        let urls: Vec<String> = chosen.map(|place| place.url.clone()).collect();
        if urls.is_empty() {
            return Err(Error::Usage(format!("job {} goes to no such destination; known are {known}", job.shown())));
        }
        let profile = match &self.profile {
            None => None,
            Some(name) => match job.profiles.iter().find(|(known, _)| known == name) {
                Some((_, profile)) => Some(profile.clone()),
                None => {
                    let known = job.profiles.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
                    return Err(Error::Usage(format!("job {} has no profile `{name}`; known are {known}", job.shown())));
                }
            },
        };
        Ok(From { urls, profile, variables: job.variables, timeout: job.hooks.timeout })
    }

    fn options(&self, profile: Option<&Profile>) -> Result<PullOptions> {
        let own = Profile::default();
        let profile = profile.unwrap_or(&own);
        let only = Only::new(if self.only.is_empty() { &profile.only } else { &self.only })?;
        Ok(PullOptions {
            filter: self.filter.filter_after(&profile.rules, &only.rules)?,
            prefixes: only.prefixes,
            at: self.at.clone(),
            max_size: self.max_size.or(profile.max_size),
            delete: self.delete || profile.delete,
            checksum: self.checksum,
            dry_run: self.dry_run,
            // The user asked for the snapshot's contents: rewriting is what a pull is for.
            limits: Limits { removals: self.max_removals, rewrites: 1.0, allow_empty: self.allow_empty, ..Limits::default() },
            transfers: self.transfers,
            limit_download: self.limit_download,
        })
    }
}

pub async fn run(args: PullArgs, context: &Context) -> Result<u8> {
    let from = args.whence()?;
    let options = args.options(from.profile.as_ref())?;
    let machine = context.machine()?;
    let mut left = from.urls.iter();
    let (outcome, report) = loop {
        let Some(url) = left.next() else { return Err(Error::Usage("there is nothing to pull from".into())) };
        let (report, bars) = context.report(std::slice::from_ref(url));
        let outcome = engine::pull(&machine, url, &args.target, &options, &report).await;
        drop(bars);
        match outcome {
            // Another copy of the same job may be within reach.
            Err(error) if !left.as_slice().is_empty() && !matches!(error, Error::Interrupted | Error::Refused(_) | Error::Local { .. }) => {
                context.out.failed_over(&error);
            }
            outcome => break (outcome?, report),
        }
    };
    context.out.pulled(&outcome, &args.target, args.dry_run)?;
    let commands = from.profile.as_ref().map_or(&[][..], |profile| &profile.after);
    if outcome.exit != 0 && !commands.is_empty() && !args.dry_run {
        context.out.note("not everything was brought over, so the profile's commands did not run: what they clean is not clean");
    }
    for command in commands.iter().filter(|_| !args.dry_run && outcome.exit == 0) {
        let mut variables = from.variables.clone();
        variables.push(("OFFSITE_TARGET".to_owned(), args.target.display().to_string()));
        let hook = run_command_in(Some(&args.target), "after", command, &variables, from.timeout, &report.stop).await;
        context.out.hook_ran("pull", &hook);
        if hook.error.is_some() {
            // What it was to clean is not clean.
            return Ok(1);
        }
    }
    Ok(outcome.exit)
}
