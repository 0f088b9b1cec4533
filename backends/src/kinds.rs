//! The table of store kinds: one row each.
//!
//! Owns what is known of a kind of store before one is opened: its schemes, how it is opened, what its URL and the
//! environment may say, what it costs, when two of its URLs are one destination, and where it is described. Code that
//! needs to know something about a scheme asks this table. A new store is one folder and one row (docs/add-a-store.md).

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::contract::backend::Backend;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::location::{DIRECTORY, Location};
use crate::opendal::services;
use crate::{b2, file, gcs, s3, sftp};

/// Opens a destination. Changes nothing, and reads no credentials yet if the store's own chain can do that later.
pub type OpenBackend = fn(Location) -> BoxFuture<'static, Result<Arc<dyn Backend>>>;

/// The permissions of a host that writes and never deletes; see [`StoreKind::writer_policy`].
pub type WriterPolicy = fn(&Location, &[&str]) -> Result<String>;

/// Looks up an environment variable by its name.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the part of a URL between `scheme://` and the first slash is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Empty: the destination is a directory on this machine.
    None,
    /// The name of a bucket. Only a key could stand before it, and a key is refused.
    Bucket,
    /// An account at a server, `user@host:port`. All accounts see the same files, except below a home directory.
    Account,
    /// Whatever the service makes of it.
    Other,
}

/// Who has to grant a right that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The rights on this machine.
    Here,
    /// A login at a server, and the rights there.
    Login,
    /// The credentials and their rights.
    Credentials,
}

/// What writing to a destination costs, as rows of the price table (`data/prices.json`).
#[derive(Debug, Clone, Copy)]
pub struct Price {
    /// The row if the destination has no endpoint.
    pub own: Option<&'static str>,
    /// Rows for destinations with an endpoint: the end of the server's name, and its row.
    pub servers: &'static [(&'static str, &'static str)],
}

/// One kind of store.
#[derive(Clone, Copy)]
pub struct StoreKind {
    /// The schemes of its URLs.
    pub schemes: &'static [&'static str],
    /// Names that other programs use, each with the scheme it stands for.
    pub aliases: &'static [(&'static str, &'static str)],
    /// The text by which messages name what can be opened; if empty, they name the schemes.
    pub shown: &'static str,
    /// Opens a destination; `None` if this build cannot.
    pub open: Option<OpenBackend>,
    /// What stands before the path in a URL.
    pub host: Host,
    /// Names that the query of a URL with this scheme may have.
    pub settings: fn(&str) -> Vec<&'static str>,
    /// Environment variables by which a destination with this scheme is found and opened. A schedule needs them too.
    pub variables: fn(&str) -> Vec<String>,
    /// Those of the variables that name the server if the URL has no `endpoint`. The first that is set counts.
    pub endpoints: &'static [&'static str],
    /// Whether this server is the one that a URL without an endpoint means.
    pub is_own: fn(&str) -> bool,
    /// What writing costs.
    pub price: Price,
    /// Who has to grant a right that was refused.
    pub access: Access,
    /// The permissions of a host that writes and never deletes: a policy, or commands that grant them.
    /// Takes the beginnings of names below the prefix that are written once and never replaced.
    pub writer_policy: Option<WriterPolicy>,
    /// The page that describes it.
    pub docs: &'static str,
}

/// The base of a row: a kind that costs nothing, has no settings and reads no variables.
pub const PLAIN: StoreKind = StoreKind {
    schemes: &[],
    aliases: &[],
    shown: "",
    open: None,
    host: Host::Other,
    settings: |_| Vec::new(),
    variables: |_| Vec::new(),
    endpoints: &[],
    is_own: |_| false,
    price: Price { own: None, servers: &[] },
    access: Access::Credentials,
    writer_policy: None,
    docs: "",
};

