//! A destination as people write it: a URL, or a path on this machine.
//!
//! Owns the parsing. A text with a password in it is refused before any other code sees it. A text in the form of
//! another program is refused, and the error names the URL that was meant.

mod mistaken;
mod userinfo;

use std::path::PathBuf;

use crate::contract::error::{Error, Result};
use crate::contract::location::{DIRECTORY, Location};
use crate::contract::redact::redact;
use crate::kinds::{self, Host};

pub(crate) use self::mistaken::instead;

impl Location {
    /// Parses a URL or a bare path, which is a directory. In a URL the path is percent-decoded once; a bare path is
    /// taken byte for byte and made absolute (not resolved).
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a URL with a password in it, of which nothing is repeated. The same for a
    /// destination in the form of another program (`host:/path`, `s3:bucket`, `~/x`), with the URL that was meant.
    ///
    /// # Examples
    ///
    /// ```
    /// use offsite_backends::Location;
    ///
    /// let location = Location::parse("s3://acme/site%20one?region=eu-central-1")?;
    /// assert_eq!((location.scheme(), location.host(), location.path()), ("s3", "acme", &b"site one"[..]));
    /// assert_eq!(location.settings()["region"], "eu-central-1");
    /// assert_eq!(location.to_string(), "s3://acme/site one");
    ///
    /// let refused = Location::parse("nas.example:/srv/backup");
    /// assert!(refused.is_err_and(|error| error.message.contains("write sftp://nas.example/srv/backup")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) && holds_secret(scheme, rest) => Err(userinfo::refused(&format!("{scheme}://…"))),
            Some((scheme, rest)) if is_scheme(scheme) => Self::from_url(scheme, rest),
            _ => bare(text).and_then(|()| Self::from_dir(PathBuf::from(text))),
        }
    }
}

/// Checks that a text names a directory on this machine: no URL, and no destination in the form of another program.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`], which says what the text names instead.
///
/// # Examples
///
/// ```
/// use offsite_backends::location::directory;
///
/// directory("./restored")?;
/// assert!(directory("s3://acme/site").is_err());
/// assert!(directory("nas.example:/srv/restored").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn directory(text: &str) -> Result<()> {
    match text.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => {
            let shown = shown(text);
            Err(Error::invalid(shown, "this is a URL, and only a local directory is possible here"))
        }
        _ => bare(text),
    }
}

/// Whether what follows `scheme://` holds a secret.
fn holds_secret(scheme: &str, rest: &str) -> bool {
    let host = rest.split(['/', '?']).next().unwrap_or(rest);
    // Only a key can stand before the name of a bucket.
    let key = host.contains('@') && kinds::of(&scheme.to_ascii_lowercase()).is_some_and(|kind| kind.host == Host::Bucket);
    scheme != DIRECTORY && (key || userinfo::secret(rest).is_some())
}

fn bare(text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid("destination", "an empty path is not a path; use `.` for this directory"));
    }
    mistaken::refusal(text).map_or(Ok(()), Err)
}

/// A destination as it may be printed, whatever the text is: without settings, and without what may be a password.
///
/// # Examples
///
/// ```
/// use offsite_backends::location::shown;
///
/// assert_eq!(shown("s3://acme/site?endpoint=https://minio.example"), "s3://acme/site");
/// assert_eq!(shown("s3://key:hush@acme/site"), "s3://…");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn shown(text: &str) -> String {
    match Location::parse(text) {
        Ok(location) => location.to_string(),
        Err(_) => match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) && holds_secret(scheme, rest) => format!("{scheme}://…"),
            _ if userinfo::may_hold_a_secret(text) => "…".to_owned(),
            _ => redact(text.split('?').next().unwrap_or(text)),
        },
    }
}

fn is_scheme(text: &str) -> bool {
    text.len() > 1 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
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
