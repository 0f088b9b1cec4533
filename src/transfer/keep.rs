//! Kept contents: a content that is about to be replaced or removed is copied first.
//!
//! Owns that copy on object stores (a tree moves files instead, see `tree.rs`). While the store keeps versions itself,
//! nothing is copied. The copy has exactly the content that the manifest names. If the key has another content, an
//! earlier run has already made the copy and replaced the content.

use object_store::ObjectStoreExt;
use offsite_backends::ErrorKind;

use super::target::Target;
use crate::error::Result;
use crate::manifest::{KeyRules, object_path};
use crate::model::Entry;

/// Makes sure that the content of `old` stays readable after its key is overwritten or deleted.
pub(super) async fn keep_old(target: &Target, old: &Entry) -> Result<()> {
    let Some(content) = old.content.as_ref().filter(|_| target.keeps) else { return Ok(()) };
    if content.version.is_some() && target.backend.keeps_versions().await? {
        return Ok(());
    }
    let from = object_path(&KeyRules::current_key(old))?;
    let to = object_path(&target.rules.kept_key(old.path.as_bytes(), content))?;
    if target.careful {
        // A store that ignores the condition on the source would overwrite the kept content with the new one.
        match target.store.head(&to).await {
            Ok(_) => return Ok(()),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(target.backend.error(to.as_ref(), &error).into()),
        }
    }
    match target.copy(&from, &to, old.size, content.etag.as_deref()).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind, ErrorKind::Precondition | ErrorKind::Exists | ErrorKind::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
