//! Reading one object: whole, in part, or only its head; the current version or a given one.
//!
//! Owns the headers of a download and the stream of its content. If a body breaks off, the rest is requested by the
//! version's id, so that no content that was written meanwhile is mixed in. Invariants: a read by name gives what
//! `claim.rs` says a reader sees. A version under another name than the requested one counts as missing. A content
//! that is read whole is compared with its sha1.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{Attribute, Attributes, GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta};
use percent_encoding::percent_decode_str;
use reqwest::{RequestBuilder, Response};
use serde_json::json;
use sha1::{Digest, Sha1};

use super::claim;
use super::error::Failure;
use super::mark::{MARK, Mark};
use super::put::tag;
use super::rooted::refused;
use super::session::{Account, B2Session};
use super::upload::encoded;
use super::versions::{B2Version, time};
use super::wire::{Broken, TRIES, bounded, pause};
use crate::contract::error::ErrorKind;
use crate::contract::listing::State;
use crate::contract::meter::Class;
use crate::wire::watch::{Bound, Watched};

type B2Chunks = Watched<BoxStream<'static, Result<Bytes, Broken>>>;

/// An answer's head, and its body that is still to be read.
struct Head {
    id: String,
    name: String,
    /// Size of the whole object, in bytes.
    size: u64,
    range: Range<u64>,
    modified: i64,
    /// None for large files: the server knows no sha1 of them.
    sha1: Option<String>,
    mark: Mark,
    attributes: Attributes,
    /// None if only the head was requested.
    response: Option<Response>,
}

/// What to request.
#[derive(Clone)]
enum Which<'a> {
    Name(&'a str),
    Id(&'a str),
}

impl Account {
    /// Gets one object; `key` is its path in the data plane, `name` its full name.
    pub(super) async fn get(self: &Arc<Self>, key: &Path, name: &str, options: GetOptions) -> object_store::Result<GetResult> {
        let fail = |failure: Failure| refused(&self.location, key.as_ref(), failure);
        let range = options.range.as_ref().filter(|_| !options.head).map(range_header).transpose().map_err(fail)?;
        let head = match &options.version {
            Some(id) if options.head => self.info(name, id).await,
            Some(id) => self.version(name, id, range.as_deref()).await,
            None => self.current(name, options.head, range.as_deref()).await,
        };
        let head = head.map_err(fail)?;
        let meta = ObjectMeta {
            location: key.clone(),
            last_modified: time(head.modified),
            size: head.size,
            e_tag: Some(tag(&head.id)),
            version: Some(head.id.clone()),
        };
        options.check_preconditions(&meta)?;
        let (range, attributes) = (head.range.clone(), head.attributes.clone());
        let payload = match options.head {
            true => GetResultPayload::Stream(stream::empty().boxed()),
            false => GetResultPayload::Stream(self.content(key.as_ref(), head)),
        };
        Ok(GetResult { payload, meta, range, attributes, extensions: Default::default() })
    }

    /// What a reader sees under a name. If several writers may have put it at once, this takes one more LIST.
    async fn current(&self, name: &str, head: bool, range: Option<&str>) -> Result<Head, Failure> {
        let found = self.download(Which::Name(name), head, range).await?;
        if found.mark == Mark::Plain {
            return Ok(found);
        }
        let listed = self.versions_of(name).await?;
        match claim::current(&claim::live(&listed)) {
            None => Err(gone()),
            Some(seen) if seen.id() == found.id => Ok(found),
            Some(seen) if head => Ok(of_version(seen)),
            Some(seen) => self.version(name, seen.id(), range).await,
        }
    }

    /// The head of one version.
    async fn info(&self, name: &str, id: &str) -> Result<Head, Failure> {
        match self.call::<B2Version>(Class::Head, "b2_get_file_info", &json!({"fileId": id})).await {
            Ok(found) if found.file_name == name && found.state() == Some(State::Current) => Ok(of_version(&found)),
            Ok(_) => Err(gone()),
            Err(failure) if failure.status == 400 => Err(gone()),
            Err(failure) => Err(failure),
        }
    }

    async fn version(&self, name: &str, id: &str, range: Option<&str>) -> Result<Head, Failure> {
        match self.download(Which::Id(id), false, range).await {
            Ok(found) if found.name == name => Ok(found),
            Ok(_) => Err(gone()),
            // The id has no valid form.
            Err(failure) if failure.status == 400 => Err(gone()),
            Err(failure) => Err(failure),
        }
    }

    async fn download(&self, which: Which<'_>, head: bool, range: Option<&str>) -> Result<Head, Failure> {
        let (class, api) = match which {
            _ if head => (Class::Head, "b2_download_file_by_name"),
            Which::Name(_) => (Class::Get, "b2_download_file_by_name"),
            Which::Id(_) => (Class::Get, "b2_download_file_by_id"),
        };
        let response = self.authorized(class, api, |session| self.request(session, &which, head, range)).await?;
        read_head(response, head)
    }

    fn request(&self, session: &B2Session, which: &Which<'_>, head: bool, range: Option<&str>) -> RequestBuilder {
        let base = &session.download;
        let url = match which {
            Which::Name(name) => format!("{base}/file/{}/{}", self.location.host(), encoded(name)),
            Which::Id(id) => format!("{base}/b2api/v4/b2_download_file_by_id?fileId={}", encoded(id)),
        };
        let request = if head { self.wire.http.head(url) } else { self.wire.http.get(url) };
        let request = request.header("authorization", &session.token);
        match range {
            Some(range) => request.header("range", range),
            None => request,
        }
    }

    fn content(self: &Arc<Self>, key: &str, head: Head) -> BoxStream<'static, object_store::Result<Bytes>> {
        let whole = head.range == (0..head.size);
        let check = head.sha1.filter(|_| whole).map(|sha1| (Sha1::new(), sha1));
        let body = ReadBody {
            account: Arc::clone(self),
            key: key.to_owned(),
            id: head.id,
            response: head.response.map(|response| pieces(response, &head.range)),
            range: head.range,
            check,
            tried: 0,
        };
        stream::try_unfold(body, |mut body| async move {
            let next = body.next().await;
            let next = next.map_err(|failure| refused(&body.account.location, &body.key, failure))?;
            Ok(next.map(|bytes| (bytes, body)))
        })
        .boxed()
    }
}

