//! `offsite schedule install|show|remove`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use offsite::config::{self, Job, ResolvedJobs, VolumeUnavailable, values};
use offsite::error::{Error, Result};
use offsite::schedule::{self, Rhythm, Sandbox, Schedule, Scheduler};
use offsite_backends::Location;

use super::super::args_config::ConfigArgs;
use crate::cli::context::Context;

/// Arguments of `schedule`.
#[derive(Debug, Args)]
pub struct ScheduleArgs {
    #[command(subcommand)]
    what: ScheduleVerb,
}

#[derive(Debug, Subcommand)]
enum ScheduleVerb {
    /// Run `offsite run` on a systemd timer, or with cron if systemd does not run
    Install(InstallArgs),
    /// Show what is installed
    Show(WhichArgs),
    /// Remove it
    Remove(WhichArgs),
}

/// Which schedule, and how it is kept.
#[derive(Debug, Args)]
struct WhichArgs {
    /// A name, for several schedules on one machine
    #[arg(long, value_name = "NAME", default_value = "offsite", value_parser = name)]
    name: String,
    /// Use systemd units (default: if systemd runs)
    #[arg(long, conflicts_with = "cron")]
    systemd: bool,
    /// Use a line in your crontab (default: if systemd does not run)
    #[arg(long)]
    cron: bool,
    /// Only write the units to this directory, and do not enable them (default: /etc/systemd/system for root,
    /// ~/.config/systemd/user for other users)
    #[arg(long, value_name = "DIR", conflicts_with = "cron")]
    units: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct InstallArgs {
    /// The jobs to run (default: all)
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    /// Every day at this time: 03:00
    #[arg(long, value_name = "HH:MM", value_parser = schedule::time_of_day, group = "rhythm", required_unless_present_any = ["hourly", "weekly"])]
    daily: Option<(u32, u32)>,
    /// Every hour at this minute: 5
    #[arg(long, value_name = "MINUTE", value_parser = clap::value_parser!(u32).range(0..60), group = "rhythm")]
    hourly: Option<u32>,
    /// Every week: 'Sun 03:00'
    #[arg(long, value_name = "DAY HH:MM", value_parser = Rhythm::weekly, group = "rhythm")]
    weekly: Option<Rhythm>,
    /// Start up to this much later, so that not all machines start at once: 30m
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = values::duration)]
    jitter: u64,
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

pub fn run(args: ScheduleArgs, context: &Context) -> Result<u8> {
    match args.what {
        ScheduleVerb::Install(args) => {
            let way = args.which.way()?;
            let notes = args.missing_for_schedule(&way)?;
            let mut done = schedule::install(&args.schedule(&way)?, &way)?;
            done.notes.extend(notes);
            context.out.scheduled("installed", &args.which.name, &done)?;
        }
        ScheduleVerb::Show(which) => {
            let found = schedule::show(&which.name, &which.way()?)?;
            context.out.scheduled("there", &which.name, &found)?;
            return Ok(u8::from(found.parts.is_empty()));
        }
        ScheduleVerb::Remove(which) => {
            let gone = schedule::remove(&which.name, &which.way()?)?;
            context.out.scheduled("removed", &which.name, &gone)?;
        }
    }
    Ok(0)
}

impl WhichArgs {
    fn way(&self) -> Result<Scheduler> {
        if let Some(dir) = &self.units {
            return Ok(Scheduler::Systemd { dir: dir.clone(), enable: false, of_user: false });
        }
        let runs = Path::new("/run/systemd/system").is_dir();
        if self.cron || !(runs || self.systemd) {
            return Ok(Scheduler::Cron);
        }
        match config::unit_dir() {
            (Some(dir), of_user) => Ok(Scheduler::Systemd { dir, enable: runs, of_user }),
            (None, _) => Err(Error::Usage("no home directory for user units; name a directory with --units".into())),
        }
    }
}

