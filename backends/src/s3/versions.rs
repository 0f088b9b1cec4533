//! Single versions: permanent deletion, and what forbids it.
//!
//! Owns both calls. The store's answer to a bulk delete judges each version separately, so a locked version does not
//! prevent the deletion of the others.

use aws_sdk_s3::types::{Delete, ObjectIdentifier, ObjectLockLegalHoldStatus};
use chrono::DateTime;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;

use super::control::{S3Control, version};
use super::error::{from_bulk, from_sdk};
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::held::{Held, Refused};

/// Most keys that one bulk delete may name.
const BULK: usize = 1000;

/// Single deletes in flight.
const DELETES: usize = 16;

impl S3Control {
    /// Deletes versions permanently; see [`crate::Backend::delete_versions`].
    pub(super) async fn delete_versions(&self, versions: &[(Path, String)]) -> Result<Vec<Refused>> {
        let mut refused = Vec::new();
        for batch in versions.chunks(BULK) {
            let objects = batch
                .iter()
                .map(|(path, version)| ObjectIdentifier::builder().key(self.key(path)).version_id(version).build())
                .collect::<Result<Vec<_>, _>>();
            let delete = objects.and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(true).build());
            let delete = delete.map_err(|error| Error::new(ErrorKind::Other, &self.location, error))?;
            let answer = self
                .client
                .delete_objects()
                .bucket(&self.bucket)
                .delete(delete)
                .send()
                .await
                .map_err(|error| from_sdk(&self.location, "", &error))?;
            for said in answer.errors() {
                if matches!(said.code(), Some("NoSuchKey" | "NoSuchVersion")) {
                    continue;
                }
                let meant = batch.iter().find(|(path, id)| said.key() == Some(&self.key(path)) && said.version_id() == Some(id));
                let shown = meant.map_or_else(|| said.key().unwrap_or_default(), |(path, _)| path.as_ref());
                let error = from_bulk(&self.location, shown, said.code(), said.message());
                match meant.filter(|_| error.kind == ErrorKind::Denied) {
                    Some((path, version)) => refused.push(Refused { path: path.clone(), version: version.clone(), error }),
                    None => return Err(error),
                }
            }
        }
        Ok(refused)
    }

    /// The same with one request for each version, for stores without bulk delete.
    pub(super) async fn delete_each_version(&self, versions: &[(Path, String)]) -> Result<Vec<Refused>> {
        let one = |(path, version): &(Path, String)| {
            let (path, version) = (path.clone(), version.clone());
            async move {
                let request = self.client.delete_object().bucket(&self.bucket).key(self.key(&path)).version_id(&version);
                match request.send().await.map_err(|error| from_sdk(&self.location, path.as_ref(), &error)) {
                    Ok(_) => Ok(None),
                    Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
                    Err(error) if error.kind == ErrorKind::Denied => Ok(Some(Refused { path, version, error })),
                    Err(error) => Err(error),
                }
            }
        };
        let done: Vec<_> = stream::iter(versions.iter().map(one)).buffered(DELETES).try_collect().await?;
        Ok(done.into_iter().flatten().collect())
    }

    /// What holds a version; see [`crate::Backend::held`]. Without the permission to read retentions it
    /// reports none.
    pub(super) async fn held(&self, path: &Path, id: Option<&str>) -> Result<Held> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.key(path)).set_version_id(id.map(str::to_owned));
        let found = request.send().await.map_err(|error| from_sdk(&self.location, path.as_ref(), &error))?;
        let until = found.object_lock_retain_until_date().and_then(|until| DateTime::from_timestamp(until.secs(), until.subsec_nanos()));
        let by_hand = found.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On);
        Ok(Held { version: version(found.version_id().or(id)), until, by_hand })
    }
}
