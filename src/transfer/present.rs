//! Whether a destination still has what the last snapshot names.
//!
//! Owns that check. After runs that ended well it is not needed, because the manifest says where each content is. An
//! interrupted run may have replaced a content by one that its file no longer has.

use object_store::ObjectStoreExt;
use offsite_backends::{FileKind, Stamp, Tree};

use super::place::place;
use super::target::Target;
use super::upload::tag;
use crate::error::Result;
use crate::manifest::{KeyRules, object_path};
use crate::model::Entry;

/// Looks for the content of `old` under its current key. In an object store it must have the tag that the manifest
/// names. In a tree it must have the size and mtime of `old`, or the mtime of `now`, which an interrupted run may have
/// set.
pub(super) async fn is_there(target: &Target, old: &Entry, now: &Entry) -> Result<bool> {
    if let Some(tree) = target.backend.tree() {
        return in_tree(target, tree.as_ref(), old, now).await;
    }
    let Some(content) = &old.content else { return Ok(false) };
    let key = object_path(&KeyRules::current_key(old))?;
    match target.store.head(&key).await {
        Ok(meta) => Ok(meta.size == old.size && content.etag.is_some() && tag(meta.e_tag) == content.etag),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(target.backend.error(key.as_ref(), &error).into()),
    }
}

async fn in_tree(target: &Target, tree: &dyn Tree, old: &Entry, now: &Entry) -> Result<bool> {
    let Some(path) = place(&target.rules, old) else { return Ok(false) };
    let stamp = |entry: &Entry| tree.kept_stamp(Stamp { secs: entry.mtime.secs, nanos: entry.mtime.nanos });
    let stat = tree.stat(&path).await?;
    Ok(stat.is_some_and(|s| s.kind == FileKind::File && s.size == old.size && [stamp(old), stamp(now)].contains(&s.mtime)))
}
