//! The end of an upload in parts, and the meaning of a failure there.
//!
//! Owns the retries of a completion, and the proof that one whose answer was lost succeeded nevertheless.
//! Invariant: an upload counts as closed only if the store has completed it or no longer knows it. Any other is
//! continued or aborted, because its parts are billed until then.

use std::time::Duration;

use md5::{Digest, Md5};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{ObjectMeta, PutMode, PutResult};
use offsite_backends::{Error as StoreError, ErrorKind};

use super::replace::LOOKS;
use super::target::Target;
use crate::model::Entry;

/// Attempts at a completion that fails temporarily, besides those of the store's client.
const TRIES: u32 = 4;

/// What remains of an upload whose completion failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// The store does not know the upload.
    Nothing,
    /// The whole upload. The next run can continue it.
    Whole,
    /// An upload that can never be completed.
    Useless,
}

/// Completes an upload. `old` is the entry that the last snapshot has at this path, if any.
pub(super) async fn complete(
    target: &Target,
    to: &Path,
    id: &str,
    parts: Vec<PartId>,
    old: Option<&Entry>,
) -> Result<PutResult, (StoreError, Left)> {
    let mut wait = Duration::from_millis(200);
    let mut mode = target.condition(to, old);
    let (mut tries, mut looks) = (0, 0);
    loop {
        tries += 1;
        let error = match target.backend.complete_upload(to, &id.to_owned(), parts.clone(), mode.clone()).await {
            Ok(put) => return Ok(put),
            Err(error) => target.backend.error(to.as_ref(), &error),
        };
        // A store may answer `NotFound` if the object to be replaced does not exist.
        let conditional = match mode {
            PutMode::Overwrite => false,
            PutMode::Create => matches!(error.kind, ErrorKind::Precondition | ErrorKind::Exists),
            PutMode::Update(_) => matches!(error.kind, ErrorKind::Precondition | ErrorKind::Exists | ErrorKind::NotFound),
        };
        if conditional && looks < LOOKS {
            looks += 1;
            let there = target.look(to).await.map_err(|error| (target.backend.error(to.as_ref(), &error), Left::Whole))?;
            if let Some(put) = there.as_ref().and_then(|there| made_of(there, id, &parts)) {
                return Ok(put);
            }
            mode = target.next(there, &mode);
            continue;
        }
        match error.kind {
            ErrorKind::Transient if tries < TRIES => {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            // Either the upload no longer exists, or an earlier attempt succeeded and its answer was lost.
            ErrorKind::NotFound => return was_done(target, to, id, &parts).await.ok_or((error, Left::Nothing)),
            ErrorKind::Transient | ErrorKind::Denied | ErrorKind::Full | ErrorKind::Late => return Err((error, Left::Whole)),
            _ => return Err((error, Left::Useless)),
        }
    }
}

/// The object under this key, if it was made of exactly these parts.
async fn was_done(target: &Target, to: &Path, id: &str, parts: &[PartId]) -> Option<PutResult> {
    made_of(&target.look(to).await.ok()??, id, parts)
}

/// The result of the completion, if the tag of the object proves that it was made of exactly these parts.
fn made_of(there: &ObjectMeta, id: &str, parts: &[PartId]) -> Option<PutResult> {
    let tag = there.e_tag.as_deref()?.trim_matches('"');
    // Backblaze gives the object the id of the upload as its tag, S3 a tag made of the MD5s of the parts.
    let proved = tag == id || s3_tag(parts).is_some_and(|wanted| wanted == tag);
    proved.then_some(PutResult { e_tag: there.e_tag.clone(), version: there.version.clone(), extensions: Default::default() })
}

/// The tag that S3 gives to an object of these parts. `None` if the tags of the parts are not MD5s.
fn s3_tag(parts: &[PartId]) -> Option<String> {
    let mut all = Md5::new();
    for part in parts {
        let text = md5_of(&part.content_id);
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        for at in (0..32).step_by(2) {
            all.update([u8::from_str_radix(&text[at..at + 2], 16).ok()?]);
        }
    }
    Some(format!("{}-{}", hex::encode(all.finalize()), parts.len()))
}

/// The tag in the id of a part. `object_store` puts it into XML of its own if the part has a checksum.
fn md5_of(id: &str) -> String {
    let inside = id.split_once("<e_tag>").and_then(|(_, rest)| rest.split_once("</e_tag>"));
    inside.map_or(id, |(tag, _)| tag).replace("&quot;", "").replace('"', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_parts_is_the_one_that_s3_gives() {
        let part = |id: &str| PartId { content_id: id.into() };
        // MD5 of "a" and of "b"; of both digests one after the other.
        let parts = [part("\"0cc175b9c0f1b6a831c399e269772661\""), part("92eb5ffee6ae2fec3ad71c777531578f")];
        let tag = s3_tag(&parts).unwrap();
        assert!(tag.ends_with("-2") && tag.len() == 34, "{tag}");
        assert_ne!(tag, s3_tag(&[parts[1].clone(), parts[0].clone()]).unwrap());
        let checked =
            "<PartMetadata><e_tag>\"0cc175b9c0f1b6a831c399e269772661\"</e_tag><checksum_sha256>x=</checksum_sha256></PartMetadata>";
        assert_eq!(s3_tag(&[part(checked), parts[1].clone()]), Some(tag));
        assert_eq!(s3_tag(&[part("\"p1\"")]), None);
    }
}
