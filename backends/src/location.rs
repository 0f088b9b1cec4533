//! Where a destination is: its URL, taken apart.
//!
//! Owns parsing and printing. A URL that carries a password is refused, so a [`Location`] is always
//! safe to print. Settings of a store stand in the URL's query and are handed to the backend.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use object_store::path::Path as Prefix;
use percent_encoding::percent_decode_str;

use crate::error::scrub;
use crate::{Error, Result, mistaken, userinfo};

/// The query of a destination's URL: `endpoint`, `region`, … Unknown names are refused by the backend.
pub type Settings = BTreeMap<String, String>;

/// A destination's place. Two locations that are equal hold the same objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    scheme: String,
    /// Bucket, or `user@host:port`; empty for a directory.
    host: String,
    /// Prefix without slashes at its ends, or the absolute path of a directory.
    path: Vec<u8>,
    settings: Settings,
    /// The server behind it, where the URL itself does not say.
    server: String,
}

impl Location {
    /// Takes a URL, or a bare path, which is a directory. In a URL the path is percent-decoded once;
    /// a bare path is taken byte for byte and made absolute (not resolved).
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a URL with a password in it, of which nothing is repeated, and for a place that is
    /// written as another program has it (`host:/path`, `s3:bucket`, `~/x`), with the URL that was meant.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => Self::from_url(text, scheme, rest),
            _ => bare(text).and_then(|()| Self::from_dir(PathBuf::from(text))),
        }
    }

    /// A directory of this machine.
    pub fn from_dir(path: PathBuf) -> Result<Self> {
        let absolute = std::path::absolute(&path).map_err(|e| Error::from_io(path.display(), &e))?;
        let mut bytes = absolute.into_os_string().into_vec();
        while bytes.len() > 1 && bytes.last() == Some(&b'/') {
            bytes.pop();
        }
        Ok(Self { scheme: "file".into(), host: String::new(), path: bytes, settings: Settings::new(), server: String::new() })
    }

    fn from_url(text: &str, scheme: &str, rest: &str) -> Result<Self> {
        let shown = text.split('?').next().unwrap_or(text);
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = place.split_once('/').unwrap_or((place, ""));
        if holds_secret(scheme, rest) {
            return Err(userinfo::refused(&format!("{scheme}://…")));
        }
        let path: Vec<u8> = percent_decode_str(path).collect();
        if scheme == "file" {
            if !host.is_empty() {
                return Err(Error::invalid(shown, "a file:// URL needs three slashes: file:///path"));
            }
            let mut location = Self::from_dir(PathBuf::from(std::ffi::OsString::from_vec([b"/", &path[..]].concat())))?;
            location.settings = parse_query(query);
            return Ok(location);
        }
        if host.is_empty() {
            return Err(Error::invalid(shown, "the URL names no bucket or host"));
        }
        let trimmed = trim_slashes(&path).to_vec();
        Ok(Self { scheme: scheme.into(), host: host.into(), path: trimmed, settings: parse_query(query), server: String::new() })
    }

    /// `s3`, `file`, …
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

    /// The prefix as `object_store` takes it.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] where it would have to be changed for that.
    pub fn prefix(&self) -> Result<Prefix> {
        let bad = |why: &str| Error::invalid(self, format!("this prefix cannot be one: {why}"));
        let text = std::str::from_utf8(&self.path).map_err(|_| bad("it is not UTF-8"))?;
        let path = Prefix::parse(text).map_err(|error| bad(&crate::error::chain(&error)))?;
        match path.as_ref() == text {
            true => Ok(path),
            false => Err(bad("it would be stored under another name")),
        }
    }

    /// A directory's path on this machine.
    pub fn dir(&self) -> PathBuf {
        PathBuf::from(std::ffi::OsStr::from_bytes(&self.path))
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Refuses settings the backend does not know, naming the ones it does.
    pub fn only_settings(&self, known: &[&str]) -> Result<()> {
        match self.settings.keys().find(|k| !known.contains(&k.as_str())) {
            None => Ok(()),
            Some(key) if known.is_empty() => Err(Error::invalid(self, format!("`{key}`: a directory takes no settings"))),
            Some(key) => Err(Error::invalid(self, format!("no setting `{key}`; known are {}", known.join(", ")))),
        }
    }

    /// Says which server it is at, as a backend found out from its URL, variables and profiles.
    pub fn served_by(mut self, server: &str) -> Self {
        self.server = server.trim_end_matches('/').into();
        self
    }

    /// What two URLs of the same place have in common; names the local cache and journal.
    pub fn identity(&self) -> Vec<u8> {
        [self.scheme.as_bytes(), b"://", self.server.as_bytes(), b"/", self.host.as_bytes(), b"/", &self.path].concat()
    }

    /// The printable URL of an object of this destination.
    pub fn at(&self, key: &str) -> String {
        if key.is_empty() { self.to_string() } else { format!("{self}/{key}") }
    }
}

