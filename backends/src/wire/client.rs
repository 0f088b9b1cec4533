//! The one HTTP client of all stores but those that a vendor's SDK speaks to.
//!
//! Owns how connections are made and kept, how long an answer is waited for, and how often a request is tried again.
//! Invariant: no client follows a redirect, for a signature or token is for the server that was named.

use std::time::Duration;

use object_store::{BackoffConfig, ClientOptions, HeaderMap, RetryConfig};
use reqwest::redirect::Policy;
use reqwest::tls::Certificate;

/// Longest wait for an answer's head after the request went out, and for the next piece of its body.
pub(crate) const SILENCE: Duration = Duration::from_secs(120);

/// Slowest upload that is still waited for, in bytes a second. A dead connection is noticed by TCP
/// within half a minute; this only bounds a server that takes everything and never answers. It is low
/// because many uploads may share one thin line.
pub(crate) const SLOWEST: u64 = 1024;

/// How often, how fast and for how long a request of the data plane is tried again.
pub(crate) fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(10), base: 2.0 },
        max_retries: 8,
        // Counts the first try too: with less, a part that a thin link lost late would get no second
        // one. Not more, because on S3 tries share a signature, which AWS takes for 15 minutes.
        retry_timeout: Duration::from_secs(300),
    }
}

/// How connections are made and kept: the `authorities` are trusted beside the system's.
pub(crate) fn client(https: bool, authorities: &[Certificate]) -> reqwest::Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("offsite/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .connect_timeout(Duration::from_secs(10))
        // A limit on a whole request would kill large uploads on thin links; silence is
        // watched instead, and TCP notices dead peers.
        .tcp_keepalive(Duration::from_secs(15))
        .pool_max_idle_per_host(256)
        // S3 closes what is idle for about 20 s; a connection closed under a request costs a retry.
        .pool_idle_timeout(Duration::from_secs(15))
        // Contents are bytes, whatever encoding they are said to have.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .redirect(Policy::none())
        // Also where a server names the hosts to go on with.
        .https_only(https);
    // Reading the system's certificates takes longer than a small run without TLS.
    if https { client.tls_certs_merge(authorities.iter().cloned()).build() } else { client.tls_certs_only([]).build() }
}

/// What `object_store`'s builders want. All else that could be set here the connectors would not see: [`client`] makes the connections.
pub(crate) fn client_options(https: bool) -> ClientOptions {
    ClientOptions::new().with_allow_http(!https)
}

/// A server that sends a request elsewhere. Where it only says that the region is another one, that is not this.
pub(crate) fn elsewhere(status: http::StatusCode, headers: &HeaderMap) -> Option<std::io::Error> {
    let to = headers.get("location").filter(|_| status.is_redirection())?.to_str().unwrap_or_default();
    if headers.contains_key("x-amz-bucket-region") {
        return None;
    }
    let to = url::Url::parse(to).map_or_else(|_| "another path".into(), |url| url.origin().ascii_serialization());
    let text = format!("the server redirects ({status} to {to}), which offsite does not follow: use the final URL");
    Some(std::io::Error::other(text))
}
