//! The FROM of a verb: a URL or path, or a job of the config.
//!
//! Owns which of them a word is. A word with a slash, or the name of a directory that is a destination, is a path.
//! Only for other words the config is read.

use std::path::Path;

use clap::Args;
use offsite::config::{Job, VolumeUnavailable};
use offsite::error::{Error, Result};
use offsite::model::Zone;

use super::args_config::ConfigArgs;

/// Something that was synced to.
#[derive(Debug, Args)]
pub struct FromArgs {
    /// A destination: a URL or path, or a job of the config as JOB or JOB@DESTINATION
    #[arg(value_name = "FROM")]
    from: String,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What FROM stands for.
#[derive(Debug)]
pub struct ResolvedFrom {
    /// At least one: all destinations of a job, or the one that was named.
    pub urls: Vec<String>,
    /// None for a URL or path.
    pub job: Option<Job>,
}

impl ResolvedFrom {
    fn plain(url: &str) -> Self {
        Self { urls: vec![url.to_owned()], job: None }
    }
}

impl FromArgs {
    /// The URL to read from: of a job, that of its first destination.
    pub fn url(&self) -> Result<String> {
        Ok(self.resolve(false)?.urls.swap_remove(0))
    }

    /// The same, with the time zone of its snapshots: the job's, else this machine's.
    pub fn url_and_zone(&self) -> Result<(String, Zone)> {
        let ResolvedFrom { mut urls, job } = self.resolve(false)?;
        Ok((urls.swap_remove(0), job.map(|job| job.options.keep.zone).unwrap_or_default()))
    }

    /// The one destination to work on. If a job has several, the user must name one.
    pub fn only(&self) -> Result<(String, Option<Job>)> {
        let ResolvedFrom { mut urls, job } = self.resolve(false)?;
        match (&job, urls.len()) {
            (Some(job), 2..) => {
                Err(Error::Usage(format!("job {} has several destinations; name one as {}@NAME: {}", job.shown(), job.name, names(job))))
            }
            _ => Ok((urls.swap_remove(0), job)),
        }
    }

    /// Everything that FROM stands for. With `job`, it must be a job.
    pub fn resolve(&self, job: bool) -> Result<ResolvedFrom> {
        let asked = job || self.config.is_asked_for();
        let is_path = self.from.contains('/') || Path::new(&self.from).join(".offsite").is_dir();
        if is_path && !asked {
            return Ok(ResolvedFrom::plain(&self.from));
        }
        let parsed = match self.config.parsed() {
            Ok(parsed) => parsed,
            Err(_) if !asked => return Ok(ResolvedFrom::plain(&self.from)),
            Err(error) => return Err(error),
        };
        let (name, destination) =
            self.from.split_once('@').map_or((self.from.as_str(), None), |(job, destination)| (job, Some(destination)));
        if parsed.file.jobs.get(name).is_none() && !asked {
            return Ok(ResolvedFrom::plain(&self.from));
        }
        self.job(name, destination)
    }

    fn job(&self, name: &str, destination: Option<&str>) -> Result<ResolvedFrom> {
        let mut jobs = self.config.plan(&[name.to_owned()])?.jobs;
        if jobs.len() > 1 {
            let volumes = jobs.iter().filter_map(|job| job.volume.as_deref()).collect::<Vec<_>>().join(", ");
            return Err(Error::Usage(format!("job {name} has several volumes; name one with --set VOLUME=…: {volumes}")));
        }
        let Some(job) = jobs.pop() else { return Ok(ResolvedFrom::plain(&self.from)) };
        if let Some(VolumeUnavailable::Unknown(why) | VolumeUnavailable::Missing(why)) = job.unknown() {
            return Err(Error::Usage(format!("job {}: {why}; name the volume with --set VOLUME=…", job.shown())));
        }
        if job.ignored {
            return Err(Error::Usage(format!("job {}: the config says \"ignore\" for this type, so it has no destinations", job.shown())));
        }
        let chosen = job.destinations.iter().filter(|to| destination.is_none_or(|name| to.name.as_deref() == Some(name)));
        let urls: Vec<String> = chosen.map(|destination| destination.url.clone()).collect();
        match urls.is_empty() {
            true => Err(Error::Usage(match names(&job) {
                none if none.is_empty() => {
                    format!("the destinations of job {} have no names; name them under `destinations`", job.shown())
                }
                known => format!("job {} has no such destination; its destinations are {known}", job.shown()),
            })),
            false => Ok(ResolvedFrom { urls, job: Some(job) }),
        }
    }
}

fn names(job: &Job) -> String {
    job.destinations.iter().filter_map(|destination| destination.name.clone()).collect::<Vec<_>>().join(", ")
}
