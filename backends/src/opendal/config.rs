//! A service made from a URL.
//!
//! Owns the meaning of a URL's parts: the scheme names the service, the host its container (for WebDAV the server, with
//! the user before an `@`), the path the prefix, the query the rest. Secrets come only from variables,
//! `OFFSITE_<SCHEME>_<SETTING>`. Invariants: no secret gets into a [`Location`] or an error; none is sent to another
//! machine without TLS unless the user allows it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use opendal::layers::RetryLayer;
use opendal::{HttpTransporter, Operator};
use url::{Host, Url};

use super::services::{HostIs, OpendalService, PLAIN, find, variable};
use super::wire::MeteredTransport;
use crate::contract::error::{self, Error, Result};
use crate::contract::location::Location;
use crate::wire::probe::Probe;

/// The service that a URL describes.
pub(super) struct Made {
    /// The service, rooted at the prefix.
    pub rooted: Operator,
    /// The same, rooted at its top.
    pub top: Operator,
    /// Which server it is, as far as the settings say.
    pub server: String,
    pub service: &'static OpendalService,
    /// Whether the server itself can copy. Azure must be allowed to read the source of a copy, which takes the
    /// account's key.
    pub copies: bool,
}

/// Makes the service of a URL. Sends nothing.
pub(super) fn make(location: &Location, probe: &Arc<Probe>) -> Result<Made> {
    let service = find(location.scheme()).ok_or_else(|| Error::invalid(location, "no such service"))?;
    let prefix = location.prefix()?;
    if prefix.as_ref().split('/').any(|part| part.trim() != part || part.ends_with('.')) {
        return Err(Error::invalid(location, "the store would change this prefix"));
    }
    let mut settings = settings(location, service, |name| std::env::var(name).ok())?;
    let dir = if service.host == HostIs::Directory { format!("/{}", location.host()) } else { String::new() };
    if service.scheme == "webdav" {
        // `dirs.rs` remembers which directories exist; OpenDAL would ask before every write.
        settings.insert("disable_create_dir".to_owned(), "true".to_owned());
    }
    let https = settings.get("endpoint").is_none_or(|endpoint| endpoint.starts_with("https://"));
    let server = settings.get("endpoint").cloned().unwrap_or_default();
    let copies = !service.secrets.contains(&"account_key") || settings.contains_key("account_key");
    opendal::init_default_registry();
    let build = |root: String| {
        let all = settings.clone().into_iter().chain([("root".to_owned(), root)]);
        let operator = Operator::via_iter(service.scheme, all).map_err(|e| Error::invalid(location, e.message()))?;
        let transport = MeteredTransport::new(probe.clone(), https).map_err(|e| Error::invalid(location, error::chain(&e)))?;
        let retry = RetryLayer::new().with_max_times(7).with_min_delay(Duration::from_millis(100)).with_max_delay(Duration::from_secs(10));
        let context = operator.context().with_http_transport(HttpTransporter::new(transport));
        Ok(operator.with_context(context).layer(retry.with_jitter()))
    };
    Ok(Made { rooted: build(format!("{dir}/{prefix}"))?, top: build(format!("{dir}/"))?, server, service, copies })
}

/// The settings of a service as OpenDAL takes them: from the URL, then from variables, then derived ones.
fn settings(location: &Location, service: &OpendalService, env: impl Fn(&str) -> Option<String>) -> Result<HashMap<String, String>> {
    let scheme = service.scheme;
    let mut settings = HashMap::new();
    for (name, value) in location.settings() {
        let name = name.as_str();
        if service.secrets.contains(&name) {
            let message =
                format!("`{name}` does not belong in a URL (it shows in `ps` and in logs); set {} instead", variable(scheme, name));
            return Err(Error::invalid(location, message));
        }
        if name != PLAIN && !service.settings.contains(&name) {
            let known = [service.settings, &[PLAIN]].concat().join(", ");
            return Err(Error::invalid(location, format!("no setting `{name}`; the settings are {known}")));
        }
        settings.insert(name.to_owned(), value.clone());
    }
    let plain = match settings.remove(PLAIN).as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(Error::invalid(location, format!("{PLAIN} is `true` or `false`, not `{other}`"))),
    };
    let (user, host) = location.host().split_once('@').map_or((None, location.host()), |(user, host)| (Some(user), host));
    if let Some(user) = user {
        if !service.settings.contains(&"username") {
            return Err(Error::invalid(location, "this URL cannot have a user"));
        }
        settings.insert("username".to_owned(), user.to_owned());
    }
    for name in service.settings.iter().chain(service.secrets) {
        if let Some(value) = env(&variable(scheme, name)).filter(|value| !value.is_empty()) {
            settings.entry((*name).to_owned()).or_insert(value);
        }
    }
    match service.host {
        HostIs::Endpoint => drop(settings.entry("endpoint".to_owned()).or_insert_with(|| format!("https://{host}"))),
        HostIs::Setting(name) => drop(settings.entry(name.to_owned()).or_insert_with(|| host.to_owned())),
        HostIs::Directory => {}
    }
    if !settings.contains_key("endpoint")
        && let Some(place) = service.endpoint
    {
        if place.is_empty() {
            return Ok(settings);
        }
        if let Some(account) = settings.get("account_name").filter(|_| place.contains('*')) {
            let endpoint = place.replace('*', account);
            settings.insert("endpoint".to_owned(), endpoint);
        } else if !place.contains('*') {
            settings.insert("endpoint".to_owned(), place.to_owned());
        }
    }
    check_endpoint(location, service.settings, settings.get("endpoint").map(String::as_str), plain)?;
    Ok(settings)
}

