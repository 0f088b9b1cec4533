//! Where a destination is: its URL, parsed.
//!
//! Owns the parts and their printed form. `crate::parse` refuses a URL that carries a password, so a [`Location`] is
//! always safe to print. Settings of a store are in the URL's query and are handed to the backend.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use object_store::path::Path as Prefix;
use percent_encoding::percent_decode_str;

use crate::contract::error::{self, Error, Result};

/// The scheme of a directory on this machine.
pub(crate) const DIRECTORY: &str = "file";

/// The query of a destination's URL: `endpoint`, `region`, … The backend refuses unknown names.
pub type Settings = BTreeMap<String, String>;

/// The location of a destination. Two locations that are equal hold the same objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    scheme: String,
    /// Bucket, or `user@host:port`; empty for a directory.
    host: String,
    /// Prefix without slashes at its ends, or the absolute path of a directory.
    path: Vec<u8>,
    settings: Settings,
    /// The server behind it, if the URL itself does not name it.
    server: String,
}

impl Location {
    /// A directory on this machine. The path is made absolute, and symlinks are not resolved.
    ///
    /// # Errors
    /// The path is empty, or the current directory cannot be found.
    pub fn from_dir(path: PathBuf) -> Result<Self> {
        let absolute = std::path::absolute(&path).map_err(|e| Error::from_io(path.display(), &e))?;
        let mut bytes = absolute.into_os_string().into_vec();
        while bytes.len() > 1 && bytes.last() == Some(&b'/') {
            bytes.pop();
        }
        Ok(Self { scheme: DIRECTORY.into(), host: String::new(), path: bytes, settings: Settings::new(), server: String::new() })
    }

    /// Parses the part after `scheme://` and percent-decodes the path once. The caller has already looked for a secret
    /// in it.
    pub(crate) fn from_url(scheme: &str, rest: &str) -> Result<Self> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = place.split_once('/').unwrap_or((place, ""));
        let invalid = |what| Err(Error::invalid(format!("{scheme}://{place}"), what));
        let path: Vec<u8> = percent_decode_str(path).collect();
        if scheme == DIRECTORY {
            if !host.is_empty() {
                return invalid("a file:// URL needs three slashes: file:///path");
            }
            let mut location = Self::from_dir(PathBuf::from(std::ffi::OsString::from_vec([b"/", &path[..]].concat())))?;
            location.settings = parse_query(query);
            return Ok(location);
        }
        if host.is_empty() {
            return invalid("the URL has no bucket or host");
        }
        let trimmed = trim_slashes(&path).to_vec();
        Ok(Self { scheme: scheme.into(), host: host.into(), path: trimmed, settings: parse_query(query), server: String::new() })
    }

    /// Whether it is a directory on this machine.
    pub fn is_directory(&self) -> bool {
        self.scheme == DIRECTORY
    }

    /// The part before `://`; `file` for a directory.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The bucket or host; empty for a directory.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The prefix in a bucket (no slash at its ends), or the absolute path of a directory.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The prefix as a path of `object_store`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] if it is not UTF-8 or `object_store` would change it.
    pub fn prefix(&self) -> Result<Prefix> {
        let bad = |why: &str| Error::invalid(self, format!("this prefix is not possible: {why}"));
        let text = std::str::from_utf8(&self.path).map_err(|_| bad("it is not UTF-8"))?;
        let path = Prefix::parse(text).map_err(|error| bad(&error::chain(&error)))?;
        match path.as_ref() == text {
            true => Ok(path),
            false => Err(bad("it would be stored under another name")),
        }
    }

    /// A directory's path on this machine.
    pub fn dir(&self) -> PathBuf {
        PathBuf::from(std::ffi::OsStr::from_bytes(&self.path))
    }

    /// The settings in the query of its URL, percent-decoded. A name without a value has the value `true`.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Checks that the backend knows all settings of the URL.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a setting that is not in `known`. The text names the known ones.
    pub fn only_settings(&self, known: &[&str]) -> Result<()> {
        match self.settings.keys().find(|k| !known.contains(&k.as_str())) {
            None => Ok(()),
            Some(key) if known.is_empty() => Err(Error::invalid(self, format!("`{key}`: a directory takes no settings"))),
            Some(key) => Err(Error::invalid(self, format!("no setting `{key}`; the settings are {}", known.join(", ")))),
        }
    }

    /// Sets the server, which a backend finds out from its URL, variables and profiles.
    pub fn served_by(mut self, server: &str) -> Self {
        self.server = server.trim_end_matches('/').into();
        self
    }

    /// The bytes that all URLs of one destination have in common. The local cache and journal are named by them.
    pub fn identity(&self) -> Vec<u8> {
        [self.scheme.as_bytes(), b"://", self.server.as_bytes(), b"/", self.host.as_bytes(), b"/", &self.path].concat()
    }

    /// The printable URL of an object of this destination.
    pub fn at(&self, key: &str) -> String {
        if key.is_empty() { self.to_string() } else { format!("{self}/{key}") }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = String::from_utf8_lossy(&self.path);
        match (self.scheme.as_str(), path.is_empty()) {
            (DIRECTORY, _) => f.write_str(&path),
            (scheme, true) => write!(f, "{scheme}://{}", self.host),
            (scheme, false) => write!(f, "{scheme}://{}/{path}", self.host),
        }
    }
}

fn trim_slashes(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|b| *b != b'/').unwrap_or(path.len());
    let end = path.iter().rposition(|b| *b != b'/').map_or(start, |i| i + 1);
    &path[start..end]
}

fn parse_query(query: &str) -> Settings {
    let decode = |s: &str| percent_decode_str(s).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "true")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}
