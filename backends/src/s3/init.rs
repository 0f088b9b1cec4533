//! The initialize hook of a bucket.
//!
//! Owns what each setting means at S3, which permission it needs, and the order of the settings: versioning before
//! the object lock that needs it. `lifecycle.rs` owns the lifecycle rules.
//! Invariants: a setting counts as done only after it was read back. An existing bucket is never created again or
//! moved.

use std::fmt::{self, Display};

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, DefaultRetention, ObjectLockConfiguration,
    ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule, PublicAccessBlockConfiguration, VersioningConfiguration,
};

use super::control::S3Control;
use super::encryption;
use super::error::from_sdk;
use super::lifecycle;
use super::shown::shows;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::initialize::{Did, InitMode, Initialize, Lock, LockMode, Rights, Setting, counted, on_off, settle};
use crate::contract::location::Location;
use crate::wire::refusal::tag;

/// Settles every requested setting, in the order of [`Initialize::wished`], after the bucket itself.
pub(super) async fn initialize(control: &S3Control, want: &Initialize, mode: InitMode) -> Vec<Setting> {
    let mut rows = vec![bucket(control, want, mode).await];
    if rows[0].was == MISSING && rows[0].did != Did::Changed {
        rows.extend(want.wished().into_iter().map(|(name, wanted)| without_bucket(&control.location, name, wanted, mode)));
        return rows;
    }
    if let Some(wanted) = &want.region {
        rows.push(region(control, wanted, mode).await);
    }
    if let Some(on) = want.versioning {
        rows.push(versioning(control, on, mode).await);
    }
    if let Some(days) = want.abort_uploads_after_days {
        rows.push(lifecycle::settle_days(control, lifecycle::RuleKind::Uploads, days, mode).await);
    }
    if let Some(days) = want.expire_old_versions_after_days {
        rows.push(lifecycle::settle_days(control, lifecycle::RuleKind::OldVersions, days, mode).await);
    }
    if let Some(wanted) = &want.encryption {
        rows.push(encryption::settle_encryption(control, wanted, mode).await);
    }
    if want.block_public {
        rows.push(block_public(control, mode).await);
    }
    if let Some(wanted) = want.lock {
        rows.push(lock(control, wanted, mode).await);
    }
    rows
}

const MISSING: &str = "missing";

fn without_bucket(location: &Location, name: &'static str, wanted: String, mode: InitMode) -> Setting {
    let did = match mode {
        InitMode::Check => Did::WouldChange,
        InitMode::Make => Did::Failed(Box::new(Error::new(ErrorKind::NotFound, location, "no bucket to set this on"))),
    };
    Setting { name, was: "no bucket".into(), wanted, did }
}

// --- the bucket itself ---

async fn bucket(control: &S3Control, want: &Initialize, mode: InitMode) -> Setting {
    let rights = Rights { look: "s3:ListBucket", make: "s3:CreateBucket" };
    let found = match there(control).await {
        Ok(()) => Ok("there"),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(MISSING),
        Err(error) => Err(error),
    };
    settle("bucket", mode, &rights, found, "there", |was| *was == "there", async || create(control, want).await).await
}

async fn there(control: &S3Control) -> Result<()> {
    let answer = control.client.head_bucket().bucket(&control.bucket).send().await;
    answer.map(drop).map_err(|error| from_sdk(&control.location, "", &error))
}

/// Creates the bucket in the requested region, or else in the region of the client.
async fn create(control: &S3Control, want: &Initialize) -> Result<()> {
    let here = control.client.config().region().map(ToString::to_string);
    let region = want.region.clone().or(here).filter(|region| region != "us-east-1");
    let place = region
        .map(|region| CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(region.as_str())).build());
    let request = control.client.create_bucket().bucket(&control.bucket).set_create_bucket_configuration(place);
    // Some servers accept this setting only when the bucket is created.
    let request = request.set_object_lock_enabled_for_bucket(want.lock.is_some().then_some(true));
    match request.send().await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("BucketAlreadyOwnedByYou") => Ok(()),
        Err(error) if error.code() == Some("BucketAlreadyExists") => {
            let text = "another account has a bucket of this name: choose another name";
            Err(Error::new(ErrorKind::Exists, &control.location, text))
        }
        Err(error) => Err(from_sdk(&control.location, "", &error)),
    }
}

