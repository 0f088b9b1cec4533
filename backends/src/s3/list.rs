//! Listings with raw keys, page by page through the SDK.
//!
//! Owns the paging and the decoding of keys. `object_store` lists too, but one key it cannot parse
//! (`a//b`, `./`, a control character) breaks its whole listing. Invariant: the stream gives every
//! object under the prefix or ends in an error; a server that goes round in circles is an error.

use aws_sdk_s3::types::{EncodingType, Object};
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use percent_encoding::percent_decode_str;

use super::control::Control;
use super::error::from_sdk;
use crate::{Error, ErrorKind, Listed, Result};

/// Where a listing stands.
enum Turn {
    First,
    /// The token of the next page.
    Next(String),
    End,
}

/// Every object under the prefix; see [`crate::Backend::list_keys`]. An object whose key is the
/// prefix with a slash, as some tools make to show a folder, has no relative key and is left out.
pub(super) fn list_keys(control: Control) -> BoxStream<'static, Result<Listed>> {
    let prefix = match control.prefix.as_ref() {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    stream::try_unfold((control, prefix, Turn::First), |(control, prefix, turn)| async move {
        let token = match turn {
            Turn::End => return Ok(None),
            Turn::First => None,
            Turn::Next(token) => Some(token),
        };
        let (page, turn) = page(&control, &prefix, token).await?;
        Ok::<_, Error>(Some((page, (control, prefix, turn))))
    })
    .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
    .try_flatten()
    .boxed()
}

async fn page(control: &Control, prefix: &str, token: Option<String>) -> Result<(Vec<Listed>, Turn)> {
    let answer = control
        .client
        .list_objects_v2()
        .bucket(&control.bucket)
        .prefix(prefix)
        .encoding_type(EncodingType::Url)
        .set_continuation_token(token.clone())
        .send()
        .await
        .map_err(|error| from_sdk(&control.location, "", &error))?;
    let broken = |what: &str| Error::new(ErrorKind::Other, &control.location, format!("the server's listing {what}"));
    // A server that does not know the wish sends keys as they are and does not repeat it.
    let encoded = answer.encoding_type() == Some(&EncodingType::Url);
    let mut listed = Vec::with_capacity(answer.contents().len());
    for object in answer.contents() {
        let key = decode(object.key().ok_or_else(|| broken("names an object without a key"))?, encoded);
        match key.strip_prefix(prefix.as_bytes()) {
            Some(b"") => {}
            Some(key) => listed.push(entry(key.to_vec(), object).ok_or_else(|| broken("lacks a size or time"))?),
            None => return Err(broken("holds a key that is not under the prefix")),
        }
    }
    let turn = match (answer.is_truncated().unwrap_or(false), answer.next_continuation_token()) {
        (false, _) => Turn::End,
        (true, None | Some("")) => {
            return Err(broken("breaks off: it says there is more but not how to go on"));
        }
        (true, Some(next)) if token.as_deref() == Some(next) => {
            return Err(broken("goes round in circles: two pages name the same next one"));
        }
        (true, Some(next)) => Turn::Next(next.to_owned()),
    };
    Ok((listed, turn))
}

fn entry(key: Vec<u8>, object: &Object) -> Option<Listed> {
    let at = object.last_modified()?;
    Some(Listed {
        key,
        size: u64::try_from(object.size()?).ok()?,
        etag: object.e_tag().map(|etag| etag.trim_matches('"').to_owned()).filter(|etag| !etag.is_empty()),
        modified: DateTime::<Utc>::from_timestamp(at.secs(), at.subsec_nanos())?,
    })
}

/// Keys come form-encoded: a blank as `+`, a plus as `%2B`.
fn decode(key: &str, encoded: bool) -> Vec<u8> {
    match encoded {
        true => percent_decode_str(&key.replace('+', " ")).collect(),
        false => key.as_bytes().to_vec(),
    }
}
