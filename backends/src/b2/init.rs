//! The initialize hook of a bucket.
//!
//! Owns what each setting means at Backblaze and which capability it needs. Backblaze lets no two lifecycle rules
//! apply to the same file. So a rule for exactly offsite's names is changed, a new one is added if no rule applies to
//! those names, and other rules are left alone. Invariants: rules of others stay. A change applies only to the
//! revision that was read.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::Failure;
use super::session::{Account, no_bucket};
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::initialize::{Did, Encryption, InitMode, Initialize, Lock, LockMode, Rights, Setting, settle};
use crate::contract::meter::Class;

/// Tries of a change when the change of another client came first.
const CHANGES: usize = 5;

const BUCKETS: Rights = Rights { look: "listBuckets", make: "writeBuckets" };
const ENCRYPTION: Rights = Rights { look: "readBucketEncryption", make: "writeBucketEncryption" };
const LOCKS: Rights = Rights { look: "readBucketRetentions", make: "writeBucketRetentions" };

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct B2Bucket {
    bucket_id: String,
    bucket_type: String,
    #[serde(default)]
    lifecycle_rules: Vec<LifecycleRule>,
    #[serde(default)]
    file_lock_configuration: Option<LockAnswer>,
    #[serde(default)]
    default_server_side_encryption: Option<EncryptionAnswer>,
    revision: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleRule {
    file_name_prefix: String,
    #[serde(default)]
    days_from_hiding_to_deleting: Option<u32>,
    #[serde(default)]
    days_from_uploading_to_hiding: Option<u32>,
    #[serde(default)]
    days_from_starting_to_canceling_unfinished_large_files: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EncryptionAnswer {
    is_client_authorized_to_read: bool,
    #[serde(default)]
    value: Option<EncryptionValue>,
}

#[derive(Debug, Clone, Deserialize)]
struct EncryptionValue {
    #[serde(default)]
    mode: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LockAnswer {
    is_client_authorized_to_read: bool,
    #[serde(default)]
    value: Option<LockValue>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LockValue {
    is_file_lock_enabled: bool,
    #[serde(default)]
    default_retention: Option<BucketRetention>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct BucketRetention {
    mode: Option<String>,
    #[serde(default)]
    period: Option<Period>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Period {
    duration: u32,
    unit: String,
}

/// One of the two settings of offsite that a lifecycle rule can hold.
#[derive(Clone, Copy)]
enum Wish {
    Abort,
    Expire,
}

impl Wish {
    fn of(self, rule: &LifecycleRule) -> Option<u32> {
        match self {
            Self::Abort => rule.days_from_starting_to_canceling_unfinished_large_files,
            Self::Expire => rule.days_from_hiding_to_deleting,
        }
    }

    fn set(self, rule: &mut LifecycleRule, days: u32) {
        match self {
            Self::Abort => rule.days_from_starting_to_canceling_unfinished_large_files = Some(days),
            Self::Expire => rule.days_from_hiding_to_deleting = Some(days),
        }
    }
}

pub(super) async fn initialize(account: &Account, want: &Initialize, mode: InitMode) -> Vec<Setting> {
    let mut rows = vec![bucket(account, want, mode).await];
    let there = account.there().await;
    if let Some(region) = &want.region {
        rows.push(Setting::cannot("region", region, "Backblaze chooses the region with the account, not with the bucket"));
    }
    rows.extend(want.versioning.map(versioning));
    if let Some(days) = want.abort_uploads_after_days {
        rows.push(rule(account, "abort unfinished uploads", Wish::Abort, days, &there, mode).await);
    }
    if let Some(days) = want.expire_old_versions_after_days {
        rows.push(rule(account, "expire old versions", Wish::Expire, days, &there, mode).await);
    }
    if let Some(wanted) = &want.encryption {
        rows.push(encryption(account, wanted, &there, mode).await);
    }
    if want.block_public {
        rows.push(private(account, &there, mode).await);
    }
    if let Some(wanted) = want.lock {
        rows.push(lock(account, wanted, &there, mode).await);
    }
    // Without a bucket a check finds no other fault: every setting is yet to be made.
    if mode == InitMode::Check && there.is_err_and(|error| error.kind == ErrorKind::NotFound) {
        for row in rows.iter_mut().filter(|row| matches!(row.did, Did::Failed(_))) {
            row.was = "no bucket".into();
            row.did = Did::WouldChange;
        }
    }
    rows
}

async fn bucket(account: &Account, want: &Initialize, mode: InitMode) -> Setting {
    let found = account.found().await.map(|found| if found.is_some() { "there" } else { "missing" });
    settle("bucket", mode, &BUCKETS, found, "there", |was| *was == "there", async || account.create(want.lock.is_some()).await).await
}

/// Versioning is not a setting at Backblaze: every version is kept until something deletes it.
fn versioning(on: bool) -> Setting {
    match on {
        true => Setting { name: "versioning", was: "on".into(), wanted: "on".into(), did: Did::Nothing },
        false => {
            let why = "Backblaze B2 always keeps versions; let old ones go with `--expire-old-versions-after`";
            Setting { was: "on".into(), ..Setting::cannot("versioning", "off", why) }
        }
    }
}

async fn private(account: &Account, there: &Result<B2Bucket>, mode: InitMode) -> Setting {
    let shown = |bucket: &B2Bucket| match bucket.bucket_type.as_str() {
        "allPublic" => "off",
        _ => "on",
    };
    let found = there.as_ref().map(shown).map_err(Error::clone);
    let make = async || account.change(|_| Ok(json!({"bucketType": "allPrivate"}))).await;
    settle("block public access", mode, &BUCKETS, found, "on", |was| *was == "on", make).await
}

async fn rule(account: &Account, name: &'static str, wish: Wish, days: u32, there: &Result<B2Bucket>, mode: InitMode) -> Setting {
    let ours = account.ours();
    let found = there.as_ref().map(|bucket| Days(wish, covering(&bucket.lifecycle_rules, &ours))).map_err(Error::clone);
    let same = |was: &Days| was.1.as_ref().is_some_and(|rule| wish.of(rule) == Some(days));
    let make = async || {
        account
            .change(|bucket| {
                let rules = merged(&bucket.lifecycle_rules, &ours, wish, days).map_err(|why| Failure::new(ErrorKind::Unsupported, why))?;
                Ok(json!({"lifecycleRules": rules}))
            })
            .await
    };
    settle(name, mode, &BUCKETS, found, format!("after {}", counted(days)), same, make).await
}

/// What a rule says about offsite's names, in words.
struct Days(Wish, Option<LifecycleRule>);

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1.as_ref().and_then(|rule| self.0.of(rule)) {
            Some(days) => write!(f, "after {}", counted(days)),
            None => f.write_str("never"),
        }
    }
}

fn counted(days: u32) -> String {
    if days == 1 { "1 day".into() } else { format!("{days} days") }
}

/// The rule that applies to all of offsite's names. Backblaze allows at most one.
fn covering(rules: &[LifecycleRule], ours: &str) -> Option<LifecycleRule> {
    rules.iter().find(|rule| ours.starts_with(&rule.file_name_prefix)).cloned()
}

/// The rules with the wish merged in, or why that is not possible.
fn merged(rules: &[LifecycleRule], ours: &str, wish: Wish, days: u32) -> Result<Vec<LifecycleRule>, String> {
    let mut rules = rules.to_vec();
    if let Some(rule) = rules.iter_mut().find(|rule| rule.file_name_prefix == ours) {
        wish.set(rule, days);
        return Ok(rules);
    }
    let clash = |rule: &&LifecycleRule| ours.starts_with(&rule.file_name_prefix) || rule.file_name_prefix.starts_with(ours);
    if let Some(rule) = rules.iter().find(clash) {
        return Err(format!(
            "the bucket has a lifecycle rule for names that begin with `{}`, and Backblaze lets no second rule apply to the same files; \
             change that rule, or use a bucket of its own",
            rule.file_name_prefix
        ));
    }
    let mut rule = LifecycleRule {
        file_name_prefix: ours.to_owned(),
        days_from_hiding_to_deleting: None,
        days_from_uploading_to_hiding: None,
        days_from_starting_to_canceling_unfinished_large_files: None,
    };
    wish.set(&mut rule, days);
    rules.push(rule);
    Ok(rules)
}

async fn encryption(account: &Account, wanted: &Encryption, there: &Result<B2Bucket>, mode: InitMode) -> Setting {
    if let Encryption::Key(_) = wanted {
        return Setting::cannot(
            "encryption",
            wanted,
            "Backblaze B2 has no key service; `store` encrypts with Backblaze's own keys (SSE-B2)",
        );
    }
    let found = there.as_ref().map_err(Error::clone).and_then(|bucket| match &bucket.default_server_side_encryption {
        Some(EncryptionAnswer { is_client_authorized_to_read: false, .. }) => {
            Err(Error::new(ErrorKind::Denied, &account.location, "the answer leaves it out"))
        }
        Some(EncryptionAnswer { value: Some(EncryptionValue { mode: Some(mode) }), .. }) if mode == "SSE-B2" => Ok("store"),
        _ => Ok("off"),
    });
    let how = json!({"mode": "SSE-B2", "algorithm": "AES256"});
    let make = async || account.change(|_| Ok(json!({"defaultServerSideEncryption": how}))).await;
    settle("encryption", mode, &ENCRYPTION, found, wanted, |was| *was == "store", make).await
}

async fn lock(account: &Account, wanted: Lock, there: &Result<B2Bucket>, mode: InitMode) -> Setting {
    let name = match wanted.mode {
        LockMode::Governance => "governance",
        LockMode::Compliance => "compliance",
    };
    let text = format!("{name}, {}", counted(wanted.days));
    let found = there.as_ref().map_err(Error::clone).and_then(|bucket| locked(account, bucket));
    let retention = json!({"mode": name, "period": {"duration": wanted.days, "unit": "days"}});
    let make = async || account.change(|_| Ok(json!({"fileLockEnabled": true, "defaultRetention": retention}))).await;
    settle("object lock", mode, &LOCKS, found, &text, |was| *was == text, make).await
}

/// The current object lock setting, in words.
fn locked(account: &Account, bucket: &B2Bucket) -> Result<String> {
    let value = match &bucket.file_lock_configuration {
        Some(LockAnswer { is_client_authorized_to_read: false, .. }) => {
            return Err(Error::new(ErrorKind::Denied, &account.location, "the answer leaves it out"));
        }
        Some(LockAnswer { value: Some(value), .. }) if value.is_file_lock_enabled => value,
        _ => return Ok("off".into()),
    };
    let retention = value.default_retention.as_ref().and_then(|r| r.mode.as_ref().zip(r.period.as_ref()));
    Ok(match retention {
        None => "on, without a default retention".into(),
        Some((mode, period)) if period.unit == "years" => format!("{mode}, {} years", period.duration),
        Some((mode, period)) => format!("{mode}, {}", counted(period.duration)),
    })
}

impl Account {
    /// The prefix that all names of this destination have, with its slash.
    fn ours(&self) -> String {
        if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) }
    }

    fn about(&self, failure: Failure) -> Error {
        failure.about(&self.location, "")
    }

    async fn found(&self) -> Result<Option<B2Bucket>> {
        self.find_bucket().await.map_err(|failure| self.about(failure))
    }

    async fn there(&self) -> Result<B2Bucket> {
        self.found().await?.ok_or_else(|| self.about(no_bucket(self.location.host())))
    }

    async fn create(&self, lock: bool) -> Result<()> {
        let session = self.session(None).await.map_err(|failure| self.about(failure))?;
        let body = json!({
            "accountId": session.account, "bucketName": self.location.host(), "bucketType": "allPrivate", "fileLockEnabled": lock,
        });
        match self.call::<Value>(Class::Put, "b2_create_bucket", &body).await {
            Ok(_) => Ok(()),
            // Either an earlier try created it and its answer was lost, or another account has the name.
            // This account's list of buckets shows which.
            Err(failure) if failure.kind == ErrorKind::Exists => match self.found().await? {
                Some(_) => Ok(()),
                None => {
                    Err(self.about(Failure { message: "another account has a bucket of that name; choose another name".into(), ..failure }))
                }
            },
            Err(failure) => Err(self.about(failure)),
        }
    }

    /// Changes the bucket as it is now. Reads it again if the change of another client came first.
    async fn change(&self, what: impl Fn(&B2Bucket) -> Result<Value, Failure>) -> Result<()> {
        for _ in 0..CHANGES {
            let bucket = self.there().await?;
            let mut body = what(&bucket).map_err(|failure| self.about(failure))?;
            let account = self.session(None).await.map_err(|failure| self.about(failure))?.account.clone();
            body["accountId"] = account.into();
            body["bucketId"] = bucket.bucket_id.into();
            body["ifRevisionIs"] = bucket.revision.into();
            match self.call::<Value>(Class::Put, "b2_update_bucket", &body).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.kind == ErrorKind::Precondition => {}
                Err(failure) => return Err(self.about(failure)),
            }
        }
        Err(Error::new(ErrorKind::Transient, &self.location, "another program keeps changing the bucket's settings; run again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule_for(prefix: &str) -> LifecycleRule {
        LifecycleRule {
            file_name_prefix: prefix.into(),
            days_from_hiding_to_deleting: Some(30),
            days_from_uploading_to_hiding: None,
            days_from_starting_to_canceling_unfinished_large_files: None,
        }
    }

    #[test]
    fn rules_of_others_stay_and_ours_is_merged() {
        let there = [rule_for("logs/"), rule_for("site/")];
        let merged_rules = merged(&there, "site/", Wish::Abort, 7).unwrap();
        assert_eq!(merged_rules[0], there[0]);
        assert_eq!(merged_rules[1].days_from_hiding_to_deleting, Some(30));
        assert_eq!(merged_rules[1].days_from_starting_to_canceling_unfinished_large_files, Some(7));
        assert_eq!(merged(&there, "new/", Wish::Expire, 9).unwrap().len(), 3);
    }

    #[test]
    fn a_rule_that_would_apply_twice_is_not_made() {
        for (there, ours) in [("", "site/"), ("site/logs/", "site/"), ("site/", "")] {
            assert!(merged(&[rule_for(there)], ours, Wish::Abort, 7).unwrap_err().contains(there));
        }
    }
}
