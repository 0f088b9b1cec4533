//! The initialize hook of a bucket.
//!
//! Owns what each setting means here and which permission it needs. Invariants: rules of others are not changed. A
//! change applies only to the state of the bucket that was read (its metageneration). If the state has changed since,
//! the bucket is read again.

use google_cloud_storage::model::Bucket;
use google_cloud_storage::model::bucket::iam_config::UniformBucketLevelAccess;
use google_cloud_storage::model::bucket::{self, IamConfig, Lifecycle, Versioning};
use google_cloud_wkt::FieldMask;
use tokio::sync::Mutex;

use super::control::GcsControl;
use super::lifecycle::{Judged, WantedRule};
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::initialize::{Encryption, InitMode, Initialize, Rights, Setting, settle};
use crate::contract::meter::Class;

/// Tries of a change while another client keeps changing the bucket.
const LOOKS: usize = 10;

const RIGHTS: Rights = Rights { look: "storage.buckets.get", make: "storage.buckets.update" };

pub(super) async fn initialize(control: &GcsControl, want: &Initialize, mode: InitMode) -> Vec<Setting> {
    let place = SeenBucket { control, bucket: Mutex::new(control.get_bucket().await) };
    let mut rows = vec![place.made(want, mode).await];
    if let Some(on) = want.versioning {
        rows.push(place.versioning(on, mode).await);
    }
    let uploads = want.abort_uploads_after_days.map(|days| ("abort unfinished uploads", WantedRule::abort_uploads(days, &place.folder())));
    let versions =
        want.expire_old_versions_after_days.map(|days| ("expire old versions", WantedRule::expire_versions(days, &place.folder())));
    for (name, rule) in [uploads, versions].into_iter().flatten() {
        rows.push(place.lifecycle(name, rule, mode).await);
    }
    if let Some(wanted) = &want.encryption {
        rows.push(place.encryption(wanted, mode).await);
    }
    if want.block_public {
        rows.push(place.private(mode).await);
    }
    if let Some(lock) = want.lock {
        let why = "a retention policy here holds for every object, offsite's own lease too, and nothing could be replaced; \
                   keep versions, and give offsite's account no right to delete them (docs/gcs.md)";
        rows.push(Setting::cannot("object lock", format!("{} days", lock.days), why));
    }
    if let Some(region) = &want.region {
        rows.push(place.region(region, mode).await);
    }
    rows
}

/// The bucket as it was last seen.
struct SeenBucket<'a> {
    control: &'a GcsControl,
    bucket: Mutex<Result<Bucket>>,
}