/// A body that is being read.
struct ReadBody {
    account: Arc<Account>,
    key: String,
    id: String,
    /// The bytes that are still to come.
    range: Range<u64>,
    response: Option<B2Chunks>,
    check: Option<(Sha1, String)>,
    /// Tries since bytes last arrived.
    tried: u32,
}

impl ReadBody {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        while !self.range.is_empty() {
            let failure = match self.piece().await {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(failure) => failure,
            };
            self.response = None;
            self.tried += 1;
            if !failure.is_transient() || self.tried >= TRIES {
                return Err(failure);
            }
            pause(self.tried, &failure).await;
        }
        let differs = self.check.take().is_some_and(|(hasher, wanted)| hex::encode(hasher.finalize()) != wanted);
        match differs {
            true => Err(Failure::new(ErrorKind::Other, "the content differs from what the store says it has (SHA-1)")),
            false => Ok(None),
        }
    }

    async fn piece(&mut self) -> Result<Bytes, Failure> {
        let response = match &mut self.response {
            Some(response) => response,
            none => {
                let range = range_header(&GetRange::Bounded(self.range.clone()))?;
                let head = self.account.download(Which::Id(&self.id), false, Some(&range)).await?;
                if head.range != self.range {
                    return Err(Failure::new(ErrorKind::Other, "the server returned another range than requested"));
                }
                let response = head.response.ok_or_else(|| Failure::new(ErrorKind::Other, "a response without a body"))?;
                none.insert(pieces(response, &self.range))
            }
        };
        let bytes = match response.next().await {
            Some(Ok(bytes)) => bytes,
            Some(Err(broken)) => return Err(broken.into_failure()),
            None => return Err(Failure::new(ErrorKind::Transient, "the content ended early")),
        };
        let length = bytes.len() as u64;
        self.tried = 0;
        self.range.start += length;
        self.account.wire.meter.add_received(length);
        if let Some((hasher, _)) = &mut self.check {
            hasher.update(&bytes);
        }
        Ok(bytes)
    }
}

