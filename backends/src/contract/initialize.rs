//! Setup of a store as declared, and the result for each setting.
//!
//! Owns the declaration ([`Initialize`]), the results ([`Setting`], [`Did`]) and the order in which one setting is
//! settled ([`settle`]). The backend knows what a setting means at its store. Invariants: a look never changes
//! anything; a setting that is already as declared is not written again; a setting that cannot be made is a row that
//! says why, never silence, and never stops the next.

use std::fmt::{self, Display};

use crate::contract::error::{Error, ErrorKind, Result};

/// The declared settings of a destination. A setting that is `None` or `false` is neither read nor changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Initialize {
    /// Keep replaced and deleted objects as versions.
    pub versioning: Option<bool>,
    /// The store deletes unfinished uploads after so many days; at least 1.
    pub abort_uploads_after_days: Option<u32>,
    /// The store deletes versions so many days after they were replaced or deleted; at least 1.
    pub expire_old_versions_after_days: Option<u32>,
    /// Nobody can read the destination without credentials, whatever is set on single objects.
    pub block_public: bool,
    /// New objects cannot be deleted or replaced for so long.
    pub lock: Option<Lock>,
    /// How the store encrypts objects that are written without encryption settings of their own.
    pub encryption: Option<Encryption>,
    /// Region of a bucket that has to be made, in the store's own term. An existing bucket stays where it is, and its
    /// row says so if the region differs.
    pub region: Option<String>,
}

impl Initialize {
    /// The declared settings beside the bucket or directory itself: name and declared value in words, in the order in
    /// which they are settled.
    pub fn wished(&self) -> Vec<(&'static str, String)> {
        let mut wished = Vec::new();
        wished.extend(self.region.clone().map(|region| ("region", region)));
        wished.extend(self.versioning.map(|on| ("versioning", on_off(on).to_owned())));
        wished.extend(self.abort_uploads_after_days.map(|days| ("abort unfinished uploads", after(days))));
        wished.extend(self.expire_old_versions_after_days.map(|days| ("expire old versions", after(days))));
        wished.extend(self.encryption.as_ref().map(|how| ("encryption", how.to_string())));
        wished.extend(self.block_public.then(|| ("block public access", on_off(true).to_owned())));
        wished.extend(self.lock.map(|lock| ("object lock", lock.to_string())));
        wished
    }
}

/// The word for a setting that is on or off.
pub(crate) fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// The words for what happens after so many days.
pub(crate) fn after(days: u32) -> String {
    format!("after {}", counted(days, "day"))
}

/// A number with its noun: `1 day`, `30 days`.
pub(crate) fn counted(number: u32, what: &str) -> String {
    let many = if number == 1 { "" } else { "s" };
    format!("{number} {what}{many}")
}

/// Encryption at rest by the store itself. The store decrypts an object for everybody who may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// With keys that the store makes and keeps: SSE-S3, SSE-B2, Google's own.
    Store,
    /// With a key of the cloud's key service, by its name there: an id or ARN of AWS KMS, a resource of Cloud KMS.
    Key(String),
}

impl Encryption {
    /// Whether the key that the store names is the declared one. One of the two may be the id alone, the other the full
    /// name that ends with it.
    pub(crate) fn is_key(&self, found: &str) -> bool {
        let Self::Key(wanted) = self else { return false };
        let ends = |long: &str, short: &str| long.strip_suffix(short).is_some_and(|lead| lead.is_empty() || lead.ends_with('/'));
        !found.is_empty() && (ends(found, wanted) || ends(wanted, found))
    }
}

impl Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("store"),
            Self::Key(key) => write!(f, "kms:{key}"),
        }
    }
}

/// Object lock with a default retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// Who can shorten the retention.
    pub mode: LockMode,
    /// Length of the retention in days; at least 1.
    pub days: u32,
}

/// Who can shorten a retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Anybody who has a special right for it.
    Governance,
    /// Nobody, not even the owner.
    Compliance,
}

impl Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            LockMode::Governance => "governance",
            LockMode::Compliance => "compliance",
        };
        write!(f, "{mode}, {}", counted(self.days, "day"))
    }
}

/// Whether to change settings or only to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitMode {
    /// Change each setting that differs.
    Make,
    /// Only look.
    Check,
}

/// The result for one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Did {
    /// It was already as declared.
    Nothing,
    /// It differed, and was changed.
    Changed,
    /// It differs, and [`InitMode::Check`] changes nothing: drift.
    WouldChange,
    /// The store has no such setting: why, and what to do instead.
    Cannot(String),
    /// The credentials lack a right: names it.
    Denied(String),
    /// It failed for another reason.
    Failed(Box<Error>),
}