impl SeenBucket<'_> {
    /// Reads something from the bucket; none if the bucket does not exist yet.
    async fn look<T>(&self, read: impl Fn(&Bucket) -> T) -> Result<Option<T>> {
        match &*self.bucket.lock().await {
            Ok(bucket) => Ok(Some(read(bucket))),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.clone()),
        }
    }

    /// Settles one setting. `edit` returns the bucket to send, and the field that changes.
    async fn setting(
        &self,
        name: &'static str,
        mode: InitMode,
        wanted: String,
        read: impl Fn(&Bucket) -> (String, bool),
        edit: impl Fn(&Bucket) -> Result<(Bucket, &'static str)>,
    ) -> Setting {
        let found = self.look(read).await.map(|found| found.unwrap_or_else(|| ("no bucket".into(), false)));
        let is = found.as_ref().is_ok_and(|(_, same)| *same);
        let found = found.map(|(words, _)| words);
        settle(name, mode, &RIGHTS, found, wanted, |_| is, async || self.change(&edit).await).await
    }

    async fn change(&self, edit: &impl Fn(&Bucket) -> Result<(Bucket, &'static str)>) -> Result<()> {
        let mut seen = self.bucket.lock().await;
        for look in 1.. {
            let was = seen.as_ref().map_err(Clone::clone)?;
            let (bucket, field) = edit(was)?;
            let request = self
                .control
                .client()
                .await?
                .update_bucket()
                .set_bucket(bucket.set_name(self.control.bucket()))
                .set_if_metageneration_match(was.metageneration)
                .set_update_mask(FieldMask::default().set_paths([field]));
            match self.control.counted(Class::Put, request).send().await.map_err(|error| self.control.error("", &error)) {
                Ok(now) => {
                    *seen = Ok(now);
                    break;
                }
                // Another client was faster: its change is kept, and this one is applied on top of it.
                Err(error) if error.kind == ErrorKind::Precondition && look < LOOKS => *seen = self.control.get_bucket().await,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn made(&self, want: &Initialize, mode: InitMode) -> Setting {
        let rights = Rights { look: "storage.buckets.get", make: "storage.buckets.create" };
        let found = self.look(|_| ()).await.map(|found| if found.is_some() { "there" } else { "missing" });
        settle("bucket", mode, &rights, found, "there", |was| *was == "there", async || self.create(want).await).await
    }

    /// Creates the bucket with uniform access, as Google advises: permissions come only from roles, not from
    /// single objects.
    async fn create(&self, want: &Initialize) -> Result<()> {
        let Some(project) = &self.control.settings.project else {
            let todo = "creating it needs a project: add ?project=… or set GOOGLE_CLOUD_PROJECT";
            return Err(Error::invalid(&self.control.location, todo));
        };
        let access = IamConfig::new().set_uniform_bucket_level_access(UniformBucketLevelAccess::new().set_enabled(true));
        let mut bucket = Bucket::new().set_project(format!("projects/{project}")).set_iam_config(access);
        if let Some(region) = &want.region {
            bucket = bucket.set_location(region);
        }
        let request = self.control.client().await?.create_bucket().set_parent("projects/_").set_bucket_id(&self.control.settings.bucket);
        let made = self.control.counted(Class::Put, request.set_bucket(bucket)).send().await;
        match made.map_err(|error| self.control.error("", &error)) {
            Err(error) if error.kind == ErrorKind::Exists => {
                let taken = "the name is taken, probably by another project: bucket names are global";
                Err(Error::new(ErrorKind::Exists, &self.control.location, format!("{taken} ({})", error.message)))
            }
            Err(error) => Err(error),
            Ok(now) => {
                *self.bucket.lock().await = Ok(now);
                Ok(())
            }
        }
    }

    async fn versioning(&self, on: bool, mode: InitMode) -> Setting {
        let word = |on: bool| String::from(if on { "on" } else { "off" });
        let is = |bucket: &Bucket| bucket.versioning.as_ref().is_some_and(|versioning| versioning.enabled);
        let edit = |_: &Bucket| Ok((Bucket::new().set_versioning(Versioning::new().set_enabled(on)), "versioning"));
        self.setting("versioning", mode, word(on), |bucket| (word(is(bucket)), is(bucket) == on), edit).await
    }

    async fn lifecycle(&self, name: &'static str, rule: WantedRule, mode: InitMode) -> Setting {
        let rules = |bucket: &Bucket| bucket.lifecycle.as_ref().map_or_else(Vec::new, |lifecycle| lifecycle.rule.clone());
        let read = |bucket: &Bucket| match rule.judge(&rules(bucket)) {
            Judged::There(words) => (words, true),
            Judged::Other(words) | Judged::TooSoon(words) => (words, false),
        };
        let edit = |bucket: &Bucket| {
            if let Judged::TooSoon(words) = rule.judge(&rules(bucket)) {
                let why = format!("another rule is stricter ({words}), and offsite removes no other rules: change it by hand");
                return Err(Error::new(ErrorKind::Unsupported, &self.control.location, why));
            }
            let lifecycle = Lifecycle::new().set_rule(rule.among(rules(bucket)));
            Ok((Bucket::new().set_lifecycle(lifecycle), "lifecycle"))
        };
        self.setting(name, mode, format!("after {} days", rule.days), read, edit).await
    }

    /// Google always encrypts. The setting decides only whose key it uses.
    async fn encryption(&self, wanted: &Encryption, mode: InitMode) -> Setting {
        let key = |bucket: &Bucket| bucket.encryption.as_ref().map_or_else(String::new, |found| found.default_kms_key.clone());
        let read = |bucket: &Bucket| match key(bucket) {
            none if none.is_empty() => ("store".to_owned(), *wanted == Encryption::Store),
            found => (format!("kms:{found}"), wanted.is_key(&found)),
        };
        let edit = |_: &Bucket| {
            let name = match wanted {
                Encryption::Store => String::new(),
                Encryption::Key(key) => key.clone(),
            };
            Ok((Bucket::new().set_encryption(bucket::Encryption::new().set_default_kms_key(name)), "encryption"))
        };
        self.setting("encryption", mode, wanted.to_string(), read, edit).await
    }

    async fn private(&self, mode: InitMode) -> Setting {
        const ON: &str = "enforced";
        let read = |bucket: &Bucket| {
            let now = bucket.iam_config.as_ref().map_or("", |config| config.public_access_prevention.as_str());
            (if now.is_empty() { "inherited".to_owned() } else { now.to_owned() }, now == ON)
        };
        let edit = |_: &Bucket| {
            let config = IamConfig::new().set_public_access_prevention(ON);
            Ok((Bucket::new().set_iam_config(config), "iam_config.public_access_prevention"))
        };
        self.setting("block public access", mode, ON.into(), read, edit).await
    }

    async fn region(&self, region: &str, mode: InitMode) -> Setting {
        let read = |bucket: &Bucket| (bucket.location.clone(), bucket.location.eq_ignore_ascii_case(region));
        let edit = |_: &Bucket| {
            let why = "a bucket stays where it was created: create another one there";
            Err(Error::new(ErrorKind::Unsupported, &self.control.location, why))
        };
        self.setting("region", mode, region.to_owned(), read, edit).await
    }

    /// The prefix as lifecycle rules name it; empty for the whole bucket.
    fn folder(&self) -> String {
        match self.control.prefix.as_ref() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        }
    }
}