/// All kinds, in the order in which messages name them.
pub static KINDS: &[StoreKind] = &[
    StoreKind {
        schemes: &[DIRECTORY],
        aliases: &[("local", DIRECTORY)],
        shown: "directories (a path or file://)",
        open: Some(|location| async { Ok(opened(file::FileBackend::open(location)?)) }.boxed()),
        host: Host::None,
        access: Access::Here,
        docs: "docs/stores.md",
        ..PLAIN
    },
    StoreKind {
        schemes: &["s3"],
        aliases: &[("s3a", "s3"), ("s3n", "s3"), ("aws", "s3"), ("minio", "s3")],
        open: Some(|location| async { Ok(opened(s3::S3Backend::open(location).await?)) }.boxed()),
        host: Host::Bucket,
        settings: |_| s3::SETTINGS.to_vec(),
        variables: |_| {
            named(&[
                "AWS_ACCESS_KEY_ID",
                "AWS_ENDPOINT_URL",
                "AWS_ENDPOINT_URL_S3",
                "AWS_PROFILE",
                "AWS_SECRET_ACCESS_KEY",
                "AWS_SESSION_TOKEN",
            ])
        },
        endpoints: &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
        is_own: |server| server.starts_with("s3") && server.ends_with(".amazonaws.com"),
        price: Price {
            own: Some("aws/s3-standard"),
            servers: &[
                (".amazonaws.com", "aws/s3-standard"),
                (".r2.cloudflarestorage.com", "cloudflare/r2"),
                (".backblazeb2.com", "backblaze/b2"),
                (".wasabisys.com", "wasabi"),
                ("storage.googleapis.com", "gcs/standard"),
            ],
        },
        writer_policy: Some(s3::writer_policy),
        docs: "docs/s3.md",
        ..PLAIN
    },
    StoreKind {
        schemes: &["gs"],
        aliases: &[("gcs", "gs"), ("google", "gs"), ("googlestorage", "gs")],
        open: Some(|location| async { Ok(opened(gcs::GcsBackend::open(location)?)) }.boxed()),
        host: Host::Bucket,
        settings: |_| gcs::SETTINGS.to_vec(),
        variables: |_| {
            named(&["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "STORAGE_EMULATOR_HOST", "STORAGE_EMULATOR_HOST_GRPC"])
        },
        price: Price { own: Some("gcs/standard"), ..PLAIN.price },
        writer_policy: Some(gcs::writer_policy),
        docs: "docs/gcs.md",
        ..PLAIN
    },
    StoreKind {
        schemes: &["b2"],
        aliases: &[("backblaze", "b2")],
        open: Some(|location| async { Ok(opened(b2::B2Backend::open(location)?)) }.boxed()),
        host: Host::Bucket,
        settings: |_| b2::SETTINGS.to_vec(),
        variables: |_| named(&["B2_APPLICATION_KEY", "B2_APPLICATION_KEY_ID", "B2_ENVIRONMENT"]),
        price: Price { own: Some("backblaze/b2"), ..PLAIN.price },
        writer_policy: Some(b2::writer_policy),
        docs: "docs/b2.md",
        ..PLAIN
    },
    StoreKind {
        schemes: &["sftp"],
        aliases: &[("ssh", "sftp"), ("scp", "sftp")],
        open: Some(|location| async { Ok(opened(sftp::SftpBackend::open(location)?)) }.boxed()),
        host: Host::Account,
        settings: |_| sftp::SETTINGS.to_vec(),
        variables: |_| named(&["SSH_AUTH_SOCK"]),
        access: Access::Login,
        docs: "docs/sftp.md",
        ..PLAIN
    },
    StoreKind {
        schemes: &services::USUAL,
        aliases: &[
            ("dav", "webdav"),
            ("davs", "webdav"),
            ("webdavs", "webdav"),
            ("http", "webdav"),
            ("https", "webdav"),
            ("az", "azblob"),
            ("azure", "azblob"),
            ("wasb", "azblob"),
        ],
        #[cfg(feature = "webdav-azure")]
        open: Some(opendal),
        #[cfg(not(feature = "webdav-azure"))]
        shown: "webdav:// and azblob:// are in a build with `cargo build --release` (see docs/opendal.md)",
        settings: services::settings,
        variables: services::variables,
        docs: "docs/opendal.md",
        ..PLAIN
    },
    StoreKind {
        schemes: &services::MORE,
        aliases: &[("drive", "gdrive")],
        #[cfg(feature = "opendal")]
        open: Some(opendal),
        #[cfg(not(feature = "opendal"))]
        shown: "dropbox://, gdrive:// and others are in a build with `cargo build --release --features opendal` (see docs/opendal.md)",
        settings: services::settings,
        variables: services::variables,
        docs: "docs/opendal.md",
        ..PLAIN
    },
];

fn opened(backend: impl Backend + 'static) -> Arc<dyn Backend> {
    Arc::new(backend)
}

#[cfg(feature = "webdav-azure")]
fn opendal(location: Location) -> BoxFuture<'static, Result<Arc<dyn Backend>>> {
    async { Ok(opened(crate::opendal::OpendalBackend::open(location)?)) }.boxed()
}

fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The row of a scheme; `None` if no build knows it.
///
/// # Examples
///
/// ```
/// use offsite_backends::kinds::{self, Host};
///
/// let kind = kinds::of("s3").ok_or("no store has this scheme")?;
/// assert_eq!((kind.host, kind.docs), (Host::Bucket, "docs/s3.md"));
/// assert!((kind.settings)("s3").contains(&"region"));
/// assert!(kinds::of("gopher").is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn of(scheme: &str) -> Option<&'static StoreKind> {
    KINDS.iter().find(|kind| kind.schemes.contains(&scheme))
}

