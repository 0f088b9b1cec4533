//! The settings of a bucket, from a destination's URL and Google's own variables.
//!
//! Owns the query settings of `gs://` URLs. Sends no request and asks for no credential.
//! Invariants: the URL wins over variables. A token is never sent to another machine without TLS.

use std::env::var;
use std::path::PathBuf;

use serde_json::Value;
use url::{Host, Url};

use crate::contract::error::{Error, Result};
use crate::contract::location::Location;

/// The settings that the query of a `gs://` URL may have.
pub(crate) const KNOWN: &[&str] = &["endpoint", "control_endpoint", "credentials", "anonymous", "project"];

const GOOGLE: &str = "https://storage.googleapis.com";

/// Where a token comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenSource {
    /// Application default credentials: `GOOGLE_APPLICATION_CREDENTIALS`, the file that `gcloud` wrote, the
    /// metadata server.
    Default,
    /// A file in one of the formats that Google issues.
    File(PathBuf),
    /// No token at all.
    Anonymous,
}

/// Everything the two planes need to know about one bucket.
#[derive(Debug, Clone)]
pub(super) struct GcsSettings {
    pub bucket: String,
    /// The server of the XML API, without a trailing slash.
    pub endpoint: String,
    /// The server of the gRPC API, if it is not Google's own.
    pub control: Option<String>,
    pub source: TokenSource,
    /// The project in which a bucket is created, if anything names one.
    pub project: Option<String>,
}

impl GcsSettings {
    /// Reads the URL's query, then Google's variables.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a setting or bucket name that is not valid.
    pub(super) fn load(location: &Location) -> Result<Self> {
        Self::from(location, |name| var(name).ok())
    }