/// The body of a range, cut to the length of the range.
fn pieces(response: Response, range: &Range<u64>) -> B2Chunks {
    bounded(response, Bound::Cut(range.end - range.start))
}

fn gone() -> Failure {
    Failure::new(ErrorKind::NotFound, "not found")
}

fn range_header(range: &GetRange) -> Result<String, Failure> {
    match range {
        GetRange::Bounded(range) if range.start >= range.end => {
            Err(Failure::new(ErrorKind::Invalid, format!("a range from {} to {} holds nothing", range.start, range.end)))
        }
        GetRange::Bounded(range) => Ok(format!("bytes={}-{}", range.start, range.end - 1)),
        GetRange::Offset(start) => Ok(format!("bytes={start}-")),
        GetRange::Suffix(length) => Ok(format!("bytes=-{length}")),
    }
}

/// Reads an answer's headers. An answer without an id or a size is not from Backblaze.
fn read_head(response: Response, head: bool) -> Result<Head, Failure> {
    let get = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let lacks = |what: &str| Failure::new(ErrorKind::Other, format!("the server's answer lacks {what}"));
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let id = get("x-bz-file-id").ok_or_else(|| lacks("x-bz-file-id"))?.to_owned();
    let name = decoded(get("x-bz-file-name").ok_or_else(|| lacks("x-bz-file-name"))?);
    let length: u64 = get("content-length").and_then(|text| text.parse().ok()).ok_or_else(|| lacks("a length"))?;
    let (range, size) = match get("content-range") {
        Some(text) if !head => content_range(text).ok_or_else(|| lacks("a proper content-range"))?,
        _ => (0..length, length),
    };
    let modified = get("x-bz-upload-timestamp").and_then(|text| text.parse().ok()).unwrap_or_default();
    let sha1 = get("x-bz-content-sha1").map(|text| text.trim_start_matches("unverified:")).filter(|text| text.len() == 40);
    let mark = get(&format!("x-bz-info-{MARK}")).map_or(Mark::Plain, |text| Mark::parse(&decoded(text)));
    let mut attributes = Attributes::new();
    for (attribute, header) in [
        (Attribute::ContentType, "content-type"),
        (Attribute::ContentDisposition, "content-disposition"),
        (Attribute::ContentEncoding, "content-encoding"),
        (Attribute::ContentLanguage, "content-language"),
        (Attribute::CacheControl, "cache-control"),
    ] {
        if let Some(value) = get(header) {
            attributes.insert(attribute, value.to_owned().into());
        }
    }
    for (header, value) in response.headers() {
        if let (Some(key), Ok(value)) = (header.as_str().strip_prefix("x-bz-info-"), value.to_str())
            && key != MARK
            && !key.starts_with("b2-")
        {
            attributes.insert(Attribute::Metadata(key.to_owned().into()), decoded(value).into());
        }
    }
    let sha1 = sha1.map(str::to_owned);
    Ok(Head { id, name, size, range, modified, sha1, mark, attributes, response: Some(response).filter(|_| !head) })
}

/// The head of a version, from a listing or from `b2_get_file_info`.
fn of_version(version: &B2Version) -> Head {
    let size = version.content_length.unwrap_or(0);
    let mut attributes = Attributes::new();
    if let Some(value) = version.content_type.clone() {
        attributes.insert(Attribute::ContentType, value.into());
    }
    Head {
        id: version.id().to_owned(),
        name: version.file_name.clone(),
        size,
        range: 0..size,
        modified: version.upload_timestamp,
        sha1: None,
        mark: version.mark(),
        attributes,
        response: None,
    }
}

/// Parses `bytes 5-9/20` into the range and the size of the whole object.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end, size): (u64, u64, u64) = (start.parse().ok()?, end.parse().ok()?, size.parse().ok()?);
    (start <= end && end < size).then_some((start..end + 1, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_taken_as_the_server_says_them() {
        assert_eq!(content_range("bytes 5-9/20"), Some((5..10, 20)));
        for text in ["bytes 9-5/20", "bytes 5-20/20", "items 5-9/20", "bytes 5-9/*"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
