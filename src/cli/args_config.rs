//! The flags of every verb that works on jobs: the config, the type, the variables.
//!
//! Owns the flags, and reads the config by them.

use std::path::PathBuf;

use clap::Args;
use offsite::config::{self, Borrowed, Chosen, Parsed, ResolvedJobs, VolumeUnavailable};
use offsite::error::{Error, Result};

/// Which config, and what is filled in.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// The config file (default: $`OFFSITE_CONFIG`, then ./offsite.json, ~/.config/offsite/offsite.json,
    /// /etc/offsite/offsite.json)
    #[arg(long, value_name = "FILE", help_heading = "Config")]
    config: Option<PathBuf>,
    /// The type, for jobs that have types
    #[arg(long = "type", value_name = "TYPE", help_heading = "Config")]
    kind: Option<String>,
    /// A value for $NAME in the config; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable, help_heading = "Config")]
    set: Vec<(String, String)>,
}

impl ConfigArgs {
    /// Whether a flag was given that only a config can satisfy.
    pub fn is_asked_for(&self) -> bool {
        self.config.is_some() || self.kind.is_some() || !self.set.is_empty()
    }

    /// The config file.
    pub fn parsed(&self) -> Result<Parsed> {
        config::load(self.config.as_deref())
    }

    /// These jobs of the config (all, if none are named), resolved.
    pub fn plan(&self, jobs: &[String]) -> Result<ResolvedJobs> {
        config::plan(&self.parsed()?, &self.chosen(jobs))
    }

    /// What these jobs take from the current environment.
    pub fn borrowed(&self, jobs: &[String]) -> Result<Borrowed> {
        config::borrowed(&self.parsed()?, &self.chosen(jobs))
    }

    /// These jobs (all, if none are named), with the type that was asked for, or with every type.
    pub fn plans(&self, parsed: &Parsed, jobs: &[String]) -> Result<Vec<ResolvedJobs>> {
        config::plans(parsed, &self.chosen(jobs))
    }

    /// All jobs whose destinations are known.
    ///
    /// # Errors
    /// Errors of the config. Also if container volumes could not be looked up, because their destinations are unknown
    /// then, or if a volume that must exist is missing.
    pub fn known_plans(&self) -> Result<Vec<ResolvedJobs>> {
        let plans = self.plans(&self.parsed()?, &[])?;
        for job in plans.iter().flat_map(|plan| &plan.jobs).filter(|job| !job.ignored) {
            match job.unknown() {
                Some(VolumeUnavailable::Unknown(why)) => {
                    let advice = "; to do without it, name the volume: --set VOLUME=NAME, and --type";
                    return Err(Error::Command(format!("job {}: {why}{advice}", job.shown())));
                }
                Some(VolumeUnavailable::Missing(why)) if job.must_exist => {
                    return Err(Error::Command(format!("job {}: {why}", job.shown())));
                }
                _ => {}
            }
        }
        Ok(plans)
    }

    /// The names that `--set` gives a value.
    pub fn set_names(&self) -> impl Iterator<Item = &str> {
        self.set.iter().map(|(name, _)| name.as_str())
    }

    /// The flags that repeat this choice, without the config file.
    pub fn again(&self) -> Vec<String> {
        let kind = self.kind.iter().flat_map(|kind| ["--type".to_owned(), kind.clone()]);
        let set = self.set.iter().flat_map(|(name, value)| ["--set".to_owned(), format!("{name}={value}")]);
        kind.chain(set).collect()
    }

    /// The choice of jobs, type and values. Of two values for one name the later one counts, as in the environment of
    /// commands.
    fn chosen(&self, jobs: &[String]) -> Chosen {
        let last = |at: usize, name: &str| self.set[at + 1..].iter().all(|(later, _)| later != name);
        let set = self.set.iter().enumerate().filter(|(at, (name, _))| last(*at, name)).map(|(_, pair)| pair.clone()).collect();
        Chosen { jobs: jobs.to_vec(), kind: self.kind.clone(), set }
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if config::is_name(name) => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not of the form NAME=VALUE")),
    }
}
