//! The services that OpenDAL reaches, and what a URL of each may say.
//!
//! Owns the table, which every build has: a build without some of the services says which build has them.
#![cfg_attr(not(feature = "webdav-azure"), allow(dead_code))]

/// What the host of a service's URL is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostIs {
    /// The server.
    Endpoint,
    /// This setting.
    Setting(&'static str),
    /// The first directory of the path.
    Directory,
}

/// The name and settings of a service, by OpenDAL's names.
#[derive(Debug)]
pub(super) struct OpendalService {
    pub scheme: &'static str,
    pub host: HostIs,
    /// The endpoint if none is given; `*` is the account. Empty: the service has one endpoint, which OpenDAL knows.
    pub endpoint: Option<&'static str>,
    pub settings: &'static [&'static str],
    pub secrets: &'static [&'static str],
    /// A directory must be made before files in it, and a name is either a file's or a directory's.
    pub is_tree: bool,
}

const AZURE: (&[&str], &[&str]) = (&["endpoint", "account_name"], &["account_key", "sas_token"]);
const OAUTH: (&[&str], &[&str]) = (&["client_id"], &["access_token", "refresh_token", "client_secret"]);

const fn service(
    scheme: &'static str,
    host: HostIs,
    endpoint: Option<&'static str>,
    (settings, secrets): (&'static [&'static str], &'static [&'static str]),
    is_tree: bool,
) -> OpendalService {
    OpendalService { scheme, host, endpoint, settings, secrets, is_tree }
}

/// Tests run `azblob` and `webdav` against servers. Of the others they only check that a URL can make them.
pub(super) static SERVICES: [OpendalService; 13] = [
    service("azblob", HostIs::Setting("container"), Some("https://*.blob.core.windows.net"), AZURE, false),
    service("azdls", HostIs::Setting("filesystem"), Some("https://*.dfs.core.windows.net"), AZURE, true),
    service("azfile", HostIs::Setting("share_name"), Some("https://*.file.core.windows.net"), AZURE, true),
    service("cos", HostIs::Setting("bucket"), None, (&["endpoint"], &["secret_id", "secret_key", "security_token"]), false),
    service("dropbox", HostIs::Directory, Some(""), OAUTH, true),
    service("gdrive", HostIs::Directory, Some(""), OAUTH, true),
    service("obs", HostIs::Setting("bucket"), None, (&["endpoint"], &["access_key_id", "secret_access_key"]), false),
    service("onedrive", HostIs::Directory, Some(""), OAUTH, true),
    service("oss", HostIs::Setting("bucket"), None, (&["endpoint"], &["access_key_id", "access_key_secret", "security_token"]), false),
    service("pcloud", HostIs::Directory, Some("https://api.pcloud.com"), (&["endpoint", "username"], &["password"]), true),
    service("swift", HostIs::Setting("container"), None, (&["endpoint"], &["token"]), false),
    service("upyun", HostIs::Setting("bucket"), Some(""), (&["operator"], &["password"]), true),
    service("webdav", HostIs::Endpoint, None, (&["endpoint", "username"], &["password", "token"]), true),
];

/// The schemes that tests run against servers. The usual build has them.
pub(crate) static USUAL: [&str; 2] = ["azblob", "webdav"];

/// The schemes of the others.
pub(crate) static MORE: [&str; 11] = ["azdls", "azfile", "cos", "dropbox", "gdrive", "obs", "onedrive", "oss", "pcloud", "swift", "upyun"];

/// A setting of offsite: credentials may be sent over a network without TLS.
pub(super) const PLAIN: &str = "plain_http";

/// Names that the query of a URL with this scheme may have.
pub(crate) fn settings(scheme: &str) -> Vec<&'static str> {
    find(scheme).map_or_else(Vec::new, |service| [service.settings, &[PLAIN]].concat())
}

/// The variables that a service reads.
pub(crate) fn variables(scheme: &str) -> Vec<String> {
    let names = |service: &OpendalService| service.settings.iter().chain(service.secrets).map(|name| variable(scheme, name)).collect();
    find(scheme).map_or_else(Vec::new, names)
}

pub(super) fn variable(scheme: &str, name: &str) -> String {
    format!("OFFSITE_{}_{}", scheme.to_uppercase(), name.to_uppercase())
}

pub(super) fn find(scheme: &str) -> Option<&'static OpendalService> {
    SERVICES.iter().find(|service| service.scheme == scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemes_are_those_of_the_services() {
        let mut schemes = [&USUAL[..], &MORE].concat();
        schemes.sort_unstable();
        assert_eq!(SERVICES.each_ref().map(|service| service.scheme)[..], schemes);
    }
}
