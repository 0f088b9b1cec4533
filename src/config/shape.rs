//! The config file as the user writes it: one struct for each object, with nothing expanded.
//!
//! Owns the keys, their documentation, and with both the JSON Schema (`offsite config schema`).
//! Invariant: a key that is not here is an error.

use schemars::JsonSchema;
use serde::Deserialize;

use super::words::{Command, Comment, Either, Named, Several, Word, section, sections};
use crate::model::Layout;

/// `offsite.json`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// For editors; ignored
    #[serde(rename = "$schema")]
    pub schema: Option<String>,
    /// For people; ignored
    pub comment: Option<Comment>,
    /// Values of `$NAME` that neither --set nor the environment sets
    pub variables: Named<String>,
    /// Destinations by name
    pub destinations: Named<Either<String, DestinationShape>>,
    /// Where the engine's directory of volumes is mounted, if offsite runs in a container (default: as the engine
    /// reports)
    pub volumes_root: Option<String>,
    /// Jobs, in the order in which `offsite run` carries them out
    #[serde(deserialize_with = "sections")]
    pub jobs: Named<JobShape>,
    /// Commands around the whole run
    pub before: Several<Command>,
    /// Commands after a run in which every job succeeded
    pub after: Several<Command>,
    /// Commands after a run in which a job failed
    pub on_failure: Several<Command>,
    /// Commands after every run, at the very end
    pub finally: Several<Command>,
    /// How long one hook may take: `"10m"` (default: 1h)
    pub hook_timeout: Option<Word>,
    /// Whom to notify about a run
    #[serde(default, deserialize_with = "section")]
    pub notify: Option<NotifyShape>,
    /// A file for Prometheus' textfile collector, written after each run
    pub metrics: Option<String>,
}

/// A destination
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationShape {
    /// For people; ignored
    #[serde(default)]
    pub comment: Option<Comment>,
    /// `s3://bucket/prefix`, `gs://…`, `b2://…`, `sftp://user@host/path`, a directory
    pub url: String,
    /// How a new destination keeps files: `"mirror"` keeps each as an object of its own under its own name, `"packed"`
    /// keeps small files together in compressed packs, each content once (default: mirror)
    #[serde(default)]
    pub layout: Option<Layout>,
    /// Seal a new destination: packed, and encrypted so that only its recipients can read it
    #[serde(default, deserialize_with = "section")]
    pub seal: Option<SealShape>,
    /// Settings to apply before the first run, or a command that prepares the destination before each run
    #[serde(default)]
    pub initialize: Option<Either<Command, InitializeShape>>,
    /// Settings of its report, or a command that prints it
    #[serde(default)]
    pub report: Option<Either<Command, ReportShape>>,
    /// What to do if the directory is missing, such as a disk that is plugged in once a month: `"skip"` leaves it out
    /// and says so, `"fail"` fails the job (default: fail)
    #[serde(default)]
    pub absent: Absent,
    /// Maximum age of the last run for `offsite status`: `"40d"` (default: --max-age)
    #[serde(default)]
    pub max_age: Option<Word>,
    /// Delete nothing there, because the credentials may not; another machine prunes
    #[serde(default)]
    pub append_only: bool,
    /// Send contents again out of packs that are hardly used, so that these can be deleted (default: true)
    #[serde(default)]
    pub repack: Option<bool>,
}

/// How a destination is sealed
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SealShape {
    /// For people; ignored
    #[serde(default)]
    pub comment: Option<Comment>,
    /// Who can read it: `age1…`, SSH public keys, recipients of age plugins, or files of recipients
    #[serde(default)]
    pub to: Several<String>,
    /// One recipient is enough: if its key is lost, so is the backup
    #[serde(default)]
    pub only_key: bool,
    /// A command that prints a passphrase, which opens the destination too: `"pass show backup"`
    #[serde(default)]
    pub passphrase_command: Option<Command>,
    /// File of this machine's writer key (default: in offsite's own directory of keys)
    #[serde(default)]
    pub key: Option<String>,
    /// File with an identity, as `--identity` takes it, for restores from this machine (default: none)
    #[serde(default)]
    pub identity: Option<String>,
}