/// All schemes that some build can open.
pub fn schemes() -> impl Iterator<Item = &'static str> {
    KINDS.iter().flat_map(|kind| kind.schemes).copied()
}

/// The scheme with this name or alias, which is in lower case.
pub(crate) fn scheme_named(name: &str) -> Option<&'static str> {
    let aliases = || KINDS.iter().flat_map(|kind| kind.aliases);
    schemes().find(|scheme| *scheme == name).or_else(|| aliases().find(|(alias, _)| *alias == name).map(|(_, scheme)| *scheme))
}

/// Whether other programs write this name and a colon before a bucket or host. Then it is no user name.
pub(crate) fn stands_before_a_place(name: &str) -> bool {
    KINDS.iter().any(|kind| match kind.host {
        Host::Bucket => kind.schemes.contains(&name),
        Host::Account => kind.schemes.contains(&name) || kind.aliases.iter().any(|(alias, _)| *alias == name),
        Host::None | Host::Other => false,
    })
}

/// Who has to grant a right that was refused at a destination with this scheme.
pub fn access(scheme: &str) -> Access {
    of(scheme).map_or(Access::Credentials, |kind| kind.access)
}

/// The permissions of a host that writes to a destination and never deletes there: a policy, or commands that grant
/// them. Names below the prefix that begin with one of `once` are never replaced. Makes no request.
///
/// # Errors
/// [`ErrorKind::Unsupported`] if the store has no such rights; [`ErrorKind::Invalid`] if they cannot name the prefix.
pub fn writer_policy(location: &Location, once: &[&str]) -> Result<String> {
    match of(location.scheme()).and_then(|kind| kind.writer_policy) {
        Some(policy) => policy(location, once),
        None => {
            let what = "offsite knows no rights for writing without deleting there; anyone who may write there may most often delete";
            Err(Error::new(ErrorKind::Unsupported, location, what))
        }
    }
}

/// The environment variables by which a destination is found and opened.
pub fn variables(location: &Location) -> Vec<String> {
    of(location.scheme()).map_or_else(Vec::new, |kind| (kind.variables)(location.scheme()))
}

/// Whether this variable names a server for URLs that do not.
pub fn is_endpoint(name: &str) -> bool {
    KINDS.iter().any(|kind| kind.endpoints.contains(&name))
}

/// The row of the price table for a destination; `None` for a directory or a server of the user's own.
pub fn price(location: &Location, env: Env<'_>) -> Option<&'static str> {
    let kind = of(location.scheme())?;
    let Some(server) = endpoint(kind, location, env) else { return kind.price.own };
    let host = server.split("://").last().unwrap_or(&server).split(['/', ':']).next().unwrap_or_default();
    kind.price.servers.iter().find(|(end, _)| host.ends_with(end)).map(|(_, row)| *row)
}

/// The endpoint of a destination: from its URL, else from a variable.
fn endpoint(kind: &StoreKind, location: &Location, env: Env<'_>) -> Option<String> {
    let set = |name: &&str| env(name).filter(|value| !value.is_empty());
    location.settings().get("endpoint").cloned().or_else(|| kind.endpoints.iter().find_map(set))
}

/// The normal form of a location: the server with its bucket or account, and the names on the path below that. If the
/// parts of one begin with all parts of the other, both are one destination, or one lies in the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// Scheme, endpoint and host: `scheme://endpoint/host`.
    pub server: String,
    /// The components of the path, from the top down.
    pub parts: Vec<Vec<u8>>,
}

