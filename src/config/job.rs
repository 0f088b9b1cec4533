//! A job, resolved: every variable expanded and every value parsed.
//!
//! Owns the plain data. `resolve.rs` makes it. Invariant: a run of it needs no further lookup in the config or the
//! environment.

use std::path::PathBuf;

use offsite_backends::Initialize;

use super::shape::Absent;
use super::words::Command;
use crate::engine::{KeyRing, SealWish, SyncOptions};
use crate::model::Layout;

/// Everything that `offsite run` does.
#[derive(Debug, Clone)]
pub struct ResolvedJobs {
    /// The jobs, in the order of the file.
    pub jobs: Vec<Job>,
    /// Hooks around the whole run.
    pub hooks: Hooks,
    /// Whom to notify about the whole run.
    pub notify: Notify,
    /// The file for Prometheus' textfile collector.
    pub metrics: Option<PathBuf>,
    /// Variables in the environment of the hooks of the whole run.
    pub variables: Vec<(String, String)>,
}

/// One pair of job and type.
#[derive(Debug, Clone)]
pub struct Job {
    /// Name of the job in the config.
    pub name: String,
    /// The config file that defines it.
    pub config: PathBuf,
    /// The type, if it has one.
    pub kind: Option<String>,
    /// The source. None for a job that has dumps only.
    pub source: Option<PathBuf>,
    /// The container volume, if the engine listed it by its label.
    pub volume: Option<String>,
    /// For a source that is a container volume: its directory, or why it cannot be read.
    pub mounted: Option<Result<PathBuf, VolumeUnavailable>>,
    /// Dumps in order of their names.
    pub dumps: Vec<JobDump>,
    /// A missing source fails the job. Otherwise the job is skipped.
    pub must_exist: bool,
    /// The config says `"ignore"`, so every verb leaves the job out.
    pub ignored: bool,
    /// Its destinations, in the order of the file.
    pub destinations: Vec<JobDestination>,
    /// Options of its sync. The runner adds prices and dumps.
    pub options: SyncOptions,
    /// Hooks around the job.
    pub hooks: Hooks,
    /// Whom to notify about the job.
    pub notify: Notify,
    /// Profiles by name.
    pub profiles: Vec<(String, Profile)>,
    /// Variables in the environment of its commands: `OFFSITE_JOB`, …
    pub variables: Vec<(String, String)>,
}

/// A file that is the output of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct JobDump {
    /// Name of the file at the top of the snapshot.
    pub name: String,
    /// The command that writes the content to its standard output.
    pub command: Command,
    /// Level of zstd. None for no compression.
    pub compress: Option<i32>,
    /// A smaller dump is rejected. Bytes, as stored.
    pub min_size: u64,
    /// A dump that is smaller than the last one by more than this share is rejected (1.0: all of it).
    pub max_shrink: Option<f64>,
    /// Seconds that the command may take.
    pub timeout: u64,
}

impl JobDump {
    /// Whether a failure of its command can stay unseen. A shell line has the exit code of the last command of a pipe,
    /// and nothing else in the config checks the output.
    pub fn hides_failure(&self) -> bool {
        let Command::Shell(line) = &self.command else { return false };
        has_pipe(line) && !line.contains("pipefail") && self.min_size <= 1 && self.max_shrink.is_none()
    }
}

/// Whether a shell line has a pipe outside of quotes. `||` is not a pipe.
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
pub enum VolumeUnavailable {
    /// The engine cannot be reached, so the state of the volume is unknown. The text says why.
    Unknown(String),
    /// The volume does not exist, or is not a directory of this machine. The text says why.
    Missing(String),
}

/// One destination of a job.
#[derive(Debug, Clone)]
pub struct JobDestination {
    /// Its name in the config. None for a URL in the job.
    pub name: Option<String>,
    /// Its URL, with the subdirectory of the type.
    pub url: String,
    /// What to do before the first run or before each run.
    pub initialize: InitializeMethod,
    /// Who prints its report.
    pub report: ReportMethod,
    /// The row of the price table. None for the row of the URL.
    pub price: Option<String>,
    /// The report counts what the store lists instead of using the manifest.
    pub list: bool,
    /// What to do if the destination is absent.
    pub absent: Absent,
    /// Maximum age of its last run for `offsite status`, in seconds.
    pub max_age: Option<u64>,
    /// Its layout. `None` for that of a destination that exists, or a mirror.
    pub layout: Option<Layout>,
    /// How it is sealed, and which keys the config names for it.
    pub seal: Option<JobSeal>,
    /// A run deletes nothing there.
    pub append_only: bool,
    /// A run repacks there.
    pub repack: bool,
}

