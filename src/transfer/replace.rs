//! Replaces a content by another: with a put, a copy, or the parts of an upload.
//!
//! Owns the condition of such a request. Invariant: if the store's conditions cost nothing, a content replaces only the
//! one that the last snapshot names or one that was looked at since, or it is put where no object is. So the store
//! refuses a request of a stopped writer that arrives after another writer's commit.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStoreExt, PutMode, PutPayload, PutResult, Result, UpdateVersion};
use offsite_backends::{Error as StoreError, ErrorKind, content_put};

use super::target::Target;
use crate::manifest::{KeyRules, object_path};
use crate::model::Entry;

/// How often the existing object is looked at before it counts as another writer's.
pub(super) const LOOKS: usize = 3;

impl Target {
    /// Puts a content of one request. `old` is the entry that the last snapshot has at this path, if any.
    pub(super) async fn put(&self, to: &Path, content: Bytes, old: Option<&Entry>) -> Result<PutResult> {
        let payload = PutPayload::from_bytes(content);
        let mut mode = self.condition(to, old);
        let mut looks = 0;
        loop {
            let refused = match self.store.put_opts(to, payload.clone(), content_put(mode.clone())).await {
                Err(error) if mode != PutMode::Overwrite && is_about_what_is_there(&error) => error,
                done => return done,
            };
            if looks == LOOKS {
                return Err(refused);
            }
            looks += 1;
            mode = self.next(self.look(to).await?, &mode);
        }
    }

    /// Copies a content on the server to a name that is new to the last snapshot. Errors are those of
    /// [`offsite_backends::Backend::copy_exact`].
    pub(super) async fn copy(&self, from: &Path, to: &Path, size: u64, etag: Option<&str>) -> std::result::Result<PutResult, StoreError> {
        let mut mode = self.anew();
        let mut looks = 0;
        loop {
            let refused = match self.backend.copy_exact(from, to, size, etag, mode.clone()).await {
                Err(error) if mode != PutMode::Overwrite && matches!(error.kind, ErrorKind::Precondition | ErrorKind::Exists) => error,
                done => return done,
            };
            let next = self.next(self.look(to).await.map_err(|error| self.backend.error(to.as_ref(), &error))?, &mode);
            // The source of the copy no longer exists.
            if looks == LOOKS || next == mode {
                return Err(refused);
            }
            looks += 1;
            mode = next;
        }
    }

    /// The object under this key. After a refusal, an earlier interrupted run put it there, or another program, or the
    /// first attempt of this very request.
    pub(super) async fn look(&self, to: &Path) -> Result<Option<ObjectMeta>> {
        match self.store.head(to).await {
            Ok(there) => Ok(Some(there)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The condition to try next, after `tried` was refused and the key has this object.
    pub(super) fn next(&self, there: Option<ObjectMeta>, tried: &PutMode) -> PutMode {
        match there {
            Some(there) => self.over(there.e_tag, there.version),
            // A store with directories reports a directory of other keys as an existing object.
            None if *tried == PutMode::Create => PutMode::Overwrite,
            None => self.anew(),
        }
    }

    pub(super) fn condition(&self, to: &Path, old: Option<&Entry>) -> PutMode {
        let lies_there = |old: &&Entry| object_path(&KeyRules::current_key(old)).is_ok_and(|key| key == *to);
        match old.filter(lies_there).and_then(|old| old.content.as_ref()) {
            Some(content) => self.over(content.etag.as_ref().map(|tag| format!("\"{tag}\"")), content.version.clone()),
            None => self.anew(),
        }
    }

    fn over(&self, e_tag: Option<String>, version: Option<String>) -> PutMode {
        if self.conditions.swap && e_tag.is_some() { PutMode::Update(UpdateVersion { e_tag, version }) } else { PutMode::Overwrite }
    }

    fn anew(&self) -> PutMode {
        if self.conditions.create { PutMode::Create } else { PutMode::Overwrite }
    }
}

/// Whether the request was refused because the key has another object than expected. A store may report a missing
/// object as not found.
fn is_about_what_is_there(error: &Error) -> bool {
    matches!(error, Error::Precondition { .. } | Error::AlreadyExists { .. } | Error::NotFound { .. })
}
