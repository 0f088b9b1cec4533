//! Glacier, Deep Archive and the archive tiers of Intelligent-Tiering: requests to make an archived object readable.
//!
//! Owns the two calls, HEAD and `RestoreObject`, and the durations that Amazon states. The HEAD tells which archive
//! holds the object, because each archive needs a different request, and whether a restore is already in progress.

use aws_sdk_s3::types::{ArchiveStatus, GlacierJobParameters, RestoreRequest, StorageClass, Tier as S3Tier};
use object_store::path::Path;

use super::control::S3Control;
use super::error::from_sdk;
use crate::contract::archive::{Restore, Restoring, Tier};
use crate::contract::error::{Error, ErrorKind, Result};

impl S3Control {
    /// See [`crate::Backend::restore`].
    pub(super) async fn restore(&self, path: &Path, version: Option<&str>, etag: Option<&str>, want: Restore) -> Result<Restoring> {
        let fail = |kind, what: &str| Error::new(kind, self.location.at(path.as_ref()), what);
        let version = version.map(str::to_owned);
        let request = self.client.head_object().bucket(&self.bucket).key(self.key(path)).set_version_id(version.clone());
        let found = request.send().await.map_err(|error| from_sdk(&self.location, path.as_ref(), &error))?;
        let plain = |tag: &str| tag.trim_matches('"').to_owned();
        if version.is_none() && etag.is_some_and(|wanted| found.e_tag().map(plain) != Some(plain(wanted))) {
            return Err(fail(ErrorKind::Precondition, "it was replaced"));
        }
        // `ongoing-request="true"`, or "false" with the day on which Amazon deletes the readable copy.
        match found.restore() {
            Some(said) if said.contains("\"true\"") => return Ok(Restoring::UnderWay),
            Some(said) if said.contains("\"false\"") => return Ok(Restoring::Readable),
            _ => {}
        }
        let (class, tiered) = (found.storage_class(), found.archive_status());
        let deep = class == Some(&StorageClass::DeepArchive) || tiered == Some(&ArchiveStatus::DeepArchiveAccess);
        if !deep && class != Some(&StorageClass::Glacier) && tiered.is_none() {
            return Ok(Restoring::Readable);
        }
        let Some(hours) = hours(want.tier, deep) else {
            return Err(fail(ErrorKind::Invalid, "Deep Archive has no expedited tier; use standard or bulk"));
        };
        let job =
            GlacierJobParameters::builder().tier(name(want.tier)).build().map_err(|error| fail(ErrorKind::Other, &error.to_string()))?;
        // Intelligent-Tiering moves the object back permanently and accepts no number of days.
        let days = tiered.is_none().then(|| i32::try_from(want.days).unwrap_or(i32::MAX));
        let request = RestoreRequest::builder().set_days(days).glacier_job_parameters(job).build();
        let asked = self.client.restore_object().bucket(&self.bucket).key(self.key(path)).set_version_id(version).restore_request(request);
        match asked.send().await.map_err(|error| from_sdk(&self.location, path.as_ref(), &error)) {
            Ok(_) => Ok(Restoring::Asked { hours }),
            // Another client sent the request between the two calls.
            Err(error) if error.kind == ErrorKind::Archived => Ok(Restoring::UnderWay),
            Err(error) => Err(error),
        }
    }
}

fn name(tier: Tier) -> S3Tier {
    match tier {
        Tier::Expedited => S3Tier::Expedited,
        Tier::Standard => S3Tier::Standard,
        Tier::Bulk => S3Tier::Bulk,
    }
}

/// Hours within which Amazon makes the object readable; none if the archive has no such tier.
fn hours(tier: Tier, deep: bool) -> Option<u32> {
    match (tier, deep) {
        (Tier::Expedited, false) => Some(1),
        (Tier::Standard, false) => Some(5),
        (Tier::Bulk, false) | (Tier::Standard, true) => Some(12),
        (Tier::Bulk, true) => Some(48),
        (Tier::Expedited, true) => None,
    }
}