/// Settings of `offsite init`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InitializeShape {
    /// For people; ignored
    pub comment: Option<Comment>,
    /// Keep replaced and removed objects as versions
    pub versioning: Option<bool>,
    /// Let the store remove unfinished uploads after this time: `"7d"`
    pub abort_uploads_after: Option<Word>,
    /// Let the store remove replaced and removed versions after this time: `"90d"`
    pub expire_old_versions_after: Option<Word>,
    /// Let the store encrypt new objects: `"store"`, or `"kms:KEY"` with a key of its key service
    pub encryption: Option<Word>,
    /// Block reading without credentials
    pub block_public: bool,
    /// `"governance:30d"` or `"compliance:30d"`
    pub lock: Option<Word>,
    /// The region of a new bucket
    pub region: Option<Word>,
}

/// Settings of `offsite report`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportShape {
    /// For people; ignored
    pub comment: Option<Comment>,
    /// The row of the price table (default: the row for the URL)
    pub price: Option<Word>,
    /// Count what the store lists instead of using the manifest
    pub list: bool,
}

/// One job
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobShape {
    /// For people; ignored
    #[serde(default)]
    pub comment: Option<Comment>,
    /// The directory to keep; `docker-volume:NAME` for a container volume, `docker-volumes` for all that have a label;
    /// may be left out of a job that has dumps
    #[serde(default)]
    pub source: Option<String>,
    /// The label of `docker-volumes`; its value is the volume's type (default: `offsite.type`)
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
    /// Options by type; `"*"` is for all types, `"ignore"` excludes the type from this job
    #[serde(default)]
    pub options: Named<Either<Ignore, OptionsShape>>,
    /// What to do if the source is missing: `"fail"` fails the job, `"skip"` skips it and says so (default: fail)
    #[serde(default)]
    pub missing: Missing,
    /// Which snapshots to keep (default: those of the last 30 days)
    #[serde(default, deserialize_with = "section")]
    pub keep: Option<KeepShape>,
    /// Commands before the job; if one fails, nothing is sent and the job fails
    #[serde(default)]
    pub before: Several<Command>,
    /// Commands after a job that succeeded
    #[serde(default)]
    pub after: Several<Command>,
    /// Commands after a job that failed
    #[serde(default)]
    pub on_failure: Several<Command>,
    /// Commands after the job, whatever its result
    #[serde(default)]
    pub finally: Several<Command>,
    /// Whom to notify about this job
    #[serde(default, deserialize_with = "section")]
    pub notify: Option<NotifyShape>,
    /// Settings of restores, by name: `offsite pull JOB DIR --profile NAME`
    #[serde(default, deserialize_with = "sections")]
    pub profiles: Named<ProfileShape>,
}

/// The output of a command as a file
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DumpShape {
    /// For people; ignored
    #[serde(default)]
    pub comment: Option<Comment>,
    /// The command that writes the file to its standard output
    pub command: Command,
    /// `"zstd"`, or with a level `"zstd:19"`; the name should end with `.zst` then
    #[serde(default)]
    pub compress: Option<Word>,
    /// Reject a dump that is smaller than this, as stored: `"2M"` (default: one byte)
    #[serde(default)]
    pub min_size: Option<Word>,
    /// Reject a dump that is smaller than the last one by more than this share: `"20%"`
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
    /// Exclude the type from the job
    Ignore,
}

/// What to do with a job whose source is missing
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Fail the job
    #[default]
    Fail,
    /// Skip the job and say so
    Skip,
}

/// What to do if a destination is absent
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Absent {
    /// Fail the job
    #[default]
    Fail,
    /// Leave out the destination and say so
    Skip,
}

