//! Copies on the server.
//!
//! Owns exact copies, whole and in parts. Invariants: only the content with the given tag is copied. Nothing appears
//! under the new name before the last request.

use std::ops::Range;

use aws_sdk_s3::operation::upload_part_copy::builders::UploadPartCopyFluentBuilder;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::{StreamExt, TryStreamExt, stream};
use md5::Md5;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{PutMode, PutResult};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;

use super::control::{S3Control, version};
use super::error::{SdkRefusal, refused_by_sdk};
use super::over::patiently;
use crate::contract::backend::Stretch;

type CopyResult<T> = Result<T, SdkRefusal>;

/// Characters that need no encoding in `x-amz-copy-source`.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Copies of parts in flight; each moves up to [`CopyLimits::part`] on the server.
const COPIES: usize = 8;

/// The size above which a copy is made in parts, and the size of those parts, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct CopyLimits {
    pub whole: u64,
    pub part: u64,
}

impl S3Control {
    /// Copies on the server; see [`crate::Backend::copy_exact`].
    pub(super) async fn copy(
        &self,
        from: &Path,
        to: &Path,
        size: u64,
        etag: Option<&str>,
        over: &PutMode,
        limits: CopyLimits,
    ) -> CopyResult<PutResult> {
        let source = self.source(from);
        let etag = etag.map(quoted);
        if size > limits.whole {
            return self.copy_parts(source, from, to, (size, limits.part), etag, over).await;
        }
        let request = self
            .client
            .copy_object()
            .bucket(&self.bucket)
            .key(self.key(to))
            .copy_source(source)
            .set_copy_source_if_match(etag)
            .set_if_none_match(nothing_there(over))
            .set_if_match(this_there(over));
        let send = || async {
            let answer = request.clone().send().await;
            answer.map_err(|error| refused_by_sdk(&self.location, from.as_ref(), &error))
        };
        let answer = patiently(send).await?;
        let e_tag = answer.copy_object_result().and_then(|result| result.e_tag()).map(quoted);
        Ok(PutResult { e_tag, version: version(answer.version_id()), extensions: Default::default() })
    }

    /// Copies a stretch of an object as one part of an upload; see [`crate::Backend::copy_part`].
    pub(super) async fn copy_part(&self, to: &Path, id: &str, index: usize, from: &Stretch<'_>) -> CopyResult<PartId> {
        let number = i32::try_from(index).unwrap_or(i32::MAX).saturating_add(1);
        let answer = self
            .part_copy(&self.key(to), id, number, &self.source(from.from), from.range(), Some(quoted(from.etag)))
            .send()
            .await
            .map_err(|error| refused_by_sdk(&self.location, from.from.as_ref(), &error))?;
        let result = answer.copy_part_result();
        let etag = result.and_then(|result| result.e_tag()).map(quoted);
        let sums = result.map_or((None, None), |result| (result.checksum_sha256(), result.checksum_crc64_nvme()));
        // A server that does not know this request may take it for an empty part, or copy the whole object.
        let proved = match (&etag, sums.0) {
            (_, Some(sum)) => BASE64_STANDARD.encode(from.digest::<Sha256>().await) == sum,
            (Some(etag), None) => etag.trim_matches('"').eq_ignore_ascii_case(&hex::encode(from.digest::<Md5>().await)),
            (None, None) => false,
        };
        match etag {
            Some(etag) if proved => Ok(PartId { content_id: part_id(&etag, sums) }),
            _ => Err(from.unproved(&self.location).into()),
        }
    }

    /// The request that copies a stretch of an object as a part of an upload.
    fn part_copy(
        &self,
        key: &str,
        id: &str,
        number: i32,
        source: &str,
        range: Range<u64>,
        etag: Option<String>,
    ) -> UploadPartCopyFluentBuilder {
        self.client
            .upload_part_copy()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(id)
            .part_number(number)
            .copy_source(source)
            .copy_source_range(format!("bytes={}-{}", range.start, range.end.saturating_sub(1)))
            .set_copy_source_if_match(etag)
    }