async fn region(control: &S3Control, wanted: &str, mode: InitMode) -> Setting {
    let rights = Rights { look: "s3:GetBucketLocation", make: "" };
    let answer = control.client.get_bucket_location().bucket(&control.bucket).send().await;
    let found = answer.map_err(|error| from_sdk(&control.location, "", &error)).map(|answer| {
        match answer.location_constraint().map_or("", BucketLocationConstraint::as_str) {
            "" => "us-east-1".to_owned(),
            "EU" => "eu-west-1".to_owned(),
            other => other.to_owned(),
        }
    });
    let stays = async || {
        let text = "a bucket cannot be moved: create another one there, sync to it, and remove this one";
        Err(Error::new(ErrorKind::Unsupported, &control.location, text))
    };
    // A check fails too: a run cannot fix a wrong region, so it must not be reported as drift.
    let mode = if found.is_ok() { InitMode::Make } else { mode };
    settle("region", mode, &rights, found, wanted, |found| found == wanted, stays).await
}

// --- versioning ---

struct Versioning(Option<BucketVersioningStatus>);

impl Versioning {
    fn is_on(&self) -> bool {
        self.0 == Some(BucketVersioningStatus::Enabled)
    }
}

impl Display for Versioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Some(BucketVersioningStatus::Enabled) => "on",
            Some(BucketVersioningStatus::Suspended) => "off, was on once",
            Some(other) => other.as_str(),
            None => "off",
        })
    }
}

async fn look_versioning(control: &S3Control) -> Result<Versioning> {
    match control.client.get_bucket_versioning().bucket(&control.bucket).send().await {
        Ok(found) => Ok(Versioning(found.status)),
        // The SDK expects one name for the root element, and some servers use another (moto does).
        Err(error) => match error.raw_response().filter(|raw| raw.status().is_success()).and_then(|raw| raw.body().bytes()) {
            Some(said) => Ok(Versioning(tag(&String::from_utf8_lossy(said), "Status").as_deref().map(BucketVersioningStatus::from))),
            None => Err(from_sdk(&control.location, "", &error)),
        },
    }
}

async fn versioning(control: &S3Control, on: bool, mode: InitMode) -> Setting {
    let rights = Rights { look: "s3:GetBucketVersioning", make: "s3:PutBucketVersioning" };
    let look = || look_versioning(control);
    let same = |found: &Versioning| found.is_on() == on;
    let make = async || {
        let status = if on { BucketVersioningStatus::Enabled } else { BucketVersioningStatus::Suspended };
        let wanted = VersioningConfiguration::builder().status(status).build();
        let request = control.client.put_bucket_versioning().bucket(&control.bucket).versioning_configuration(wanted);
        request.send().await.map_err(|error| from_sdk(&control.location, "", &error))?;
        shows(control, look, same).await
    };
    settle("versioning", mode, &rights, look().await, on_off(on), same, make).await
}

// --- public access ---

/// The four flags, in Amazon's order.
struct Flags([bool; 4]);

impl Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 4] = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
        let missing: Vec<_> = NAMES.iter().zip(self.0).filter(|(_, on)| !on).map(|(name, _)| *name).collect();
        match missing.len() {
            0 => f.write_str("on"),
            4 => f.write_str("off"),
            _ => write!(f, "on but for {}", missing.join(", ")),
        }
    }
}

async fn look_public(control: &S3Control) -> Result<Flags> {
    match control.client.get_public_access_block().bucket(&control.bucket).send().await {
        Err(error) if error.code() == Some("NoSuchPublicAccessBlockConfiguration") => Ok(Flags([false; 4])),
        Err(error) => Err(from_sdk(&control.location, "", &error)),
        Ok(found) => Ok(Flags(found.public_access_block_configuration().map_or([false; 4], |found| {
            [found.block_public_acls, found.ignore_public_acls, found.block_public_policy, found.restrict_public_buckets]
                .map(|flag| flag.unwrap_or(false))
        }))),
    }
}

