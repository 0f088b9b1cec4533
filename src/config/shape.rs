//! The config file as it is written: one struct an object, nothing expanded, nothing looked up.
//!
//! Owns the keys, their documentation, and with both the JSON Schema (`offsite config schema`).
//! Invariant: a key that is not here is an error.

use schemars::JsonSchema;
use serde::Deserialize;

use super::words::{Command, Comment, Either, Named, Several, Word, section, sections};

/// `offsite.json`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// For editors; passed over
    #[serde(rename = "$schema")]
    pub schema: Option<String>,
    pub comment: Option<Comment>,
    /// What `$NAME` is where neither --set nor the environment says
    pub variables: Named<String>,
    /// Places by name; a job names those it goes to
    pub destinations: Named<Either<String, DestinationShape>>,
    /// Where the engine's directory of volumes is mounted, if offsite runs in a container (default: where the engine says)
    pub volumes_root: Option<String>,
    /// What is kept, in the order in which `offsite run` does it
    #[serde(deserialize_with = "sections")]
    pub jobs: Named<JobShape>,
    /// Commands around the whole run
    pub before: Several<Command>,
    /// After a run in which every job did well
    pub after: Several<Command>,
    /// After a run in which one did not
    pub on_failure: Several<Command>,
    /// After every run, last of all
    pub finally: Several<Command>,
    /// How long one hook may take: `"10m"` (default: 1h)
    pub hook_timeout: Option<Word>,
    /// Who is told how a run ended
    #[serde(default, deserialize_with = "section")]
    pub notify: Option<NotifyShape>,
    /// A file for Prometheus' textfile collector, written after each run
    pub metrics: Option<String>,
}

/// A place that is synced to
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationShape {
    #[serde(default)]
    pub comment: Option<Comment>,
    /// `s3://bucket/prefix`, `gs://…`, `b2://…`, `sftp://user@host/path`, a directory
    pub url: String,
    /// How it is to be made before the first run, or a command of your own that makes it (before each run)
    #[serde(default)]
    pub initialize: Option<Either<Command, InitializeShape>>,
    /// What a report says of it, or a command of your own that says it
    #[serde(default)]
    pub report: Option<Either<Command, ReportShape>>,
    /// A directory that is not there now, such as a disk that is plugged in once a month: `"skip"` leaves it out and says
    /// so, `"fail"` fails the job (default: fail)
    #[serde(default)]
    pub absent: Absent,
    /// How old the last run may be before `offsite status` calls it stale: `"40d"` (default: what --max-age says)
    #[serde(default)]
    pub max_age: Option<Word>,
}

/// What `offsite init` makes
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InitializeShape {
    pub comment: Option<Comment>,
    /// Keep what is replaced and removed as versions
    pub versioning: Option<bool>,
    /// Let the store remove uploads that never ended after so many days: `"7d"`
    pub abort_uploads_after: Option<Word>,
    /// Let the store remove replaced and removed versions after so many days: `"90d"`
    pub expire_old_versions_after: Option<Word>,
    /// Let the store encrypt what comes there: `"store"`, or `"kms:KEY"` with a key of its key service
    pub encryption: Option<Word>,
    /// Nobody reads it without credentials
    pub block_public: bool,
    /// `"governance:30d"` or `"compliance:30d"`
    pub lock: Option<Word>,
    /// Where a bucket that has to be made is to lie
    pub region: Option<Word>,
}

/// How `offsite report` looks at it
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportShape {
    pub comment: Option<Comment>,
    /// The row of the price table (default: the one that fits the URL)
    pub price: Option<Word>,
    /// Count what the store lists instead of asking the manifest
    pub list: bool,
}

/// One thing that is kept
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobShape {
    #[serde(default)]
    pub comment: Option<Comment>,
    /// The directory to keep; `docker-volume:NAME` for a container volume, `docker-volumes` for all that have a label;
    /// may be left out of a job that has dumps
    #[serde(default)]
    pub source: Option<String>,
    /// The label of `docker-volumes`; what it says is the volume's type (default: `offsite.type`)
    #[serde(default)]
    pub label: Option<String>,
    /// Files at the top of the snapshot that are the output of a command: `"db.sql": "pg_dump --dbname=$DATABASE_URL"`
    #[serde(default)]
    pub dumps: Named<Either<Command, DumpShape>>,
    /// Names of destinations, or URLs
    pub destinations: Several<String>,
    /// Below the source and below each destination, by type
    #[serde(default)]
    pub subdirectories: Named<String>,
    /// Settings by type; `"*"` is for all of them, `"ignore"` leaves the pair of job and type out
    #[serde(default)]
    pub options: Named<Either<Ignore, OptionsShape>>,
    /// A source that is not there: `"fail"` fails the job, `"skip"` says so and goes on (default: fail)
    #[serde(default)]
    pub missing: Missing,
    /// Which snapshots stay (default: those of the last 30 days)
    #[serde(default, deserialize_with = "section")]
    pub keep: Option<KeepShape>,
    /// Commands before the job; one that fails fails the job, and nothing is sent
    #[serde(default)]
    pub before: Several<Command>,
    /// Commands after a job that did well
    #[serde(default)]
    pub after: Several<Command>,
    /// Commands after a job that did not
    #[serde(default)]
    pub on_failure: Several<Command>,
    /// Commands after the job, however it ended
    #[serde(default)]
    pub finally: Several<Command>,
    /// Who is told how this job ended
    #[serde(default, deserialize_with = "section")]
    pub notify: Option<NotifyShape>,
    /// Parts to be pulled for staging, by name: `offsite pull JOB DIR --profile NAME`
    #[serde(default, deserialize_with = "sections")]
    pub profiles: Named<ProfileShape>,
}