    /// The name of an object in `x-amz-copy-source`.
    fn source(&self, from: &Path) -> String {
        utf8_percent_encode(&format!("{}/{}", self.bucket, self.key(from)), PLAIN).to_string()
    }

    /// Copies in parts what one request cannot copy. Nothing appears at `to` before the last request.
    async fn copy_parts(
        &self,
        source: String,
        from: &Path,
        to: &Path,
        (size, part): (u64, u64),
        etag: Option<String>,
        over: &PutMode,
    ) -> CopyResult<PutResult> {
        let key = self.key(to);
        let started = self.client.create_multipart_upload().bucket(&self.bucket).key(&key).send().await;
        let started = started.map_err(|error| refused_by_sdk(&self.location, to.as_ref(), &error))?;
        let id = started.upload_id().unwrap_or_default().to_owned();
        let done = async {
            let parts = self.copy_ranges(&source, from, &key, &id, size, etag, part).await?;
            self.client
                .complete_multipart_upload()
                .bucket(&self.bucket)
                .key(&key)
                .upload_id(&id)
                .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
                .set_if_none_match(nothing_there(over))
                .set_if_match(this_there(over))
                .send()
                .await
                .map_err(|error| refused_by_sdk(&self.location, to.as_ref(), &error))
        };
        match done.await {
            Ok(answer) => {
                Ok(PutResult { e_tag: answer.e_tag().map(quoted), version: version(answer.version_id()), extensions: Default::default() })
            }
            Err(error) => {
                // The parts are billed until they are deleted. The first error is the one to report.
                let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(&key).upload_id(&id);
                let _ = abort.send().await;
                Err(error)
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one request's fields, used in one place")]
    async fn copy_ranges(
        &self,
        source: &str,
        from: &Path,
        key: &str,
        id: &str,
        size: u64,
        etag: Option<String>,
        part: u64,
    ) -> CopyResult<Vec<CompletedPart>> {
        let starts = (0..size).step_by(usize::try_from(part.max(1)).unwrap_or(usize::MAX)).zip(1_i32..);
        let etag = &etag;
        stream::iter(starts.map(|(start, number)| async move {
            let end = start.saturating_add(part).min(size);
            let answer = self
                .part_copy(key, id, number, source, start..end, etag.clone())
                .send()
                .await
                .map_err(|error| refused_by_sdk(&self.location, from.as_ref(), &error))?;
            let etag = answer.copy_part_result().and_then(|result| result.e_tag()).map(str::to_owned);
            Ok(CompletedPart::builder().part_number(number).set_e_tag(etag).build())
        }))
        .buffered(COPIES)
        .try_collect()
        .await
    }
}

/// The id of a part as `object_store` reads it when it completes the upload: the tag alone, or with the checksum that the
/// store asks for then. Tags and checksums are hex and Base64, so that they need no escape but for the quotes.
fn part_id(etag: &str, sums: (Option<&str>, Option<&str>)) -> String {
    let (name, sum) = match sums {
        (Some(sum), _) => ("checksum_sha256", sum),
        (None, Some(sum)) => ("checksum_crc64nvme", sum),
        (None, None) => return etag.to_owned(),
    };
    format!("<PartMetadata><e_tag>{}</e_tag><{name}>{sum}</{name}></PartMetadata>", etag.replace('"', "&quot;"))
}

/// `If-None-Match`: no object may exist at the key.
fn nothing_there(over: &PutMode) -> Option<String> {
    matches!(over, PutMode::Create).then(|| "*".to_owned())
}

/// `If-Match`: this object must be current.
fn this_there(over: &PutMode) -> Option<String> {
    match over {
        PutMode::Update(there) => there.e_tag.as_deref().map(quoted),
        PutMode::Create | PutMode::Overwrite => None,
    }
}

/// An entity tag in quotes, the form of `object_store`, whichever form the server uses.
fn quoted(etag: &str) -> String {
    format!("\"{}\"", etag.trim_matches('"'))
}
