//! The table of store kinds: one row each.
//!
//! Owns everything that is known of a kind of store before one is opened: its schemes, how it is opened, what its URL and
//! the environment may say, what it costs, when two of its URLs are one place, and where it is described. Whoever asks a
//! question by scheme asks this table. A new store is one folder and one row (docs/add-a-store.md).

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::contract::backend::Backend;
use crate::contract::error::Result;
use crate::contract::location::{DIRECTORY, Location};
use crate::opendal::services;
use crate::{b2, file, gcs, s3, sftp};

/// Opens a place. Reads no credential yet where the store's own chain can do that later; touches nothing.
pub type OpenBackend = fn(Location) -> BoxFuture<'static, Result<Arc<dyn Backend>>>;

/// A lookup of variables of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What stands between `scheme://` and the first slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Nothing: the place is a directory of this machine.
    None,
    /// The name of a bucket; in front of it nothing can stand but a key, which is refused.
    Bucket,
    /// An account at a server, `user@host:port`. The server is one place, whoever logs in, but for what lies in a home.
    Account,
    /// What the service makes of it.
    Other,
}

/// Who has to allow what was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Rights on this machine.
    Here,
    /// A login at a server, and the rights there.
    Login,
    /// Credentials, and what they may do.
    Credentials,
}

/// What writing there costs: rows of the price table (`data/prices.json`).
#[derive(Debug, Clone, Copy)]
pub struct Price {
    /// Without an endpoint.
    pub own: Option<&'static str>,
    /// With one: the ends of servers' names, and their rows.
    pub servers: &'static [(&'static str, &'static str)],
}

/// One kind of store.
#[derive(Clone, Copy)]
pub struct StoreKind {
    /// The schemes of its URLs.
    pub schemes: &'static [&'static str],
    /// What other programs call it, and the scheme that is meant.
    pub aliases: &'static [(&'static str, &'static str)],
    /// How messages name what can be opened; empty for its schemes.
    pub shown: &'static str,
    /// Opens one; none where this build cannot.
    pub open: Option<OpenBackend>,
    /// What stands in a URL before the path.
    pub host: Host,
    /// What may stand in the query of a URL with this scheme.
    pub settings: fn(&str) -> Vec<&'static str>,
    /// Variables that a place with this scheme is found and opened by; a schedule needs them too.
    pub variables: fn(&str) -> Vec<String>,
    /// Those of them that name the server where the URL has no `endpoint`; the first that is set counts.
    pub endpoints: &'static [&'static str],
    /// Whether a server is the one that is meant where none is named.
    pub is_own: fn(&str) -> bool,
    pub price: Price,
    pub access: Access,
    /// The page that describes it.
    pub docs: &'static str,
}

/// A row to begin with: a kind that costs nothing and reads nothing.
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
    docs: "",
};

/// All kinds, in the order in which messages name them.
pub static KINDS: &[StoreKind] = &[
    StoreKind {
        schemes: &[DIRECTORY],
        aliases: &[("local", DIRECTORY)],
        shown: "directories (a path or file://)",
        open: Some(|location| async { opened(file::FileBackend::open(location)?) }.boxed()),
        host: Host::None,
        access: Access::Here,
        docs: "docs/stores.md",
        ..PLAIN
    },
    StoreKind {
        schemes: &["s3"],
        aliases: &[("s3a", "s3"), ("s3n", "s3"), ("aws", "s3"), ("minio", "s3")],
        open: Some(|location| async { opened(s3::S3Backend::open(location).await?) }.boxed()),
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
        docs: "docs/s3.md",
        ..PLAIN
    },
    StoreKind {
        schemes: &["gs"],
        aliases: &[("gcs", "gs"), ("google", "gs"), ("googlestorage", "gs")],
        open: Some(|location| async { opened(gcs::GcsBackend::open(location)?) }.boxed()),
        host: Host::Bucket,
        settings: |_| gcs::SETTINGS.to_vec(),
        variables: |_| {
            named(&["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "STORAGE_EMULATOR_HOST", "STORAGE_EMULATOR_HOST_GRPC"])
        },
        price: Price { own: Some("gcs/standard"), ..PLAIN.price },
        docs: "docs/gcs.md",
        ..PLAIN
    },
    StoreKind {
        schemes: &["b2"],
        aliases: &[("backblaze", "b2")],
        open: Some(|location| async { opened(b2::B2Backend::open(location)?) }.boxed()),
        host: Host::Bucket,
        settings: |_| b2::SETTINGS.to_vec(),
        variables: |_| named(&["B2_APPLICATION_KEY", "B2_APPLICATION_KEY_ID", "B2_ENVIRONMENT"]),
        price: Price { own: Some("backblaze/b2"), ..PLAIN.price },
        docs: "docs/b2.md",
        ..PLAIN
    },
    StoreKind {
        schemes: &["sftp"],
        aliases: &[("ssh", "sftp"), ("scp", "sftp")],
        open: Some(|location| async { opened(sftp::SftpBackend::open(location)?) }.boxed()),
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

fn opened(backend: impl Backend + 'static) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(backend))
}

#[cfg(feature = "webdav-azure")]
fn opendal(location: Location) -> BoxFuture<'static, Result<Arc<dyn Backend>>> {
    async { opened(crate::opendal::OpendalBackend::open(location)?) }.boxed()
}

fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The row of a scheme.
pub fn of(scheme: &str) -> Option<&'static StoreKind> {
    KINDS.iter().find(|kind| kind.schemes.contains(&scheme))
}

/// Every scheme that a build may speak.
pub fn schemes() -> impl Iterator<Item = &'static str> {
    KINDS.iter().flat_map(|kind| kind.schemes).copied()
}

/// The scheme of that name, its own or one that another program has for it; in small letters.
pub(crate) fn scheme_named(name: &str) -> Option<&'static str> {
    let aliases = || KINDS.iter().flat_map(|kind| kind.aliases);
    schemes().find(|scheme| *scheme == name).or_else(|| aliases().find(|(alias, _)| *alias == name).map(|(_, scheme)| *scheme))
}