/// Variables that cron and a user's systemd set as well.
const ALWAYS: [&str; 5] = ["HOME", "LOGNAME", "PATH", "SHELL", "USER"];
/// The file from which the system's units read variables.
const ENVIRONMENT: &str = "/etc/offsite/environment";

impl InstallArgs {
    /// Checks that a scheduled run will have what the config takes from the current environment. Variables that the
    /// config needs are an error if they are missing; those that commands and stores may read are a note.
    fn missing_for_schedule(&self, way: &Scheduler) -> Result<Vec<String>> {
        let of_system = matches!(way, Scheduler::Systemd { of_user: false, .. });
        let kept = if of_system { std::fs::read_to_string(ENVIRONMENT).unwrap_or_default() } else { String::new() };
        let is_kept = |name: &str| kept.lines().any(|line| line.split_once('=').is_some_and(|(known, _)| known.trim() == name));
        let lost = |name: &String| !is_kept(name) && (of_system || !ALWAYS.contains(&name.as_str()));
        let advice = if of_system { format!("put them into {ENVIRONMENT}, or use --set") } else { "use --set".to_owned() };
        let kept_in = if of_system { format!("put them into {ENVIRONMENT}") } else { "read them from files".to_owned() };
        let borrowed = self.config.borrowed(&self.jobs)?;
        let list = |names: Vec<String>| names.into_iter().filter(lost).collect::<Vec<_>>().join(", ");
        let (config, around) = (list(borrowed.config), list(borrowed.around));
        if !config.is_empty() {
            let what = "the config takes these from the current environment, which a scheduled run does not have";
            return Err(Error::Usage(format!("{what}: {config}; {advice}, or set them under `variables`")));
        }
        let note =
            format!("commands and stores may need these from the current environment, which a scheduled run does not have: {around}");
        Ok(if around.is_empty() { Vec::new() } else { vec![format!("{note}; {kept_in}")] })
    }

    fn schedule(&self, way: &Scheduler) -> Result<Schedule> {
        if let Some(name) = self.config.set_names().find(|name| config::is_secret(name)) {
            return Err(Error::Usage(format!(
                "--set {name} looks like a secret, and everybody on this machine can read a schedule; put {name}=… into /etc/offsite/environment (chmod 600), which the service reads, or let a hook read it from a file"
            )));
        }
        let parsed = self.config.parsed()?;
        // A job that cannot be resolved now cannot be resolved in a scheduled run.
        let plan = self.config.plan(&self.jobs)?;
        if let Some((job, VolumeUnavailable::Unknown(why))) = plan.jobs.iter().find_map(|job| Some((job, job.unknown()?))) {
            return Err(Error::Command(format!("job {}: {why}", job.shown())));
        }
        let program = std::env::current_exe().map_err(|e| Error::local("offsite", e))?;
        let file = std::path::absolute(parsed.name()).map_err(|e| Error::local(parsed.name(), e))?;
        let mut command = vec![text(&program)?, "run".to_owned(), "--no-progress".to_owned(), "--config".to_owned(), text(&file)?];
        command.extend(self.config.again());
        command.extend(self.jobs.iter().cloned());
        let rhythm = match (self.daily, self.hourly, self.weekly) {
            (Some((hour, minute)), ..) => Rhythm::Daily(hour, minute),
            (_, Some(minute), _) => Rhythm::Hourly(minute),
            (.., Some(weekly)) => weekly,
            _ => return Err(Error::Usage("say when: --daily 03:00, --hourly 5 or --weekly 'Sun 03:00'".into())),
        };
        let of_user = matches!(way, Scheduler::Systemd { of_user: true, .. });
        Ok(Schedule {
            name: self.which.name.clone(),
            command,
            directory: text(&std::env::current_dir().map_err(|e| Error::local("this directory", e))?)?,
            rhythm,
            jitter: self.jitter,
            sandbox: sandbox(&plan, of_user)?,
            host: config::host(),
        })
    }
}