    fn from(location: &Location, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        location.only_settings(KNOWN)?;
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let get = |name: &str| location.settings().get(name).cloned().filter(|value| !value.is_empty());
        let bucket = bucket_name(location)?;
        let asked = get("endpoint").map(|text| endpoint_url(location, &text)).transpose()?;
        let emulator = env("STORAGE_EMULATOR_HOST").filter(|_| asked.is_none());
        let emulator = emulator.map(|text| endpoint_url(location, &with_scheme(&text))).transpose()?;
        let source = match (flag(location, "anonymous", get("anonymous"))?, get("credentials")) {
            (Some(true), None) => TokenSource::Anonymous,
            (Some(true), Some(_)) => return Err(Error::invalid(location, "either `anonymous=true` or `credentials`, not both")),
            (_, Some(file)) => TokenSource::File(file.into()),
            // As in Google's own libraries, an emulator gets no credentials.
            (None, None) if emulator.is_some() => TokenSource::Anonymous,
            (_, None) => TokenSource::Default,
        };
        let grpc = env("STORAGE_EMULATOR_HOST_GRPC").filter(|_| emulator.is_some()).map(|text| with_scheme(&text));
        let custom = asked.or(emulator);
        let control = match get("control_endpoint").or(grpc) {
            Some(text) => Some(endpoint_url(location, &text)?),
            None => custom.clone(),
        };
        if source != TokenSource::Anonymous {
            for url in [&custom, &control].into_iter().flatten() {
                tls_or_here(location, url)?;
            }
        }
        let bare = |url: Url| url.as_str().trim_end_matches('/').to_owned();
        let file = match &source {
            TokenSource::File(path) => Some(path.clone()),
            TokenSource::Default => env("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from),
            TokenSource::Anonymous => None,
        };
        let project = get("project").or_else(|| env("GOOGLE_CLOUD_PROJECT")).or_else(|| project_of(&file?));
        Ok(Self { bucket, endpoint: custom.map_or(GOOGLE.into(), bare), control: control.map(bare), source, project })
    }

    /// Whether content goes through TLS.
    pub(super) fn is_https(&self) -> bool {
        self.endpoint.starts_with("https://")
    }
}

/// The bucket's name, checked by Google's rules as far as they keep a URL intact.
fn bucket_name(location: &Location) -> Result<String> {
    let name = location.host();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = [name.bytes().next(), name.bytes().last()].into_iter().flatten().all(plain);
    let longest = if name.contains('.') { 222 } else { 63 };
    if !(3..=longest).contains(&name.len()) || !ends || !name.bytes().all(|b| plain(b) || b"-_.".contains(&b)) || name.contains("..") {
        let rule = "3 to 63 lower-case letters, digits, - and _, with a letter or digit at both ends";
        return Err(Error::invalid(location, format!("`{name}` cannot be a bucket's name: {rule}")));
    }
    Ok(name.to_owned())
}

fn flag(location: &Location, name: &str, text: Option<String>) -> Result<Option<bool>> {
    match text.as_deref() {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => Err(Error::invalid(location, format!("{name} is `true` or `false`, not `{other}`"))),
    }
}

/// `STORAGE_EMULATOR_HOST` is a URL for some of Google's libraries and `host:port` for others.
fn with_scheme(text: &str) -> String {
    if text.contains("://") { text.to_owned() } else { format!("http://{text}") }
}

fn endpoint_url(location: &Location, text: &str) -> Result<Url> {
    let bad = |why: &str| {
        let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
        Error::invalid(location, format!("endpoint `{shown}`: {why}"))
    };
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or_else(|| bad("it must begin with http:// or https:// and name a host"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("a user or password does not belong in it"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it must end with its host, port or path"));
    }
    Ok(url)
}

/// Refuses plain HTTP to another machine: an eavesdropper could use a bearer token like a password.
fn tls_or_here(location: &Location, url: &Url) -> Result<()> {
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    match here || url.scheme() == "https" {
        true => Ok(()),
        false => Err(Error::invalid(
            location,
            format!("{url} has no TLS, so others could read your token: use https://, or add anonymous=true for an emulator"),
        )),
    }
}

/// The project that a service account's file names.
fn project_of(file: &std::path::Path) -> Option<String> {
    let json: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    ["project_id", "quota_project_id"].iter().find_map(|name| json[*name].as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(url: &str, env: &[(&str, &str)]) -> Result<GcsSettings> {
        let find = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        GcsSettings::from(&Location::parse(url).unwrap(), find)
    }

    #[test]
    fn the_url_comes_before_the_variables() {
        let plain = load("gs://acme/p", &[]).unwrap();
        assert_eq!((plain.endpoint.as_str(), plain.control, plain.source), (GOOGLE, None, TokenSource::Default));
        let emulator = [("STORAGE_EMULATOR_HOST", "127.0.0.1:9"), ("GOOGLE_CLOUD_PROJECT", "acme-1")];
        let by_env = load("gs://acme/p", &emulator).unwrap();
        assert_eq!((by_env.endpoint.as_str(), by_env.source.clone()), ("http://127.0.0.1:9", TokenSource::Anonymous));
        assert_eq!((by_env.control.as_deref(), by_env.project.as_deref()), (Some("http://127.0.0.1:9"), Some("acme-1")));
        let grpc = load("gs://acme", &[emulator[0], ("STORAGE_EMULATOR_HOST_GRPC", "127.0.0.1:8")]).unwrap();
        assert_eq!(grpc.control.as_deref(), Some("http://127.0.0.1:8"));
        let own = load("gs://acme?endpoint=https://p.example/&control_endpoint=https://c.example&credentials=k.json", &emulator).unwrap();
        assert_eq!((own.endpoint.as_str(), own.control.as_deref()), ("https://p.example", Some("https://c.example")));
        assert_eq!(own.source, TokenSource::File("k.json".into()));
        assert!(own.is_https() && !by_env.is_https());
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (url, word) in [
            ("gs://acme?region=x", "region"),
            ("gs://acme?anonymous=yes", "anonymous"),
            ("gs://acme?anonymous=true&credentials=f", "not both"),
            ("gs://acme?endpoint=storage.example", "http://"),
            ("gs://acme?endpoint=http://storage.example", "TLS"),
            ("gs://acme?control_endpoint=http://storage.example", "TLS"),
            ("gs://acme?endpoint=https://key:hush@p.example", "password"),
            ("gs://Acme", "lower-case"),
            ("gs://a", "lower-case"),
        ] {
            let error = load(url, &[]).unwrap_err();
            assert_eq!(error.kind, crate::contract::error::ErrorKind::Invalid, "{error}");
            assert!(error.to_string().contains(word) && !error.to_string().contains("hush"), "{error}");
        }
        assert!(load("gs://acme?endpoint=http://127.0.0.1:1", &[]).is_ok(), "this machine");
        assert!(load("gs://acme?endpoint=http://fake.example&anonymous=true", &[]).is_ok(), "no token to lose");
    }
}