/// Options of a job, with the meaning of the flags of `offsite sync`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptionsShape {
    /// For people; ignored
    pub comment: Option<Comment>,
    /// Exclude files that match, in gitignore's syntax
    pub exclude: Several<String>,
    /// Include files that match after all
    pub include: Several<String>,
    /// Read exclude patterns from these files too
    pub exclude_from: Several<String>,
    /// Back up only the tag of a directory with a CACHEDIR.TAG
    pub exclude_caches: Option<bool>,
    /// Leave out files that are larger: `"2G"`
    pub exclude_larger_than: Option<Word>,
    /// Stay on the source's file system
    pub one_file_system: Option<bool>,
    /// Read every file and compare contents (default: only files whose size, times or inode changed)
    pub checksum: Option<bool>,
    /// Use identical files that are already at the destination
    pub adopt: Option<bool>,
    /// Which snapshots to keep, in place of the job's `keep`
    #[serde(default, deserialize_with = "section")]
    pub keep: Option<KeepShape>,
    /// Refuse a run that removes more than this share: `"25%"`
    pub max_removals: Option<Word>,
    /// Refuse a run that rewrites more than this share: `"50%"`
    pub max_rewrites: Option<Word>,
    /// Allow an empty source although the last snapshot was not empty
    pub allow_empty: Option<bool>,
    /// Take over a destination of another machine and source; set it if both change by design
    pub take_over: Option<bool>,
    /// Refuse a run that sends more than this: `"10G"`
    pub max_bytes: Option<Word>,
    /// Refuse a run whose requests cost more US dollars than this
    pub max_cost: Option<Word>,
    /// Bytes a second: `"10M"`
    pub limit_upload: Option<Word>,
    /// Download at most this many bytes a second, for `adopt`: `"10M"`
    pub limit_download: Option<Word>,
    /// Parallel transfers at each destination (default: depends on the store)
    pub transfers: Option<Word>,
}

/// Which snapshots to keep: every one that a rule selects, and always the newest
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeepShape {
    /// For people; ignored
    pub comment: Option<Comment>,
    /// This many of the newest snapshots: `7`
    pub last: Option<Word>,
    /// The newest snapshot of each of this many days that have one
    pub daily: Option<Word>,
    /// The newest snapshot of each of this many weeks that have one
    pub weekly: Option<Word>,
    /// The newest snapshot of each of this many months that have one
    pub monthly: Option<Word>,
    /// All within this period: `"30d"`
    pub within: Option<Word>,
    /// The time zone of days, weeks and months: `"Europe/London"`, `"UTC"` (default: `"local"`, that of this machine)
    pub zone: Option<Word>,
}

/// What a restore with this profile restores
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileShape {
    /// For people; ignored
    pub comment: Option<Comment>,
    /// Only these paths or patterns
    pub only: Several<String>,
    /// Exclude files that match, in gitignore's syntax
    pub exclude: Several<String>,
    /// Include files that match after all
    pub include: Several<String>,
    /// Skip larger files: `"10M"`
    pub max_size: Option<Word>,
    /// Remove files from the directory that are not in the snapshot
    pub delete: Option<bool>,
    /// Restore set-id bits, owners and attributes that give rights: `true` from any host's snapshot, `false` never
    /// (default: owners, and the others if this host made the snapshot)
    pub privileges: Option<bool>,
    /// Commands to run in the restored directory, for example to remove personal data
    pub after: Several<Command>,
}

/// Whom to notify
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyShape {
    /// For people; ignored
    pub comment: Option<Comment>,
    /// Fetch this URL at the start (`/start`), after a success, and after a failure (`/fail`), as healthchecks expects
    pub ping: Option<String>,
    /// Post the JSON outcome to this URL
    pub webhook: Option<String>,
    /// Send a mail to this address through the local `sendmail`
    pub mail: Several<String>,
    /// Notify only about failures, except for pings (default: always)
    pub only_failures: bool,
}
