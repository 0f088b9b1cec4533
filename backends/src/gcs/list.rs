//! Listings with raw keys, page by page: objects and generations by gRPC, in-flight uploads by XML.
//!
//! Owns the paging and the conversion of listed objects. `object_store` lists too, but one key that it cannot parse
//! breaks its whole listing. Invariant: the stream gives everything under the prefix or ends in an error. A listing
//! that repeats itself is an error.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use google_cloud_storage::model::Object;

use super::control::{GcsControl, md5_of};
use super::tag::tag;
use super::uploads::Uploads;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::listing::{Depth, Listed, Scope, State};
use crate::contract::meter::Class;
use crate::wire::repeats::RepeatedPages;

/// Most entries of one page, which is also the server's limit.
const PAGE: i32 = 1000;

/// A kind of listing and its position.
#[derive(Clone, Hash)]
enum GcsListing {
    Objects(String),
    /// Key and upload after which to continue.
    Uploads(Option<(String, String)>),
    End,
}

/// Lists a bucket or prefix; see [`crate::Backend::list`]. Some tools create an object whose key is the
/// prefix with a slash, to show a folder. It has no relative key and is left out.
pub(super) fn list(control: Arc<GcsControl>, uploads: Arc<Uploads>, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>> {
    let prefix = match (scope, control.prefix.as_ref()) {
        (Scope::Bucket, _) | (_, "") => String::new(),
        (Scope::Prefix, prefix) => format!("{prefix}/"),
    };
    let pages = GcsPages { control, uploads, prefix, all: depth == Depth::Everything };
    let first = if depth == Depth::Unfinished { GcsListing::Uploads(None) } else { GcsListing::Objects(String::new()) };
    stream::try_unfold((pages, first, RepeatedPages::default()), |(pages, turn, mut turns)| async move {
        let (page, turn) = match turn {
            GcsListing::End => return Ok(None),
            GcsListing::Objects(token) => pages.objects(token).await?,
            GcsListing::Uploads(after) => pages.uploads(after).await?,
        };
        let first = page.first().map(|first: &Listed| (first.state == State::Unfinished, &first.key, &first.version));
        let next = if matches!(turn, GcsListing::End) { None } else { Some(&turn) };
        turns.page(first, next).map_err(|why| Error::new(ErrorKind::Other, &pages.control.location, why))?;
        Ok::<_, Error>(Some((page, (pages, turn, turns))))
    })
    .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
    .try_flatten()
    .boxed()
}

struct GcsPages {
    control: Arc<GcsControl>,
    uploads: Arc<Uploads>,
    prefix: String,
    all: bool,
}

type GcsPage = (Vec<Listed>, GcsListing);

impl GcsPages {
    async fn objects(&self, token: String) -> Result<GcsPage> {
        let request = self
            .control
            .client()
            .await?
            .list_objects()
            .set_parent(self.control.bucket())
            .set_prefix(&self.prefix)
            .set_versions(self.all)
            .set_page_size(PAGE)
            .set_page_token(&token);
        let answer = self.control.counted(Class::List, request).send().await.map_err(|error| self.control.error("", &error))?;
        let page = answer.objects.iter().filter_map(|object| self.listed(object)).collect();
        let next = answer.next_page_token;
        let turn = match next.is_empty() {
            true if self.all => GcsListing::Uploads(None),
            true => GcsListing::End,
            false => GcsListing::Objects(next),
        };
        Ok((page, turn))
    }

    fn listed(&self, object: &Object) -> Option<Listed> {
        let key = object.name.strip_prefix(&self.prefix).filter(|key| !key.is_empty())?;
        let made = object.create_time.as_ref();
        let generation = object.generation.to_string();
        Some(Listed {
            key: key.as_bytes().to_vec(),
            size: u64::try_from(object.size).unwrap_or(0),
            etag: Some(tag(md5_of(object).as_deref(), &generation)),
            modified: made.and_then(|at| moment(at.seconds(), at.nanos())).unwrap_or_default(),
            state: if object.delete_time.is_none() { State::Current } else { State::Old },
            version: Some(generation),
            class: Some(object.storage_class.clone()).filter(|class| !class.is_empty()),
        })
    }

    /// In-flight uploads. Their sizes would take one request each.
    async fn uploads(&self, after: Option<(String, String)>) -> Result<GcsPage> {
        let found = self.uploads.page(&self.prefix, after.as_ref()).await?;
        let listed = found.uploads.into_iter().filter_map(|upload| {
            let key = upload.key.strip_prefix(&self.prefix).filter(|key| !key.is_empty())?.as_bytes().to_vec();
            let (size, etag, state) = (0, None, State::Unfinished);
            Some(Listed { key, size, etag, modified: upload.begun, state, version: Some(upload.id), class: upload.class })
        });
        let turn = match found.next {
            None => GcsListing::End,
            next => GcsListing::Uploads(next),
        };
        Ok((listed.collect(), turn))
    }
}

fn moment(seconds: i64, nanos: i32) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(seconds, u32::try_from(nanos).ok()?)
}