/// How a destination is sealed, and which keys the config names for it.
#[derive(Debug, Clone, Default)]
pub struct JobSeal {
    /// How a new destination is to be sealed.
    pub wish: SealWish,
    /// File of the writer key, if it is not in the usual directory.
    pub key: Option<PathBuf>,
    /// File of an identity.
    pub identity: Option<PathBuf>,
}

impl JobDestination {
    /// Adds the keys that the config names for it.
    pub fn add_keys(&self, keys: &mut KeyRing) {
        let Some(seal) = &self.seal else { return };
        let own = |path: &Option<PathBuf>| path.clone().map(|path| (self.url.clone(), path));
        keys.writers.extend(own(&seal.key));
        keys.usual_identities.extend(own(&seal.identity));
        keys.passphrases.extend(seal.wish.passphrase.clone().map(|source| (self.url.clone(), source)));
    }
}

/// How a destination is prepared.
#[derive(Debug, Clone, PartialEq)]
pub enum InitializeMethod {
    /// The first run creates what it needs.
    AsNeeded,
    /// Settings that offsite applies before the first run. Later runs report drift.
    Declared(Initialize),
    /// A command that prepares the destination before each run.
    By(Command),
}

/// Who prints the report of a destination.
#[derive(Debug, Clone, PartialEq)]
pub enum ReportMethod {
    /// offsite itself.
    BuiltIn,
    /// A command of the user.
    By(Command),
}

/// Commands around a job or a whole run, each list in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hooks {
    /// Commands before it. If one fails, the job or run fails.
    pub before: Vec<Command>,
    /// Commands after a success.
    pub after: Vec<Command>,
    /// Commands after a failure.
    pub on_failure: Vec<Command>,
    /// Commands at the end, after a success or a failure.
    pub finally: Vec<Command>,
    /// Seconds that one of them may take.
    pub timeout: u64,
}

/// Whom to notify about the end of a job or a whole run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Notify {
    /// URL that is fetched at the start (`/start`), after a success, and after a failure (`/fail`).
    pub ping: Option<String>,
    /// URL to which the JSON outcome is posted.
    pub webhook: Option<String>,
    /// Mail addresses.
    pub mail: Vec<String>,
    /// Notify only about failures. Pings are sent in any case.
    pub only_failures: bool,
}

/// Settings of a restore.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// Only these paths or patterns. Empty for all.
    pub only: Vec<String>,
    /// Rules of a filter, in order.
    pub rules: Vec<String>,
    /// Skip files of more than this many bytes.
    pub max_size: Option<u64>,
    /// Delete files in the target that are not in the snapshot.
    pub delete: bool,
    /// Restore set-id bits, owners and attributes that give rights: `true` from any host's snapshot, `false` never.
    pub privileges: Option<bool>,
    /// Commands to run in the restored directory, in order.
    pub after: Vec<Command>,
}

impl ResolvedJobs {
    /// All commands that a run may start, except those that print reports or follow a restore. Ignored jobs have none.
    pub fn commands(&self) -> impl Iterator<Item = &Command> {
        let jobs = self.jobs.iter().filter(|job| !job.ignored);
        let dumps = jobs.clone().flat_map(|job| &job.dumps).map(|dump| &dump.command);
        let places = jobs.clone().flat_map(|job| &job.destinations).filter_map(|place| match &place.initialize {
            InitializeMethod::By(command) => Some(command),
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
    /// Adds the keys that the config names for its destinations.
    pub fn add_keys(&self, keys: &mut KeyRing) {
        self.destinations.iter().for_each(|destination| destination.add_keys(keys));
    }

    /// The source, for messages.
    pub fn shown_source(&self) -> String {
        self.source.as_ref().map_or_else(|| "dumps only".to_owned(), |source| source.display().to_string())
    }

    /// The name in messages: `files`, `files (vdrupal)`, or `files/acme (vdrupal)` for a volume with a label.
    pub fn shown(&self) -> String {
        shown(&self.name, self.volume.as_deref(), self.kind.as_deref())
    }

    /// Why only the name of the job is known: the engine cannot be reached, or no volume matches.
    pub fn unknown(&self) -> Option<&VolumeUnavailable> {
        self.mounted.as_ref().and_then(|mounted| mounted.as_ref().err()).filter(|_| self.destinations.is_empty())
    }
}

/// The name of a job in messages, with its volume and its type.
pub fn shown(name: &str, volume: Option<&str>, kind: Option<&str>) -> String {
    let volume = volume.map_or(String::new(), |volume| format!("/{volume}"));
    let kind = kind.map_or(String::new(), |kind| format!(" ({kind})"));
    format!("{name}{volume}{kind}")
}
