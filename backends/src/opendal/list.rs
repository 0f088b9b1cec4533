//! Listings: files only, each with its raw key.
//!
//! Owns the walk through a service's listing. Invariant: a directory is never an object. A directory that does not
//! exist has no files, and any other error ends the listing.

use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use object_store::path::Path;
use opendal::{ErrorKind, Metadata, Operator};

use crate::contract::listing::{Listed, State};

/// Where services with real directories write records before they get their names. Files in it are no objects.
pub(super) const STAGING: &str = ".offsite/tmp/";

/// One file of a listing.
pub(super) struct ListedFile {
    pub path: String,
    pub meta: Metadata,
}

/// Every file below a directory (`a/b/`, or empty for all), in the order of the service.
pub(super) fn walk(operator: Operator, from: String) -> BoxStream<'static, opendal::Result<ListedFile>> {
    let below = !from.is_empty();
    let nothing = move |e: &opendal::Error| below && e.kind() == ErrorKind::NotFound;
    let begun = async move {
        let lister = operator.lister_with(if from.is_empty() { "/" } else { &from }).recursive(true).await?;
        let look = move |entry: opendal::Entry| complete(operator.clone(), entry);
        Ok::<_, opendal::Error>(lister.try_filter_map(look))
    };
    let listed = stream::once(begun).try_flatten();
    listed.take_while(move |found| std::future::ready(!found.as_ref().is_err_and(nothing))).boxed()
}

/// A file with its time and tag. If the listing lacks the time, one request asks for both.
async fn complete(operator: Operator, entry: opendal::Entry) -> opendal::Result<Option<ListedFile>> {
    let (path, mut meta) = entry.into_parts();
    if path.is_empty() || path.ends_with('/') || meta.is_dir() || path.starts_with(STAGING) {
        return Ok(None);
    }
    if meta.last_modified().is_none() {
        match operator.stat(&path).await {
            Ok(found) => meta = found,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        }
    }
    Ok(Some(ListedFile { path, meta }))
}

impl ListedFile {
    /// `None` for a name that cannot be a key of the data plane; [`ListedFile::listed`] includes it.
    pub fn object(self) -> Option<ObjectMeta> {
        let path = Path::parse(&self.path).ok().filter(|path| path.as_ref() == self.path)?;
        Some(object_meta(path, &self.meta))
    }

    pub fn listed(self) -> Listed {
        let meta = object_meta(Path::default(), &self.meta);
        Listed {
            key: self.path.into_bytes(),
            size: meta.size,
            etag: meta.e_tag.map(|tag| tag.trim_matches('"').to_owned()),
            modified: meta.last_modified,
            state: State::Current,
            version: None,
            class: None,
        }
    }
}

pub(super) fn object_meta(location: Path, meta: &Metadata) -> ObjectMeta {
    let modified = meta.last_modified().map(std::time::SystemTime::from).map(DateTime::<Utc>::from);
    ObjectMeta {
        location,
        last_modified: modified.unwrap_or(DateTime::UNIX_EPOCH),
        size: meta.content_length(),
        e_tag: tag_of(meta),
        version: None,
    }
}

/// The tag in one form for all answers: servers omit its quotes in listings, and call it weak in some answers only.
pub(super) fn tag_of(meta: &Metadata) -> Option<String> {
    let bare = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').to_owned();
    meta.etag().map(bare).filter(|tag| !tag.is_empty()).map(|tag| format!("\"{tag}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_same_in_every_answer() {
        let of = |tag: &str| {
            let mut meta = opendal::MetadataBuilder::unknown();
            meta.etag(tag);
            tag_of(&meta.build())
        };
        assert!(["\"1-2\"", "1-2", "W/\"1-2\""].into_iter().all(|tag| of(tag).as_deref() == Some("\"1-2\"")));
        assert_eq!(of(""), None);
    }
}
