//! Writing one whole object: unconditionally, create-only, or in place of one version.
//!
//! Owns the requests for the rules in `claim.rs`: upload, look, and withdraw what lost. A plain put is one upload. A
//! conditional put is one upload and one LIST, and a delete for each version that it replaced or that lost.
//! Invariant: an upload that did not win is deleted by its own id before the caller gets the error.

use std::collections::BTreeMap;
use std::time::Duration;

use object_store::{Attribute, Attributes, PutMode, PutOptions, PutPayload, PutResult};

use super::claim::{self, ClaimVerdict};
use super::error::Failure;
use super::mark::{MARK, Mark};
use super::session::Account;
use super::upload::{Pool, UploadBody, UploadContent};
use super::wire::random;
use crate::contract::error::ErrorKind;

/// How many looks the oldest of several writers waits for the others to withdraw, and the first wait between
/// two looks.
const LOOKS: u32 = 8;
const FIRST_LOOK: Duration = Duration::from_millis(50);

/// Uploads of one create-only put, if a removal with a later stamp hides each of them.
const HIDDEN: usize = 5;

/// The content type that lets Backblaze choose one by the name's ending.
pub(super) const AUTO: &str = "b2/x-auto";

/// The result of a put: the id is the tag and the version.
pub(super) fn result(id: &str) -> PutResult {
    PutResult { e_tag: Some(tag(id)), version: Some(id.to_owned()), extensions: Default::default() }
}

pub(super) fn tag(id: &str) -> String {
    format!("\"{id}\"")
}

pub(super) fn untagged(tag: &str) -> &str {
    tag.trim_matches('"')
}

/// The content type and the file infos for an object's attributes.
pub(super) fn described(attributes: &Attributes) -> (String, BTreeMap<String, String>) {
    let (mut content_type, mut info) = (AUTO.to_owned(), BTreeMap::new());
    for (attribute, value) in attributes {
        let key = match attribute {
            Attribute::ContentType => {
                content_type = value.to_string();
                continue;
            }
            Attribute::ContentDisposition => "b2-content-disposition",
            Attribute::ContentEncoding => "b2-content-encoding",
            Attribute::ContentLanguage => "b2-content-language",
            Attribute::CacheControl => "b2-cache-control",
            Attribute::Metadata(key) => key,
            _ => continue,
        };
        info.insert(key.to_ascii_lowercase(), value.to_string());
    }
    (content_type, info)
}

impl Account {
    /// Puts one object under its full name.
    pub(super) async fn put(&self, pool: &Pool, name: &str, payload: PutPayload, options: PutOptions) -> Result<PutResult, Failure> {
        let put = format!("{:016x}{:016x}", random(), random());
        let mark = match options.mode {
            PutMode::Overwrite => Mark::Plain,
            PutMode::Create => Mark::Create { put },
            PutMode::Update(wanted) => {
                let after = wanted.version.or_else(|| wanted.e_tag.map(|tag| untagged(&tag).to_owned()));
                let after = after.ok_or_else(|| Failure::new(ErrorKind::Precondition, "the version to replace is not named"))?;
                Mark::Swap { put, after }
            }
        };
        if mark != Mark::Plain && !self.is_append_only() && !self.session(None).await?.can("deleteFiles") {
            let text = "the application key lacks the capability `deleteFiles`, without which offsite cannot withdraw an upload that lost";
            return Err(Failure { deleting: true, ..Failure::new(ErrorKind::Denied, text) });
        }
        let (content_type, mut info) = described(&options.attributes);
        info.extend(mark.text().map(|text| (MARK.to_owned(), text)));
        let body = UploadBody::of(payload).await?;
        let mut wait = FIRST_LOOK;
        for _ in 0..HIDDEN {
            let written = self.upload(pool, UploadContent::File { name, content_type: &content_type, info: &info }, &body).await?;
            if mark == Mark::Plain {
                return Ok(result(&written.file_id));
            }
            if let Some(put) = self.settle(name, &mark, &written.file_id).await? {
                return Ok(put);
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Err(Failure::new(ErrorKind::Exists, "it is removed and created again too fast"))
    }

    /// Whether the upload that carries `mark` counts. None if a removal hides it and nothing else counts.
    async fn settle(&self, name: &str, mark: &Mark, uploaded: &str) -> Result<Option<PutResult>, Failure> {
        let mut wait = FIRST_LOOK;
        for look in 1..=LOOKS {
            let listed = match self.versions_of(name).await {
                Ok(listed) => listed,
                Err(failure) => {
                    // No reader may take the upload for a value if its writer does not know whether it is
                    // one.
                    self.cancel_all(name, vec![uploaded.to_owned()]).await;
                    return Err(failure);
                }
            };
            match claim::judge(&claim::live(&listed), mark) {
                ClaimVerdict::Won { id, dead } => {
                    self.cancel_all(name, dead).await;
                    return Ok(Some(result(&id)));
                }
                ClaimVerdict::Hidden => {
                    self.take_back(name, Vec::new(), uploaded).await?;
                    return Ok(None);
                }
                ClaimVerdict::Wait { .. } if look < LOOKS => {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(1));
                }
                ClaimVerdict::Lost { ours } | ClaimVerdict::Wait { ours } => {
                    self.take_back(name, ours, uploaded).await?;
                    break;
                }
            }
        }
        Err(match mark {
            Mark::Swap { .. } => Failure::new(ErrorKind::Precondition, "it is not the version it was when it was read"),
            _ => Failure::new(ErrorKind::Exists, "it exists already"),
        })
    }

    /// Withdraws uploads that lost. In append-only mode they stay, and their marks say that they do not count.
    async fn take_back(&self, name: &str, mut ours: Vec<String>, uploaded: &str) -> Result<(), Failure> {
        if self.is_append_only() {
            return Ok(());
        }
        if !ours.iter().any(|id| id == uploaded) {
            ours.push(uploaded.to_owned());
        }
        for id in ours.iter().rev() {
            match self.delete_version(name, id).await {
                // A bucket with a default retention keeps the upload. Its mark says that it does not count.
                Err(failure) if failure.kind == ErrorKind::Denied => {}
                answer => answer?,
            }
        }
        Ok(())
    }

    /// Deletes the versions that a winner replaced, in order. After a failure, the rest is left to the next
    /// winner.
    async fn cancel_all(&self, name: &str, dead: Vec<String>) {
        for id in dead.into_iter().filter(|_| !self.is_append_only()) {
            if self.delete_version(name, &id).await.is_err() {
                return;
            }
        }
    }
}
