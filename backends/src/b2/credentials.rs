//! The application key: from Backblaze's own variables, or from a file.
//!
//! Owns this backend's only reads of the environment, and the rule that a file which others can read is refused.
//! Nothing is read before the first request needs it.
//! Invariant: no error and no `Debug` text contains the key itself.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::contract::error::{Error, Result};
use crate::contract::location::Location;

const ID: &str = "B2_APPLICATION_KEY_ID";
const KEY: &str = "B2_APPLICATION_KEY";
const REALM: &str = "B2_ENVIRONMENT";

/// Where the key comes from.
#[derive(Debug, Clone)]
pub(super) enum KeySource {
    /// The variables [`ID`] and [`KEY`].
    Variables,
    /// A JSON object with `applicationKeyId` and `applicationKey`, or two words, the id and the key, as
    /// `b2 key create` prints them.
    File(PathBuf),
}

/// An application key.
#[derive(Clone, Deserialize)]
pub(super) struct Credentials {
    #[serde(rename = "applicationKeyId")]
    pub id: String,
    #[serde(rename = "applicationKey")]
    pub key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.id)
    }
}

/// The server in the variable for Backblaze's own tools, if its value is a URL.
pub(super) fn environment() -> Option<String> {
    std::env::var(REALM).ok().filter(|text| text.contains("://"))
}

impl KeySource {
    /// The setting `key_file` wins over the variables, because a URL that names a key means that key.
    pub(super) fn of(location: &Location) -> Self {
        match location.settings().get("key_file").filter(|path| !path.is_empty()) {
            Some(path) => Self::File(path.into()),
            None => Self::Variables,
        }
    }

    /// # Errors
    /// [`crate::ErrorKind::Denied`] if there is no key, or if others can read its file.
    pub(super) fn read(&self, location: &Location) -> Result<Credentials> {
        let found = match self {
            Self::Variables => from_variables(location)?,
            Self::File(path) => from_file(path)?,
        };
        match found.id.is_empty() || found.key.is_empty() {
            true => Err(Error::login(location, "the application key or its ID is empty")),
            false => Ok(found),
        }
    }
}

fn from_variables(location: &Location) -> Result<Credentials> {
    match (std::env::var(ID), std::env::var(KEY)) {
        (Ok(id), Ok(key)) => Ok(Credentials { id: id.trim().into(), key: key.trim().into() }),
        (Ok(_), Err(_)) => Err(Error::login(location, format!("{ID} is set and {KEY} is not"))),
        _ => Err(Error::login(location, format!("no application key: set {ID} and {KEY}, or name a file with both: ?key_file=PATH"))),
    }
}

fn from_file(path: &Path) -> Result<Credentials> {
    let io = |error: std::io::Error| Error::from_io(path.display(), &error);
    let mode = std::fs::metadata(path).map_err(io)?.permissions().mode();
    if mode & 0o077 != 0 {
        let text = format!("others can read this key file (mode {:04o}); run: chmod 600 {}", mode & 0o7777, path.display());
        return Err(Error::login(path.display(), text));
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    let parsed = match text.trim_start().starts_with('{') {
        // The parser's own error text could quote the key.
        true => serde_json::from_str(&text).ok(),
        false => {
            let words: Vec<&str> = text.split_whitespace().collect();
            match words[..] {
                [id, key] => Some(Credentials { id: id.into(), key: key.into() }),
                _ => None,
            }
        }
    };
    parsed.ok_or_else(|| Error::login(path.display(), "not a key file: it must have two words, the key ID and the key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, KeySource) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, KeySource::File(path))
    }

    #[test]
    fn a_key_file_is_two_words_or_json() {
        let location = Location::parse("b2://bucket/x").unwrap();
        for text in ["id1\nhush\n", "id1 hush\n", r#"{"applicationKeyId": "id1", "applicationKey": "hush"}"#] {
            let (_dir, source) = file(text, 0o600);
            let found = source.read(&location).unwrap();
            assert_eq!((found.id.as_str(), found.key.as_str()), ("id1", "hush"));
            assert!(!format!("{found:?}").contains("hush"));
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_and_so_is_nonsense() {
        let location = Location::parse("b2://bucket/x").unwrap();
        for (text, mode, says) in [("id1\nhush\n", 0o640, "chmod 600"), ("hush", 0o600, "two words"), ("{\"hush\"", 0o600, "two words")] {
            let (_dir, source) = file(text, mode);
            let error = source.read(&location).unwrap_err();
            assert!(
                error.kind == crate::contract::error::ErrorKind::Denied && error.message.contains(says) && !error.message.contains("hush"),
                "{error}"
            );
        }
    }
}