/// Whether a text names a directory of this machine: no URL, and no place as another program writes it.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] saying what it names instead.
pub fn directory(text: &str) -> Result<()> {
    match text.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => {
            let shown = shown(text);
            Err(Error::invalid(shown, "this is a URL, and here only a directory of this machine can stand"))
        }
        _ => bare(text),
    }
}

/// Whether what follows `scheme://` holds a secret.
fn holds_secret(scheme: &str, rest: &str) -> bool {
    let host = rest.split(['/', '?']).next().unwrap_or(rest);
    // In front of a bucket's name nothing stands but a key.
    let key = ["s3", "gs", "b2"].contains(&scheme.to_ascii_lowercase().as_str()) && host.contains('@');
    scheme != "file" && (key || userinfo::secret(rest).is_some())
}

fn bare(text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid("destination", "an empty path is none; `.` is this directory"));
    }
    mistaken::refusal(text).map_or(Ok(()), Err)
}

/// A place as it may be printed, whatever it is: without settings, and without what may be a password.
pub fn shown(text: &str) -> String {
    match Location::parse(text) {
        Ok(location) => location.to_string(),
        Err(_) => match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) && holds_secret(scheme, rest) => format!("{scheme}://…"),
            _ if userinfo::may_hold_a_secret(text) => "…".to_owned(),
            _ => scrub(text.split('?').next().unwrap_or(text)),
        },
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = String::from_utf8_lossy(&self.path);
        match (self.scheme.as_str(), path.is_empty()) {
            ("file", _) => f.write_str(&path),
            (scheme, true) => write!(f, "{scheme}://{}", self.host),
            (scheme, false) => write!(f, "{scheme}://{}/{path}", self.host),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.len() > 1 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let s3 = Location::parse("s3://acme/a/b%20c/?endpoint=http://127.0.0.1:1&region=x").unwrap();
        assert_eq!((s3.scheme(), s3.host(), s3.path()), ("s3", "acme", &b"a/b c"[..]));
        assert_eq!(s3.settings()["endpoint"], "http://127.0.0.1:1");
        assert_eq!(s3.to_string(), "s3://acme/a/b c");
        let dir = Location::parse("file:///mnt/x%23y/").unwrap();
        assert_eq!((dir.scheme(), dir.path()), ("file", &b"/mnt/x#y"[..]));
        assert_eq!(Location::parse("/mnt/x%23").unwrap().path(), b"/mnt/x%23");
    }

    #[test]
    fn one_bucket_name_at_two_servers_is_two_places() {
        let at = |server: &str| Location::parse("s3://acme/site").unwrap().served_by(server).identity();
        assert_ne!(at("https://one.example"), at("https://two.example"));
        assert_eq!(at("https://one.example"), at("https://one.example/"));
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        for text in [
            "s3://key:hush@bucket/x",
            "s3://hush@bucket/x",
            "s3://AKIA:abc/DEF+hush@bucket/x",
            "sftp://me:p?hush@nas/x",
            "webdav://bucket@key:hush/x",
            "S3://key:hush",
            "sftp:me:hush@nas:/x",
            "s3:AKIA:a/hush@bucket",
            "AKIA:a/hush@bucket/x",
        ] {
            let error = Location::parse(text).unwrap_err();
            assert!(error.to_string().contains("password") && !error.to_string().contains("hush"), "{text}: {error}");
            assert!(!shown(text).contains("hush"), "{text}: {}", shown(text));
            assert!(!directory(text).unwrap_err().to_string().contains("hush"), "{text}");
        }
    }

    #[test]
    fn places_elsewhere_are_no_directories() {
        for text in ["nas:/srv", "~/usb", "s3;//b/x", ""] {
            assert!(Location::parse(text).is_err() && directory(text).is_err(), "{text}");
        }
        assert!(Location::parse("./nas:/srv").unwrap().dir().ends_with("nas:/srv"));
        assert!(directory("s3://bucket/x").is_err() && directory("./s3:/x").is_ok());
    }
}