impl Spot {
    /// Whether both are one destination, or one lies in the other.
    pub fn meets(&self, other: &Self) -> bool {
        self.server == other.server && self.parts.iter().zip(&other.parts).all(|(a, b)| a == b)
    }
}

/// The normal form of a location, however its URL is written. The path of a directory is not resolved.
pub fn spot(location: &Location, env: Env<'_>) -> Spot {
    let scheme = location.scheme();
    let kind = of(scheme).unwrap_or(&PLAIN);
    let parts: Vec<_> = location.path().split(|c| *c == b'/').filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect();
    let (host, parts) = match kind.host {
        Host::Account => {
            let (user, server) = location.host().rsplit_once('@').unwrap_or(("", location.host()));
            let parts = walked(parts);
            // Each account has a home of its own; everything else is the same for all.
            let user = if parts.first().is_some_and(|part| part == b"~") { user } else { "" };
            let server = server.to_lowercase();
            (format!("{user}@{}", server.strip_suffix(":22").unwrap_or(&server)), parts)
        }
        Host::None | Host::Bucket | Host::Other => (location.host().to_owned(), parts),
    };
    let server = endpoint(kind, location, env).map(|url| server_of(&url)).filter(|server| !(kind.is_own)(server));
    Spot { server: format!("{scheme}://{}/{host}", server.unwrap_or_default()), parts }
}

/// The path at a server with `.` and `..` resolved.
fn walked(parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    for part in parts {
        match part.as_slice() {
            b"." => {}
            b".." => drop(out.pop()),
            _ => out.push(part),
        }
    }
    out
}

/// The server of an endpoint: its name in lower case, its port if it is not the usual one, and its path.
fn server_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let usual = if scheme.eq_ignore_ascii_case("http") { ":80" } else { ":443" };
    let host = host.to_lowercase();
    let host = host.strip_suffix(usual).unwrap_or(&host);
    format!("{host}/{path}").trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_has_one_row() {
        let mut all: Vec<_> = schemes().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        for (alias, scheme) in KINDS.iter().flat_map(|kind| kind.aliases) {
            assert!(of(scheme).is_some() && of(alias).is_none(), "{alias}");
        }
    }

    #[test]
    fn a_price_is_found_by_the_server() {
        let price_of = |url: &str, elsewhere: Option<&str>| {
            let env = |name: &str| elsewhere.filter(|_| name == "AWS_ENDPOINT_URL").map(str::to_owned);
            price(&Location::parse(url).unwrap(), &env)
        };
        assert_eq!(price_of("s3://a/b", None), Some("aws/s3-standard"));
        assert_eq!(price_of("s3://a/b", Some("https://x.r2.cloudflarestorage.com")), Some("cloudflare/r2"));
        assert_eq!(price_of("s3://a/b?endpoint=https://s3.eu-central-1.wasabisys.com:443/", None), Some("wasabi"));
        assert_eq!(price_of("s3://a/b?endpoint=http://127.0.0.1:8333", None), None);
        assert_eq!([price_of("gs://a", None), price_of("b2://a", None)], [Some("gcs/standard"), Some("backblaze/b2")]);
        assert_eq!(price_of("gs://a?endpoint=http://127.0.0.1:1", Some("https://x.wasabisys.com")), None);
        assert_eq!([price_of("/mnt/x", None), price_of("sftp://nas/x", None)], [None, None]);
    }

    #[test]
    fn each_place_names_the_variables_that_it_needs() {
        let of = |url: &str| variables(&Location::parse(url).unwrap());
        assert!(of("b2://a/x").contains(&"B2_APPLICATION_KEY".to_owned()));
        assert!(of("gs://a/x").contains(&"GOOGLE_APPLICATION_CREDENTIALS".to_owned()));
        assert_eq!(of("sftp://nas/x"), ["SSH_AUTH_SOCK"]);
        assert!(of("webdav://nas/x").contains(&"OFFSITE_WEBDAV_PASSWORD".to_owned()));
        assert!(of("/mnt/x").is_empty());
        for name in KINDS.iter().flat_map(|kind| kind.endpoints) {
            assert!(of("s3://a").contains(&(*name).to_owned()) && is_endpoint(name), "{name}");
        }
    }
}
