//! Large files: started, sent in parts, finished. Also copies on the server, in parts if they are too large for one
//! request.
//!
//! Owns the calls around a large file. Its id and its parts outlive the process, and a later run continues with both.
//! Invariant: the sha1 of each part is sent with the part and again when the file is finished, so the server refuses
//! a part that differs from what was sent.

use std::collections::BTreeMap;
use std::ops::Range;

use object_store::PutResult;
use object_store::multipart::PartId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Failure;
use super::mark::Mark;
use super::put::{AUTO, result};
use super::session::Account;
use super::upload::{Pool, UploadBody, UploadContent};
use super::versions::{B2Version, Written};
use crate::contract::error::ErrorKind;
use crate::contract::meter::Class;

/// The size above which a copy is made in parts, and the size of those parts, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct B2CopyLimits {
    pub whole: u64,
    pub part: u64,
}

impl Account {
    /// Starts a large file and returns its id.
    pub(super) async fn start(&self, name: &str, content_type: &str, info: &BTreeMap<String, String>) -> Result<String, Failure> {
        let body = json!({"bucketId": self.bucket().await?, "fileName": name, "contentType": content_type, "fileInfo": info});
        let started: Written = self.call(Class::Multipart, "b2_start_large_file", &body).await?;
        Ok(started.file_id)
    }

    /// Sends one part; `index` counts from 0. The part's id is its sha1.
    pub(super) async fn part(&self, pool: &Pool, file: &str, index: usize, body: &UploadBody) -> Result<PartId, Failure> {
        let sent = self.upload(pool, UploadContent::Part { file, number: index + 1 }, body).await;
        sent.map_err(forgotten)?;
        Ok(PartId { content_id: body.sha1.clone() })
    }

    /// Finishes a file from its parts. If an earlier try finished it and its answer was lost, returns that
    /// file.
    pub(super) async fn finish(&self, pool: &Pool, file: &str, sha1s: &[String]) -> Result<PutResult, Failure> {
        let body = json!({"fileId": file, "partSha1Array": sha1s});
        let finished = self.call::<Written>(Class::Multipart, "b2_finish_large_file", &body).await;
        let id = match finished {
            Ok(written) => written.file_id,
            Err(failure) if failure.kind == ErrorKind::Invalid || failure.kind == ErrorKind::NotFound => {
                let info = self.call::<Value>(Class::Head, "b2_get_file_info", &json!({"fileId": file})).await;
                match info {
                    Ok(info) if info["action"] == "upload" => file.to_owned(),
                    _ => return Err(forgotten(failure)),
                }
            }
            Err(failure) => return Err(failure),
        };
        pool.forget(Some(file));
        Ok(result(&id))
    }

    /// Cancels a large file and deletes its parts.
    pub(super) async fn cancel(&self, pool: &Pool, file: &str) -> Result<(), Failure> {
        pool.forget(Some(file));
        self.call::<Value>(Class::Multipart, "b2_cancel_large_file", &json!({"fileId": file})).await.map(drop).map_err(forgotten)
    }

    /// Copies one version to a name.
    pub(super) async fn copy(&self, pool: &Pool, from: &str, to: &str, size: u64, limits: B2CopyLimits) -> Result<PutResult, Failure> {
        if size > limits.whole {
            return self.copy_in_parts(pool, from, to, size, limits.part).await;
        }
        let body = json!({"sourceFileId": from, "fileName": to, "metadataDirective": "COPY"});
        let copied: B2Version = self.call(Class::Copy, "b2_copy_file", &body).await?;
        if copied.mark() == Mark::Plain {
            return Ok(result(copied.id()));
        }
        // The copy must not keep the mark of the condition under which the source was put.
        let body = json!({"sourceFileId": from, "fileName": to, "metadataDirective": "REPLACE", "contentType": AUTO, "fileInfo": {}});
        let again: B2Version = self.call(Class::Copy, "b2_copy_file", &body).await?;
        let _ = self.delete_version(to, copied.id()).await;
        Ok(result(again.id()))
    }

    async fn copy_in_parts(&self, pool: &Pool, from: &str, to: &str, size: u64, part: u64) -> Result<PutResult, Failure> {
        let file = self.start(to, AUTO, &BTreeMap::new()).await?;
        let copied = self.copy_parts(from, &file, size, part).await;
        let finished = match copied {
            Ok(sha1s) => self.finish(pool, &file, &sha1s).await,
            Err(failure) => Err(failure),
        };
        if finished.is_err() {
            // The file would stay, and be billed, forever.
            let _ = self.cancel(pool, &file).await;
        }
        finished
    }

    /// Copies a stretch of one version as a part of a large file; `index` counts from 0. The part's id is its sha1.
    pub(super) async fn copy_part(&self, from: &str, file: &str, index: usize, range: Range<u64>) -> Result<PartId, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Part {
            content_sha1: String,
        }
        let range = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let body = json!({"sourceFileId": from, "largeFileId": file, "partNumber": index + 1, "range": range});
        let part: Part = self.call(Class::Copy, "b2_copy_part", &body).await?;
        Ok(PartId { content_id: part.content_sha1 })
    }

    async fn copy_parts(&self, from: &str, file: &str, size: u64, part: u64) -> Result<Vec<String>, Failure> {
        let mut sha1s = Vec::new();
        let mut start = 0;
        while start < size {
            let end = (start + part).min(size);
            sha1s.push(self.copy_part(from, file, sha1s.len(), start..end).await?.content_id);
            start = end;
        }
        Ok(sha1s)
    }
}

/// Turns the refusal of a large file that the server does not know (any more) into "not found".
fn forgotten(failure: Failure) -> Failure {
    let text = failure.message.to_ascii_lowercase();
    let unknown =
        failure.status == 400 && (text.contains("no active upload") || text.contains("bad fileid") || text.contains("file_state"));
    match unknown {
        true => Failure { kind: ErrorKind::NotFound, ..failure },
        false => failure,
    }
}
