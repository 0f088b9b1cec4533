//! A job as it is carried out: everything expanded, every value parsed, nothing left to look up.
//!
//! Owns the plain data, and what may not be: two pairs of job and type at one place, a job name that cannot be
//! a file name. How it comes about is `resolve.rs`.

use std::path::PathBuf;

use offsite_backends::Initialize;

use super::shape::Absent;
use super::words::Command;
use crate::engine::SyncOptions;

/// Everything that `offsite run` does.
#[derive(Debug, Clone)]
pub struct ResolvedJobs {
    pub jobs: Vec<Job>,
    pub hooks: Hooks,
    pub notify: Notify,
    pub metrics: Option<PathBuf>,
    /// What commands are given besides their job's own variables.
    pub variables: Vec<(String, String)>,
}

/// One pair of job and type.
#[derive(Debug, Clone)]
pub struct Job {
    pub name: String,
    /// The config file that has it.
    pub config: PathBuf,
    pub kind: Option<String>,
    /// None for a job of dumps alone.
    pub source: Option<PathBuf>,
    /// The container volume that was found by its label and made this a job.
    pub volume: Option<String>,
    /// Of a source that is a container volume: where the volume lies, or why there is none to read.
    pub mounted: Option<Result<PathBuf, Lack>>,
    pub dumps: Vec<JobDump>,
    /// A source that is not there fails the job.
    pub must_exist: bool,
    /// `"ignore"`: left out of every verb.
    pub ignored: bool,
    pub places: Vec<JobDestination>,
    /// How it is synced; prices and dumps come in when it runs.
    pub options: SyncOptions,
    pub hooks: Hooks,
    pub notify: Notify,
    pub profiles: Vec<(String, Profile)>,
    /// What its commands find in their environment: `OFFSITE_JOB`, …
    pub variables: Vec<(String, String)>,
}

/// A file that is the output of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct JobDump {
    pub name: String,
    pub command: Command,
    /// The level of zstd.
    pub compress: Option<i32>,
    /// Bytes, as stored.
    pub min_size: u64,
    pub max_shrink: Option<f64>,
    /// Seconds.
    pub timeout: u64,
}

impl JobDump {
    /// Whether a command of it can fail unseen: a shell line ends as its last command does, not as one before a `|`.
    pub fn hides_failure(&self) -> bool {
        let Command::Shell(line) = &self.command else { return false };
        has_pipe(line) && !line.contains("pipefail") && self.min_size <= 1 && self.max_shrink.is_none()
    }
}

/// Whether a shell line has a pipe outside of quotes; `||` is none.
fn has_pipe(line: &str) -> bool {
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => drop(chars.next()),
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => quote = Some(c),
            ('|', None) if chars.peek() == Some(&'|') => drop(chars.next()),
            ('|', None) => return true,
            _ => {}
        }
    }
    false
}

/// Why a container volume cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// The engine could not be asked, so nobody knows.
    Unasked(String),
    /// It is not there, or not as a directory of this machine.
    Missing(String),
}

/// One destination of a job.
#[derive(Debug, Clone)]
pub struct JobDestination {
    /// Its name in the config; null for a URL in the job.
    pub name: Option<String>,
    pub url: String,
    pub initialize: Made,
    pub report: Told,
    pub price: Option<String>,
    pub list: bool,
    /// What becomes of it where it is not there.
    pub absent: Absent,
    /// How old its last run may be for `status`, in seconds.
    pub max_age: Option<u64>,
}

/// How a destination is made.
#[derive(Debug, Clone, PartialEq)]
pub enum Made {
    /// A first run makes what it needs.
    AsNeeded,
    Declared(Initialize),
    By(Command),
}

/// How a destination is reported on.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Built,
    By(Command),
}

/// Commands around something.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hooks {
    pub before: Vec<Command>,
    pub after: Vec<Command>,
    pub on_failure: Vec<Command>,
    pub finally: Vec<Command>,
    /// Seconds that one of them may take.
    pub timeout: u64,
}

/// Who is told how something ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Notify {
    pub ping: Option<String>,
    pub webhook: Option<String>,
    pub mail: Vec<String>,
    pub only_failures: bool,
}

/// A part that is pulled for staging.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    pub only: Vec<String>,
    pub rules: Vec<String>,
    pub max_size: Option<u64>,
    pub delete: bool,
    pub privileges: Option<bool>,
    pub after: Vec<Command>,
}

impl ResolvedJobs {
    /// All commands that a run of it may run.
    pub fn commands(&self) -> impl Iterator<Item = &Command> {
        let jobs = self.jobs.iter().filter(|job| !job.ignored);
        let dumps = jobs.clone().flat_map(|job| &job.dumps).map(|dump| &dump.command);
        let places = jobs.clone().flat_map(|job| &job.places).filter_map(|place| match &place.initialize {
            Made::By(command) => Some(command),
            _ => None,
        });
        std::iter::once(&self.hooks).chain(jobs.map(|job| &job.hooks)).flat_map(Hooks::all).chain(dumps).chain(places)
    }
}

impl Hooks {
    fn all(&self) -> impl Iterator<Item = &Command> {
        [&self.before, &self.after, &self.on_failure, &self.finally].into_iter().flatten()
    }
}

impl Job {
    /// Its source, for messages.
    pub fn shown_source(&self) -> String {
        self.source.as_ref().map_or_else(|| "dumps only".to_owned(), |source| source.display().to_string())
    }

    /// As it is named in messages: `files`, `files (vdrupal)`, `files/acme (vdrupal)` for a volume that was found.
    pub fn shown(&self) -> String {
        shown(&self.name, self.volume.as_deref(), self.kind.as_deref())
    }

    /// Why nothing is known of it but its name: no volume could be looked for, or there is none.
    pub fn unknown(&self) -> Option<&Lack> {
        self.mounted.as_ref().and_then(|mounted| mounted.as_ref().err()).filter(|_| self.places.is_empty())
    }
}

/// A job's name with its volume and its type.
pub fn shown(name: &str, volume: Option<&str>, kind: Option<&str>) -> String {
    let volume = volume.map_or(String::new(), |volume| format!("/{volume}"));
    let kind = kind.map_or(String::new(), |kind| format!(" ({kind})"));
    format!("{name}{volume}{kind}")
}