fn text(path: &Path) -> Result<String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::Usage(format!("{}: this path is not UTF-8, so a schedule cannot contain it", path.display())))
}

/// The access that the jobs of a plan need on this machine: paths, mail, and temporary directories.
fn sandbox(plan: &ResolvedJobs, of_user: bool) -> Result<Sandbox> {
    let jobs = || plan.jobs.iter().filter(|job| !job.ignored);
    let mut writes = Vec::new();
    for job in jobs() {
        let locations = job.destinations.iter().filter_map(|destination| Location::parse(&destination.url).ok());
        for location in locations.filter(Location::is_directory) {
            writes.push(writable(job, &location.dir(), of_user)?);
        }
    }
    let copies = !writes.is_empty();
    if let Some(path) = &plan.metrics {
        let path = std::path::absolute(path).map_err(|e| Error::local(path, e))?;
        let dir = path.parent().unwrap_or(&path).to_path_buf();
        if is_shared(&dir) && !of_user {
            let what = "the service would need write access to all of that; choose a separate directory";
            return Err(Error::Usage(format!("metrics: {} is directly in {}; {what}", path.display(), dir.display())));
        }
        writes.push(dir);
    }
    writes.sort();
    writes.dedup();
    let in_tmp = |path: &Path| path.starts_with("/tmp") || path.starts_with("/var/tmp");
    let shares_tmp = writes.iter().any(|path| in_tmp(path)) || jobs().filter_map(|job| job.source.as_ref()).any(|source| in_tmp(source));
    let mails = !plan.notify.mail.is_empty() || jobs().any(|job| !job.notify.mail.is_empty());
    Ok(Sandbox { writes, copies, mails, shares_tmp, of_user })
}

/// The directory that must be writable for a destination: its own, or the one above it in which the run will create
/// it. A directory that the system shares is refused.
fn writable(job: &Job, dir: &Path, of_user: bool) -> Result<PathBuf> {
    let wanted = of_all(job, dir);
    let there = nearest(&wanted);
    if of_user || there == dir || !is_shared(&there) {
        return Ok(there);
    }
    let why = format!("the service would need write access to all of {}", there.display());
    Err(Error::Usage(match there == wanted {
        true => {
            format!(
                "job {}: its volumes go to directories directly in {}, and {why}; put a separate directory in between",
                job.name,
                there.display()
            )
        }
        false => format!("job {}: {} does not exist, and {why}; create it first: mkdir -p '{1}'", job.name, wanted.display()),
    }))
}

/// Whether it is the root or a directory of the whole system.
fn is_shared(dir: &Path) -> bool {
    const SHARED: &str = "/ /bin /boot /dev /etc /home /lib /lib64 /media /mnt /opt /proc /root /run /sbin /srv /sys /usr /var \
                          /usr/lib /usr/local /usr/share /var/cache /var/lib /var/log /var/spool";
    SHARED.split(' ').any(|shared| Path::new(shared) == dir)
}

/// For a container volume: the directory that holds all volumes, because the next run may find another volume.
fn of_all(job: &Job, dir: &Path) -> PathBuf {
    let own = |part: &std::path::Component<'_>| job.volume.as_ref().is_some_and(|volume| part.as_os_str() == volume.as_str());
    let above: PathBuf = dir.components().take_while(|part| !own(part)).collect();
    if above.parent().is_some() { above } else { dir.to_path_buf() }
}

/// The directory itself, or the nearest existing one above it, in which the first run creates it.
fn nearest(dir: &Path) -> PathBuf {
    dir.ancestors().find(|above| above.is_dir()).unwrap_or(dir).to_path_buf()
}

fn name(text: &str) -> Result<String, String> {
    let fine = text.starts_with("offsite") && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if fine {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a name for a schedule; it must begin with `offsite` and have only letters, digits and `-`"))
    }
}