fn check_endpoint(location: &Location, known: &[&str], endpoint: Option<&str>, plain: bool) -> Result<()> {
    let Some(text) = endpoint else {
        let wants = if known.contains(&"account_name") { "`account_name` or `endpoint`" } else { "`endpoint`" };
        return Err(Error::invalid(location, format!("it takes {wants} in the URL's query, or as a variable")));
    };
    let bad = |why: &str| {
        let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
        Error::invalid(location, format!("endpoint `{shown}`: {why}"))
    };
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or_else(|| bad("it must begin with http:// or https:// and name a host"))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it must be a host with its port and path, without user, password or query"));
    }
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() == "https" || is_here || plain {
        true => Ok(()),
        false => Err(bad("without TLS others could read the password; use https://, or add `plain_http=true`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str, env: &[(&str, &str)]) -> Result<HashMap<String, String>> {
        let location = Location::parse(url)?;
        let service = find(location.scheme()).unwrap();
        settings(&location, service, |name| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_secret_in_a_url_is_refused_and_not_repeated() {
        let error = of("azblob://box/site?account_name=acme&account_key=hush", &[]).unwrap_err().to_string();
        assert!(error.contains("OFFSITE_AZBLOB_ACCOUNT_KEY") && !error.contains("hush"), "{error}");
        let error = of("webdav://me:hush@nas/site", &[]).unwrap_err().to_string();
        assert!(error.contains("password") && !error.contains("hush"), "{error}");
        let error = of("webdav://nas/site?endpoint=https://me:hush@nas", &[]).unwrap_err().to_string();
        assert!(!error.contains("hush"), "{error}");
    }

    #[test]
    fn the_host_is_the_container_or_the_server() {
        let azure = of("azblob://box/site?account_name=acme", &[("OFFSITE_AZBLOB_ACCOUNT_KEY", "a2V5")]).unwrap();
        assert_eq!((azure["container"].as_str(), azure["account_key"].as_str()), ("box", "a2V5"));
        assert_eq!(azure["endpoint"], "https://acme.blob.core.windows.net");
        let dav = of("webdav://me@dav.example:8443/backup", &[]).unwrap();
        assert_eq!((dav["endpoint"].as_str(), dav["username"].as_str()), ("https://dav.example:8443", "me"));
        let here = of("webdav://nas/backup?endpoint=http://127.0.0.1:80", &[("OFFSITE_WEBDAV_USERNAME", "me")]).unwrap();
        assert_eq!((here["endpoint"].as_str(), here["username"].as_str()), ("http://127.0.0.1:80", "me"));
    }

    /// OpenDAL accepts what is made of a URL. Nothing is sent.
    #[test]
    fn every_service_can_be_made() {
        let urls = [
            "azdls://files/site?account_name=acme",
            "azfile://share/site?account_name=acme",
            "cos://box/site?endpoint=https://cos.example",
            "dropbox://backups/site",
            "gdrive://backups/site",
            "obs://box/site?endpoint=https://obs.example",
            "onedrive://backups/site",
            "oss://box/site?endpoint=https://oss.example",
            "pcloud://backups/site?username=me",
            "swift://box/site?endpoint=https://swift.example/v1/me",
            "upyun://box/site?operator=me",
        ];
        let secrets = ["key", "secret", "token", "password"];
        for url in urls {
            let location = Location::parse(url).unwrap();
            let service = find(location.scheme()).unwrap_or_else(|| panic!("{url}"));
            let mut all = settings(&location, service, |name| {
                let name = name.to_lowercase();
                secrets.iter().any(|word| name.contains(word)).then(|| "c2VjcmV0".to_owned())
            })
            .unwrap_or_else(|e| panic!("{url}: {e}"));
            all.remove("refresh_token");
            all.insert("root".into(), "/backups/site".into());
            if !cfg!(feature = "opendal") && !crate::opendal::services::USUAL.contains(&service.scheme) {
                continue;
            }
            opendal::init_default_registry();
            Operator::via_iter(service.scheme, all).unwrap_or_else(|e| panic!("{url}: {e}"));
        }
        assert_eq!(urls.len() + 2, crate::opendal::services::SERVICES.len());
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_way_out() {
        for (url, word) in [
            ("webdav://nas/x?endpoint=http://nas.example", "plain_http=true"),
            ("webdav://nas/x?pasword=x", "the settings are endpoint, username, plain_http"),
            ("azblob://box/x", "account_name"),
            ("azblob://me@box/x?account_name=acme", "user"),
            ("webdav://nas/x?plain_http=yes", "true"),
        ] {
            let error = of(url, &[]).unwrap_err().to_string();
            assert!(error.contains(word), "{url}: {error}");
        }
        assert!(of("webdav://nas/x?endpoint=http://nas.example&plain_http=true", &[]).is_ok());
    }
}
