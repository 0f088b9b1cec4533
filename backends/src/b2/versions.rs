//! The versions of names as the server lists them, and the calls on one of them.
//!
//! Owns the form of a listed version and the exact match of names: Backblaze lists from a name on, so later names are
//! not an answer. Invariant: names are sent and received unchanged.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Failure;
use super::mark::{MARK, Mark};
use super::session::Account;
use crate::contract::error::ErrorKind;
use crate::contract::held::Held;
use crate::contract::listing::State;
use crate::contract::meter::Class;

/// Versions asked for at once when only one name counts: its newest ones decide.
const FEW: usize = 100;

/// One version of a name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct B2Version {
    #[serde(default)]
    pub file_id: Option<String>,
    pub file_name: String,
    pub action: String,
    #[serde(default)]
    pub content_length: Option<u64>,
    #[serde(default)]
    pub content_sha1: Option<String>,
    #[serde(default)]
    pub content_type: Option<String>,
    /// Milliseconds since 1970, by the store's clock.
    #[serde(default)]
    pub upload_timestamp: i64,
    #[serde(default)]
    pub file_info: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub file_retention: Option<LockField<FileRetention>>,
    #[serde(default)]
    pub legal_hold: Option<LockField<String>>,
}

/// A lock field; without a value if the key may not see it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct LockField<T> {
    #[serde(default = "nothing")]
    value: Option<T>,
}

fn nothing<T>() -> Option<T> {
    None
}

/// The time until which a version may not be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileRetention {
    /// Milliseconds since 1970.
    #[serde(default)]
    retain_until_timestamp: Option<i64>,
}

impl B2Version {
    pub(super) fn id(&self) -> &str {
        self.file_id.as_deref().unwrap_or_default()
    }

    pub(super) fn mark(&self) -> Mark {
        self.file_info.as_ref().and_then(|info| info.get(MARK)).map_or(Mark::Plain, |text| Mark::parse(text))
    }

    pub(super) fn modified(&self) -> DateTime<Utc> {
        time(self.upload_timestamp)
    }

    fn held(&self) -> Held {
        let until = self.file_retention.as_ref().and_then(|told| told.value.as_ref()?.retain_until_timestamp);
        let by_hand = self.legal_hold.as_ref().is_some_and(|told| told.value.as_deref() == Some("on"));
        Held { version: self.file_id.clone(), until: until.map(time), by_hand }
    }

    /// The state of this version alone. Whether a newer one hides it depends on its place in the list.
    pub(super) fn state(&self) -> Option<State> {
        match self.action.as_str() {
            "upload" | "copy" => Some(State::Current),
            "hide" => Some(State::Marker),
            "start" => Some(State::Unfinished),
            _ => None,
        }
    }
}

pub(super) fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// A page of a listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VersionsPage {
    pub files: Vec<B2Version>,
    #[serde(default)]
    pub next_file_name: Option<String>,
    #[serde(default)]
    pub next_file_id: Option<String>,
}

/// The answer to `b2_upload_file`, `b2_copy_file` and `b2_finish_large_file`, as far as offsite needs it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    pub file_id: String,
    #[serde(default)]
    pub content_length: Option<u64>,
    #[serde(default)]
    pub content_sha1: Option<String>,
}

impl Account {
    /// One page of all versions whose names begin with `prefix`, from a position on; one LIST.
    pub(super) async fn versions(
        &self,
        prefix: &str,
        from: Option<&(String, Option<String>)>,
        most: usize,
    ) -> Result<VersionsPage, Failure> {
        // A listing begins at its prefix anyway, and the prefix need not be a valid name.
        let from = from.filter(|(name, id)| name != prefix || id.is_some());
        let (name, id) = from.map_or((None, None), |(name, id)| (Some(name), id.as_ref()));
        let body =
            json!({"bucketId": self.bucket().await?, "prefix": prefix, "startFileName": name, "startFileId": id, "maxFileCount": most});
        self.call(Class::List, "b2_list_file_versions", &without_nulls(body)).await
    }

    /// One page of what a reader sees of names that begin with `prefix`; one LIST. With `folded`, everything
    /// below a further slash is one entry.
    pub(super) async fn names(&self, prefix: &str, from: Option<&str>, folded: bool, most: usize) -> Result<VersionsPage, Failure> {
        let from = from.filter(|name| *name != prefix);
        let delimiter = folded.then_some("/");
        let body = json!({"bucketId": self.bucket().await?, "prefix": prefix, "startFileName": from, "delimiter": delimiter, "maxFileCount": most});
        self.call(Class::List, "b2_list_file_names", &without_nulls(body)).await
    }

    /// The versions of exactly this name, newest first, down to the first one that hides older ones.
    pub(super) async fn versions_of(&self, name: &str) -> Result<Vec<B2Version>, Failure> {
        let mut found: Vec<B2Version> = Vec::new();
        let mut from = Some((name.to_owned(), None));
        while let Some(place) = from {
            let page = self.versions(name, Some(&place), FEW).await?;
            for version in page.files {
                if version.file_name != name {
                    return Ok(found);
                }
                let last = matches!(version.state(), Some(State::Current)) && version.mark() == Mark::Plain || version.action == "hide";
                found.push(version);
                if last {
                    return Ok(found);
                }
            }
            from = page.next_file_name.filter(|next| next == name).map(|next| (next, page.next_file_id));
            if from.as_ref() == Some(&place) {
                return Err(Failure::new(ErrorKind::Other, "the server's listing repeats itself"));
            }
        }
        Ok(found)
    }

    /// Hides a name; older versions stay. A missing name is no error.
    pub(super) async fn hide(&self, name: &str) -> Result<(), Failure> {
        let body = json!({"bucketId": self.bucket().await?, "fileName": name});
        match self.call::<Value>(Class::Delete, "b2_hide_file", &body).await {
            Err(failure) if failure.code == "already_hidden" => Ok(()),
            Err(failure) if failure.kind == ErrorKind::NotFound && !failure.is_bucket => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// What holds a version, or the newest version of a name.
    pub(super) async fn held(&self, name: &str, id: Option<&str>) -> Result<Held, Failure> {
        if let Some(id) = id {
            let found: B2Version = self.call(Class::Head, "b2_get_file_info", &json!({"fileId": id})).await?;
            return Ok(found.held());
        }
        let newest = self.versions_of(name).await?.into_iter().find(|version| version.state() != Some(State::Unfinished));
        let there = newest.filter(|version| version.state() == Some(State::Current));
        there.map(|version| version.held()).ok_or_else(|| Failure::new(ErrorKind::NotFound, "not found"))
    }

    /// Deletes one version permanently. A missing version is no error.
    pub(super) async fn delete_version(&self, name: &str, id: &str) -> Result<(), Failure> {
        let body = json!({"fileName": name, "fileId": id});
        match self.call::<Value>(Class::Delete, "b2_delete_file_version", &body).await {
            Err(failure) if failure.kind == ErrorKind::NotFound => Ok(()),
            answer => answer.map(drop),
        }
    }
}

fn without_nulls(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    value
}