/// The output of a command as a file
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DumpShape {
    #[serde(default)]
    pub comment: Option<Comment>,
    pub command: Command,
    /// `"zstd"`, or with a level `"zstd:19"`; the name should end with `.zst` then
    #[serde(default)]
    pub compress: Option<Word>,
    /// A dump that is smaller, as it is stored, is not taken: `"2M"` (default: one byte)
    #[serde(default)]
    pub min_size: Option<Word>,
    /// A dump that is smaller than the last one by more than this share is not taken: `"20%"`
    #[serde(default)]
    pub max_shrink: Option<Word>,
    /// How long the command may take: `"2h"` (default: 12h)
    #[serde(default)]
    pub timeout: Option<Word>,
}

/// The word `ignore`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ignore {
    Ignore,
}

/// What becomes of a job whose source is not there
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    #[default]
    Fail,
    Skip,
}

/// What becomes of a destination that is not there
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Absent {
    #[default]
    Fail,
    Skip,
}

/// How a job is synced; the same words as the flags of `offsite sync`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptionsShape {
    pub comment: Option<Comment>,
    /// Leave out what matches, in gitignore's syntax
    pub exclude: Several<String>,
    /// Take what matches after all
    pub include: Several<String>,
    /// Read such rules from these files as well
    pub exclude_from: Several<String>,
    pub exclude_caches: Option<bool>,
    pub one_file_system: Option<bool>,
    pub checksum: Option<bool>,
    /// Take over what lies there already and is the same
    pub adopt: Option<bool>,
    #[serde(default, deserialize_with = "section")]
    pub keep: Option<KeepShape>,
    /// Refuse a run that removes more than this share: `"25%"`
    pub max_removals: Option<Word>,
    /// Refuse a run that rewrites more than this share: `"50%"`
    pub max_rewrites: Option<Word>,
    pub allow_empty: Option<bool>,
    /// The place may have been another machine's and another source's; say it where both change by design
    pub take_over: Option<bool>,
    /// Refuse a run that sends more than this: `"10G"`
    pub max_bytes: Option<Word>,
    /// Refuse a run whose requests cost more US dollars than this
    pub max_cost: Option<Word>,
    /// Bytes a second: `"10M"`
    pub limit_upload: Option<Word>,
    pub limit_download: Option<Word>,
    pub transfers: Option<Word>,
}

/// Which snapshots stay; all that any of these names do, and the newest always
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeepShape {
    pub comment: Option<Comment>,
    pub last: Option<Word>,
    pub daily: Option<Word>,
    pub weekly: Option<Word>,
    pub monthly: Option<Word>,
    /// All of this time: `"30d"`
    pub within: Option<Word>,
    /// Whose days, weeks and months they are: `"Europe/London"`, `"UTC"` (default: `"local"`, this machine's)
    pub zone: Option<Word>,
}

/// What a pull for staging brings over
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileShape {
    pub comment: Option<Comment>,
    /// Only these paths or patterns
    pub only: Several<String>,
    pub exclude: Several<String>,
    pub include: Several<String>,
    /// Leave out larger files: `"10M"`
    pub max_size: Option<Word>,
    /// Remove from the directory what the snapshot does not have
    pub delete: Option<bool>,
    /// Restore set-id bits, owners and attributes that give rights: `true` from any host's snapshot, `false` never (default: owners, and the others if this host made the snapshot)
    pub privileges: Option<bool>,
    /// Commands after it, in the directory: such as one that scrubs personal data
    pub after: Several<Command>,
}

/// Who is told how it ended
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyShape {
    pub comment: Option<Comment>,
    /// Fetched at the start (`/start`), at a good end, and at a bad one (`/fail`), as healthchecks takes it
    pub ping: Option<String>,
    /// The JSON outcome is posted there
    pub webhook: Option<String>,
    /// Mailed to through the local `sendmail`
    pub mail: Several<String>,
    /// Only when something went wrong; the pings stay (default: always)
    pub only_failures: bool,
}
