//! Listings with raw keys, page by page through the SDK.
//!
//! Owns the paging and the decoding of keys. `object_store` lists too, but one key that it cannot parse (`a//b`,
//! `./`, a control character) breaks its whole listing. Invariant: the stream gives every object under the prefix or
//! ends in an error. A listing that repeats itself is an error.

use std::sync::Arc;

use aws_sdk_s3::primitives::DateTime as Moment;
use aws_sdk_s3::types::EncodingType;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use percent_encoding::percent_decode_str;

use super::control::S3Control;
use super::error::from_sdk;
use super::planes::Planes;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::listing::{Depth, Listed, Scope, State};
use crate::contract::usage::NO_UPLOADS;
use crate::wire::repeats::RepeatedPages;

/// A kind of listing and its position.
#[derive(Clone, Hash)]
enum S3Listing {
    Objects(Option<String>),
    /// Key and version after which to continue.
    Versions(Option<(String, Option<String>)>),
    /// Key and upload after which to continue.
    Uploads(Option<(String, Option<String>)>),
    End,
}

impl S3Listing {
    fn goes_on(&self) -> Option<&Self> {
        if matches!(self, Self::End) { None } else { Some(self) }
    }
}

/// Lists a bucket or prefix; see [`crate::Backend::list`]. Some tools create an object whose key is the
/// prefix with a slash, to show a folder. It has no relative key and is left out.
pub(super) fn list(planes: Arc<Planes>, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>> {
    let plane = planes.current();
    let control = planes.control(&plane);
    let prefix = match (scope, control.prefix.as_ref()) {
        (Scope::Bucket, _) | (_, "") => String::new(),
        (Scope::Prefix, prefix) => format!("{prefix}/"),
    };
    let first = match depth {
        Depth::Current => S3Listing::Objects(None),
        Depth::Everything => S3Listing::Versions(None),
        Depth::Unfinished => S3Listing::Uploads(None),
    };
    let pages = S3Pages { control, prefix };
    stream::try_unfold(
        (planes, plane, pages, first, RepeatedPages::default()),
        |(planes, mut plane, mut pages, turn, mut turns)| async move {
            let (page, turn) = loop {
                let page = match turn.clone() {
                    S3Listing::End => return Ok(None),
                    S3Listing::Objects(token) => pages.objects(token).await,
                    S3Listing::Versions(after) => pages.versions(after).await,
                    S3Listing::Uploads(after) => pages.uploads(after).await,
                };
                match page {
                    Err(_) if planes.follow(&plane) => {
                        plane = planes.current();
                        pages.control = planes.control(&plane);
                    }
                    page => break page?,
                }
            };
            let first = page.first().map(|first: &Listed| (first.state == State::Unfinished, &first.key, &first.version));
            turns.page(first, turn.goes_on()).map_err(|why| Error::new(ErrorKind::Other, &pages.control.location, why))?;
            Ok::<_, Error>(Some((page, (planes, plane, pages, turn, turns))))
        },
    )
    .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
    .try_flatten()
    .boxed()
}

struct S3Pages {
    control: S3Control,
    prefix: String,
}

type S3Page = (Vec<Listed>, S3Listing);

impl S3Pages {
    async fn objects(&self, token: Option<String>) -> Result<S3Page> {
        let answer = self
            .control
            .client
            .list_objects_v2()
            .bucket(&self.control.bucket)
            .prefix(&self.prefix)
            .encoding_type(EncodingType::Url)
            .set_continuation_token(token)
            .send()
            .await
            .map_err(|error| from_sdk(&self.control.location, "", &error))?;
        let encoded = answer.encoding_type() == Some(&EncodingType::Url);
        let mut page = Vec::with_capacity(answer.contents().len());
        for object in answer.contents() {
            let what = S3Item {
                key: object.key(),
                size: object.size(),
                etag: object.e_tag(),
                modified: object.last_modified(),
                state: State::Current,
                version: None,
                class: object.storage_class().map(aws_sdk_s3::types::ObjectStorageClass::as_str),
            };
            page.extend(self.listed(what, encoded)?);
        }
        let next = answer.next_continuation_token().filter(|token| !token.is_empty()).map(str::to_owned);
        let turn = self.next(answer.is_truncated(), next)?;
        Ok((page, turn.map_or(S3Listing::End, |token| S3Listing::Objects(Some(token)))))
    }

    async fn versions(&self, after: Option<(String, Option<String>)>) -> Result<S3Page> {
        let (key, version) = after.unzip();
        let answer = self
            .control
            .client
            .list_object_versions()
            .bucket(&self.control.bucket)
            .prefix(&self.prefix)
            .encoding_type(EncodingType::Url)
            .set_key_marker(key)
            .set_version_id_marker(version.flatten())
            .send()
            .await
            .map_err(|error| {
                let error = from_sdk(&self.control.location, "", &error);
                Error { message: format!("versions cannot be listed (s3:ListBucketVersions): {}", error.message), ..error }
            })?;
        let encoded = answer.encoding_type() == Some(&EncodingType::Url);
        let mut page = Vec::with_capacity(answer.versions().len() + answer.delete_markers().len());
        for object in answer.versions() {
            let what = S3Item {
                key: object.key(),
                size: object.size(),
                etag: object.e_tag(),
                modified: object.last_modified(),
                state: if object.is_latest().unwrap_or(false) { State::Current } else { State::Old },
                version: object.version_id(),
                class: object.storage_class().map(aws_sdk_s3::types::ObjectVersionStorageClass::as_str),
            };
            page.extend(self.listed(what, encoded)?);
        }
        for marker in answer.delete_markers() {
            let what = S3Item {
                key: marker.key(),
                size: Some(0),
                etag: None,
                modified: marker.last_modified(),
                state: State::Marker,
                version: marker.version_id(),
                class: None,
            };
            page.extend(self.listed(what, encoded)?);
        }
        let next = answer.next_key_marker().map(|key| (text(key, encoded), answer.next_version_id_marker().map(str::to_owned)));
        let turn = self.next(answer.is_truncated(), next)?;
        Ok((page, turn.map_or(S3Listing::Uploads(None), |after| S3Listing::Versions(Some(after)))))
    }

    /// In-flight uploads. Their sizes would take one request each.
    async fn uploads(&self, after: Option<(String, Option<String>)>) -> Result<S3Page> {
        let (key, upload) = after.unzip();
        let answer = self
            .control
            .client
            .list_multipart_uploads()
            .bucket(&self.control.bucket)
            .prefix(&self.prefix)
            .encoding_type(EncodingType::Url)
            .set_key_marker(key)
            .set_upload_id_marker(upload.flatten())
            .send()
            .await
            .map_err(|error| {
                let error = from_sdk(&self.control.location, "", &error);
                Error { message: format!("{NO_UPLOADS} (s3:ListBucketMultipartUploads): {}", error.message), ..error }
            })?;
        let encoded = answer.encoding_type() == Some(&EncodingType::Url);
        let mut page = Vec::with_capacity(answer.uploads().len());
        for upload in answer.uploads() {
            let what = S3Item {
                key: upload.key(),
                size: Some(0),
                etag: None,
                modified: upload.initiated(),
                state: State::Unfinished,
                version: upload.upload_id(),
                class: upload.storage_class().map(aws_sdk_s3::types::StorageClass::as_str),
            };
            page.extend(self.listed(what, encoded)?);
        }
        let next = answer.next_key_marker().map(|key| (text(key, encoded), answer.next_upload_id_marker().map(str::to_owned)));
        let turn = self.next(answer.is_truncated(), next)?;
        Ok((page, turn.map_or(S3Listing::End, |after| S3Listing::Uploads(Some(after)))))
    }

    /// Where to continue; none at the end.
    fn next<T>(&self, truncated: Option<bool>, next: Option<T>) -> Result<Option<T>> {
        match (truncated.unwrap_or(false), next) {
            (false, _) => Ok(None),
            (true, None) => Err(self.broken("breaks off: it says there is more, but not how to continue")),
            (true, next) => Ok(next),
        }
    }

    fn listed(&self, what: S3Item<'_>, encoded: bool) -> Result<Option<Listed>> {
        let key = decode(what.key.ok_or_else(|| self.broken("names an object without a key"))?, encoded);
        let Some(key) = key.strip_prefix(self.prefix.as_bytes()) else {
            return Err(self.broken("holds a key that is not under the prefix"));
        };
        let lacks = || self.broken("lacks a size or time");
        let size = what.size.and_then(|size| u64::try_from(size).ok()).ok_or_else(lacks)?;
        let modified = what.modified.and_then(|at| DateTime::<Utc>::from_timestamp(at.secs(), at.subsec_nanos())).ok_or_else(lacks)?;
        let given = |text: &&str| !text.is_empty();
        Ok((!key.is_empty()).then(|| Listed {
            key: key.to_vec(),
            size,
            etag: what.etag.map(|etag| etag.trim_matches('"')).filter(given).map(str::to_owned),
            modified,
            state: what.state,
            version: what.version.filter(given).map(str::to_owned),
            class: what.class.filter(given).map(str::to_owned),
        }))
    }

    fn broken(&self, what: &str) -> Error {
        Error::new(ErrorKind::Other, &self.control.location, format!("the server's listing {what}"))
    }
}

/// A listed object, version, marker or upload, as the SDK gives it.
struct S3Item<'a> {
    key: Option<&'a str>,
    size: Option<i64>,
    etag: Option<&'a str>,
    modified: Option<&'a Moment>,
    state: State,
    version: Option<&'a str>,
    class: Option<&'a str>,
}

/// Decodes a key. Keys are form-encoded: a blank as `+`, a plus as `%2B`. A server that ignores the requested
/// encoding sends keys as they are and does not repeat the setting in its answer. One server repeats it for
/// uploads all the same: a byte that must be encoded then shows that the key is not.
fn decode(key: &str, encoded: bool) -> Vec<u8> {
    match encoded && key.bytes().all(|b| b.is_ascii_graphic()) {
        true => percent_decode_str(&key.replace('+', " ")).collect(),
        false => key.as_bytes().to_vec(),
    }
}

/// Decodes a marker, because it must be sent back in its original form.
fn text(key: &str, encoded: bool) -> String {
    String::from_utf8_lossy(&decode(key, encoded)).into_owned()
}