impl Did {
    /// Whether the store is as declared now.
    pub fn is_as_wanted(&self) -> bool {
        matches!(self, Self::Nothing | Self::Changed)
    }
}

/// One row of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `bucket`, `directory`, `versioning`, `abort unfinished uploads`, `expire old versions`, `encryption`, `block
    /// public access`, `object lock` or `region`.
    pub name: &'static str,
    /// The state that was found, in words; `unknown` if it could not be read, `-` if the store has no such setting.
    pub was: String,
    /// The declared state, in words.
    pub wanted: String,
    /// What was done about it.
    pub did: Did,
}

impl Setting {
    /// A setting that this store does not have.
    pub fn cannot(name: &'static str, wanted: impl Display, why: impl Display) -> Self {
        Self { name, was: "-".into(), wanted: wanted.to_string(), did: Did::Cannot(why.to_string()) }
    }
}

/// Settles one setting, from the look to the change. `found` is what the look answered, `wanted` the declared state in
/// words. `same` says whether both are equal, and `make` changes the setting. `right` names the rights that the
/// credentials need (`s3:PutBucketVersioning`).
pub async fn settle<T: Display>(
    name: &'static str,
    mode: InitMode,
    right: &Rights,
    found: Result<T>,
    wanted: impl Display,
    same: impl FnOnce(&T) -> bool,
    make: impl AsyncFnOnce() -> Result<()>,
) -> Setting {
    let wanted = wanted.to_string();
    let (was, is_same) = match &found {
        Ok(found) => (found.to_string(), same(found)),
        Err(error) => return Setting { name, was: "unknown".into(), wanted, did: refused(error, right.look) },
    };
    let did = match (is_same, mode) {
        (true, _) => Did::Nothing,
        (false, InitMode::Check) => Did::WouldChange,
        (false, InitMode::Make) => match make().await {
            Ok(()) => Did::Changed,
            Err(error) => refused(&error, right.make),
        },
    };
    Setting { name, was, wanted, did }
}

/// The rights that a setting needs, in the store's own terms.
#[derive(Debug, Clone, Copy)]
pub struct Rights {
    /// The right to read the setting.
    pub look: &'static str,
    /// The right to change it.
    pub make: &'static str,
}

fn refused(error: &Error, right: &str) -> Did {
    match error.kind {
        ErrorKind::Denied => Did::Denied(format!("the credentials lack {right} ({})", error.message)),
        ErrorKind::Unsupported => Did::Cannot(error.message.clone()),
        _ => Did::Failed(Box::new(error.clone())),
    }
}

/// What is at the path of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DirState {
    Missing,
    There,
}

impl Display for DirState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::There => "there",
        })
    }
}

/// The rows of a real directory tree, local or over SFTP. Only the directory itself can be made. `wanted` is its
/// declared state in words.
pub(crate) async fn directory(
    want: &Initialize,
    mode: InitMode,
    found: Result<DirState>,
    wanted: &str,
    make: impl AsyncFnOnce() -> Result<()>,
) -> Vec<Setting> {
    let rights = Rights { look: "the right to search the directories above it", make: "the right to write to the directory above it" };
    let mut rows = vec![settle("directory", mode, &rights, found, wanted, |found| *found == DirState::There, make).await];
    rows.extend(for_directories(want));
    rows
}

/// The rows for the settings that a real directory tree, local or over SFTP, does not have.
pub(crate) fn for_directories(want: &Initialize) -> Vec<Setting> {
    let why = |name| match name {
        "region" => "a directory is where it is",
        "versioning" => "a directory keeps no versions; offsite keeps replaced files in .offsite/kept",
        "abort unfinished uploads" => "unfinished files do not last here: the next run removes them",
        "expire old versions" => "use `offsite prune --keep-within`",
        "encryption" => "a directory has no encryption; encrypt the disk or the file system",
        "block public access" => "anyone who can log in and read the files can read them",
        _ => "a directory has no locks; a file system that keeps its own earlier states can do the same",
    };
    want.wished().into_iter().map(|(name, wanted)| Setting::cannot(name, wanted, why(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_id_and_by_its_whole_name() {
        let arn = "arn:aws:kms:eu-west-1:1:key/1234-ab";
        for (wanted, found, same) in
            [(arn, arn, true), ("1234-ab", arn, true), (arn, "1234-ab", true), ("34-ab", arn, false), (arn, "", false)]
        {
            assert_eq!(Encryption::Key(wanted.into()).is_key(found), same, "{wanted} {found}");
        }
        assert!(!Encryption::Store.is_key(arn));
    }
}