/// Whether other programs write this name and a colon before a bucket or a host, so that it is no user's.
pub(crate) fn stands_before_a_place(name: &str) -> bool {
    KINDS.iter().any(|kind| match kind.host {
        Host::Bucket => kind.schemes.contains(&name),
        Host::Account => kind.schemes.contains(&name) || kind.aliases.iter().any(|(alias, _)| *alias == name),
        Host::None | Host::Other => false,
    })
}

/// Who has to allow what was refused at a place with this scheme.
pub fn access(scheme: &str) -> Access {
    of(scheme).map_or(Access::Credentials, |kind| kind.access)
}

/// The variables of the environment by which a place is found and opened.
pub fn variables(location: &Location) -> Vec<String> {
    of(location.scheme()).map_or_else(Vec::new, |kind| (kind.variables)(location.scheme()))
}

/// Whether this variable names a server where a URL does not.
pub fn is_endpoint(name: &str) -> bool {
    KINDS.iter().any(|kind| kind.endpoints.contains(&name))
}

/// The row of the price table for a place; none for a directory or a server of the user's own.
pub fn price(location: &Location, env: Env<'_>) -> Option<&'static str> {
    let kind = of(location.scheme())?;
    let Some(server) = endpoint(kind, location, env) else { return kind.price.own };
    let host = server.split("://").last().unwrap_or(&server).split(['/', ':']).next().unwrap_or_default();
    kind.price.servers.iter().find(|(end, _)| host.ends_with(end)).map(|(_, row)| *row)
}

/// The endpoint of a place: its URL's, else that of a variable.
fn endpoint(kind: &StoreKind, location: &Location, env: Env<'_>) -> Option<String> {
    let set = |name: &&str| env(name).filter(|value| !value.is_empty());
    location.settings().get("endpoint").cloned().or_else(|| kind.endpoints.iter().find_map(set))
}

/// A place in the one way to write it: the server and what is there, and the names on the way down from that. Two places
/// are one, or one in the other, if these begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    pub server: String,
    pub parts: Vec<Vec<u8>>,
}

impl Spot {
    /// Whether both are one place, or one lies in the other.
    pub fn meets(&self, other: &Self) -> bool {
        self.server == other.server && self.parts.iter().zip(&other.parts).all(|(a, b)| a == b)
    }
}

/// Where a place is, however its URL is written. Of a directory the path is taken as it stands.
pub fn spot(location: &Location, env: Env<'_>) -> Spot {
    let scheme = location.scheme();
    let kind = of(scheme).unwrap_or(&PLAIN);
    let parts: Vec<_> = location.path().split(|c| *c == b'/').filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect();
    let (host, parts) = match kind.host {
        Host::Account => {
            let (user, server) = location.host().rsplit_once('@').unwrap_or(("", location.host()));
            let parts = walked(parts);
            // Each account has a home of its own; all else is the same to all.
            let user = if parts.first().is_some_and(|part| part == b"~") { user } else { "" };
            let server = server.to_lowercase();
            (format!("{user}@{}", server.strip_suffix(":22").unwrap_or(&server)), parts)
        }
        Host::None | Host::Bucket | Host::Other => (location.host().to_owned(), parts),
    };
    let server = endpoint(kind, location, env).map(|url| server_of(&url)).filter(|server| !(kind.is_own)(server));
    Spot { server: format!("{scheme}://{}/{host}", server.unwrap_or_default()), parts }
}

/// A path of a server's, `.` and `..` followed.
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

/// The server of an endpoint: its name in small letters, and its port where it is not the usual one.
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