async fn block_public(control: &S3Control, mode: InitMode) -> Setting {
    let rights = Rights { look: "s3:GetBucketPublicAccessBlock", make: "s3:PutBucketPublicAccessBlock" };
    let look = || look_public(control);
    let same = |found: &Flags| found.0 == [true; 4];
    let make = async || {
        let wanted = PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .ignore_public_acls(true)
            .block_public_policy(true)
            .restrict_public_buckets(true)
            .build();
        let request = control.client.put_public_access_block().bucket(&control.bucket).public_access_block_configuration(wanted);
        request.send().await.map_err(|error| from_sdk(&control.location, "", &error))?;
        shows(control, look, same).await
    };
    settle("block public access", mode, &rights, look().await, "on", same, make).await
}

// --- object lock ---

/// Whether object lock is enabled for the bucket, and its default retention.
struct Locked {
    enabled: bool,
    default: Option<DefaultRetention>,
}

impl Locked {
    fn is(&self, wanted: Lock) -> bool {
        let mode = match wanted.mode {
            LockMode::Governance => ObjectLockRetentionMode::Governance,
            LockMode::Compliance => ObjectLockRetentionMode::Compliance,
        };
        let days = i32::try_from(wanted.days).ok();
        self.enabled && self.default.as_ref().is_some_and(|found| found.mode == Some(mode) && found.days.is_some() && found.days == days)
    }
}

impl Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(found) = self.default.as_ref().filter(|_| self.enabled) else {
            return f.write_str(if self.enabled { "on, no default retention" } else { "off" });
        };
        let mode = found.mode().map_or("no mode", ObjectLockRetentionMode::as_str).to_lowercase();
        let number = |n: i32| n.unsigned_abs();
        match (found.days().map(number), found.years().map(number)) {
            (Some(days), _) => write!(f, "{mode}, {}", counted(days, "day")),
            (None, Some(years)) => write!(f, "{mode}, {}", counted(years, "year")),
            (None, None) => f.write_str(&mode),
        }
    }
}

async fn look_lock(control: &S3Control) -> Result<Locked> {
    match control.client.get_object_lock_configuration().bucket(&control.bucket).send().await {
        Err(error) if error.code() == Some("ObjectLockConfigurationNotFoundError") => Ok(Locked { enabled: false, default: None }),
        Err(error) => Err(from_sdk(&control.location, "", &error)),
        Ok(found) => {
            let found = found.object_lock_configuration();
            let enabled = found.and_then(ObjectLockConfiguration::object_lock_enabled) == Some(&ObjectLockEnabled::Enabled);
            let rule = found.and_then(ObjectLockConfiguration::rule);
            Ok(Locked { enabled, default: rule.and_then(ObjectLockRule::default_retention).cloned() })
        }
    }
}

async fn lock(control: &S3Control, wanted: Lock, mode: InitMode) -> Setting {
    let rights = Rights { look: "s3:GetBucketObjectLockConfiguration", make: "s3:PutBucketObjectLockConfiguration" };
    let look = || look_lock(control);
    let same = |found: &Locked| found.is(wanted);
    let make = async || {
        put_lock(control, wanted).await?;
        shows(control, look, same).await
    };
    settle("object lock", mode, &rights, look().await, wanted, same, make).await
}

async fn put_lock(control: &S3Control, wanted: Lock) -> Result<()> {
    let mode = match wanted.mode {
        LockMode::Governance => ObjectLockRetentionMode::Governance,
        LockMode::Compliance => ObjectLockRetentionMode::Compliance,
    };
    let days =
        i32::try_from(wanted.days).map_err(|_| Error::invalid(&control.location, "a retention of this many days is not possible"))?;
    let retention = DefaultRetention::builder().mode(mode).days(days).build();
    let rule = ObjectLockRule::builder().default_retention(retention).build();
    let config = ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).rule(rule).build();
    let request = control.client.put_object_lock_configuration().bucket(&control.bucket).object_lock_configuration(config);
    match request.send().await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.code(), Some("InvalidBucketState" | "InvalidRequest" | "ObjectLockConfigurationNotFoundError")) => {
            let said = error.message().or(error.code()).unwrap_or_default();
            let text = format!(
                "the bucket cannot be locked as it is ({said}): keep versions in it (--versioning) and try again; \
                 where the server locks only what was made so, make a new bucket with --lock"
            );
            Err(Error::new(ErrorKind::Unsupported, &control.location, text))
        }
        Err(error) => Err(from_sdk(&control.location, "", &error)),
    }
}
