//! Uploads of whole bodies: files and parts, each to its own upload URL.
//!
//! Owns the pool of upload URLs and the decision when one is discarded. A URL takes one upload at a time, so it is
//! not in the pool during an upload. Invariants: every body is sent with its sha1. The answer's sha1 and length are
//! compared with ours before anything counts as sent.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use object_store::PutPayload;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;
use sha1::{Digest, Sha1};

use super::error::Failure;
use super::session::{Account, lacking};
use super::versions::Written;
use super::wire::{TRIES, json as read_json, pause};
use crate::contract::error::ErrorKind;
use crate::contract::meter::Class;

/// Characters that Backblaze does not encode in names and file infos.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-').remove(b'/').remove(b'~');

/// Bodies below this size in bytes are hashed on this thread, because that is faster than using another one.
const HASH_HERE: usize = 64 << 10;

/// Where a body may be sent to, and the token for it.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UploadUrl {
    upload_url: String,
    authorization_token: String,
}

/// Unused upload URLs: of the bucket, and of each large file.
#[derive(Default)]
pub(super) struct Pool(Mutex<HashMap<Option<String>, Vec<UploadUrl>>>);

impl Pool {
    fn take(&self, file: Option<&str>) -> Option<UploadUrl> {
        self.lock().get_mut(&file.map(str::to_owned))?.pop()
    }

    fn give_back(&self, file: Option<&str>, place: UploadUrl) {
        self.lock().entry(file.map(str::to_owned)).or_default().push(place);
    }

    /// Discards all URLs of the bucket, or of one large file: they expire together, and a large file ends.
    pub(super) fn forget(&self, file: Option<&str>) {
        self.lock().remove(&file.map(str::to_owned));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Option<String>, Vec<UploadUrl>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is sent.
pub(super) enum UploadContent<'a> {
    /// A whole file under this name.
    File { name: &'a str, content_type: &'a str, info: &'a BTreeMap<String, String> },
    /// Part `number` (from 1) of a large file.
    Part { file: &'a str, number: usize },
}

impl UploadContent<'_> {
    fn file(&self) -> Option<&str> {
        match self {
            Self::File { .. } => None,
            Self::Part { file, .. } => Some(file),
        }
    }

    /// The call that gives a URL for it. It is billed like the upload itself.
    fn call(&self) -> (Class, &'static str) {
        match self {
            Self::File { .. } => (Class::Put, "b2_get_upload_url"),
            Self::Part { .. } => (Class::Multipart, "b2_get_upload_part_url"),
        }
    }
}

/// One piece of memory with its sha1.
pub(super) struct UploadBody {
    bytes: Bytes,
    pub sha1: String,
}

impl UploadBody {
    pub(super) async fn of(payload: PutPayload) -> Result<Self, Failure> {
        let bytes = match payload.as_ref() {
            [only] => only.clone(),
            chunks => {
                let mut all = BytesMut::with_capacity(payload.content_length());
                chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
                all.freeze()
            }
        };
        if bytes.len() <= HASH_HERE {
            return Ok(Self { sha1: hex::encode(Sha1::digest(&bytes)), bytes });
        }
        let body = tokio::task::spawn_blocking(move || Self { sha1: hex::encode(Sha1::digest(&bytes)), bytes }).await;
        body.map_err(|error| Failure::new(ErrorKind::Other, format!("hashing failed: {error}")))
    }
}

/// Encodes a name for a URL or header.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

impl Account {
    /// Sends one body, and uses a new URL if Backblaze asks for that.
    pub(super) async fn upload(&self, pool: &Pool, what: UploadContent<'_>, body: &UploadBody) -> Result<Written, Failure> {
        let mut tried = 0;
        loop {
            let place = match pool.take(what.file()) {
                Some(place) => place,
                None => self.place(&what).await?,
            };
            let mut failure = match self.send(&place, &what, body).await {
                Ok(written) => {
                    pool.give_back(what.file(), place);
                    return Ok(written);
                }
                Err(failure) => failure,
            };
            tried += 1;
            if failure.status == 401 {
                pool.forget(what.file());
            }
            if !failure.wants_upload_url() || tried >= TRIES {
                if failure.kind == ErrorKind::Denied {
                    failure = lacking(failure, &*self.session(None).await?, "b2_upload_file");
                }
                return Err(failure);
            }
            // Another server accepts the upload at once. Wait only if the answer was "too many" or "later".
            if tried > 1 || failure.status == 429 || failure.retry_after.is_some() {
                pause(tried, &failure).await;
            }
        }
    }

    async fn place(&self, what: &UploadContent<'_>) -> Result<UploadUrl, Failure> {
        let body = match what {
            UploadContent::File { .. } => json!({"bucketId": self.bucket().await?}),
            UploadContent::Part { file, .. } => json!({"fileId": file}),
        };
        let (class, name) = what.call();
        self.call(class, name, &body).await
    }

    async fn send(&self, place: &UploadUrl, what: &UploadContent<'_>, body: &UploadBody) -> Result<Written, Failure> {
        let length = body.bytes.len() as u64;
        let mut request = self
            .wire
            .http
            .post(&place.upload_url)
            .header("authorization", &place.authorization_token)
            .header("x-bz-content-sha1", &body.sha1)
            .header("content-length", length)
            .body(body.bytes.clone());
        request = match what {
            UploadContent::File { name, content_type, info } => {
                let named = request.header("x-bz-file-name", encoded(name)).header("content-type", *content_type);
                info.iter().fold(named, |request, (key, value)| request.header(format!("x-bz-info-{key}"), encoded(value)))
            }
            UploadContent::Part { number, .. } => request.header("x-bz-part-number", *number),
        };
        self.wire.meter.add_sent(length);
        let class = what.call().0;
        let response = self.wire.send(class, request, length).await?;
        // A part's answer names the file it belongs to.
        let written: Written = read_json(response).await?;
        let same = written.content_sha1.as_deref().is_none_or(|sha1| sha1.trim_start_matches("unverified:") == body.sha1)
            && written.content_length.is_none_or(|there| there == length);
        match same {
            true => Ok(written),
            false => Err(Failure::new(ErrorKind::Transient, "the server stored something other than what was sent")),
        }
    }
}
