//! The HTTP client of all stores that do not use a vendor's SDK.
//!
//! Owns how connections are made and kept, how long to wait for an answer, and how often a request is retried.
//! Invariant: no client follows a redirect, because a signature or token is only for the server that was named.

use std::time::Duration;

use object_store::{BackoffConfig, ClientOptions, HeaderMap, RetryConfig};
use reqwest::redirect::Policy;
use reqwest::tls::Certificate;

/// Longest wait for the head of an answer after the request was sent, and for the next piece of its body.
pub(crate) const SILENCE: Duration = Duration::from_mins(2);

/// Slowest upload that is still waited for, in bytes a second. TCP notices a dead connection within half a minute. This
/// limit is only for a server that accepts all data and never answers. It is low because many uploads may share one
/// slow line.
pub(crate) const SLOWEST: u64 = 1024;

/// How often, how fast and for how long a request of the data plane is retried.
pub(crate) fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(10), base: 2.0 },
        max_retries: 8,
        // Includes the first try. With less time, a part that a slow line lost late would get no second try. With more
        // time, tries on S3 would share a signature for longer than the 15 minutes that AWS accepts it.
        retry_timeout: Duration::from_mins(5),
    }
}

/// How connections are made and kept. Trusts the `authorities` in addition to the system's.
pub(crate) fn client(https: bool, authorities: &[Certificate]) -> reqwest::Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("offsite/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .connect_timeout(Duration::from_secs(10))
        // A limit on a whole request would stop large uploads on slow lines. Instead, silence is watched, and TCP
        // notices dead peers.
        .tcp_keepalive(Duration::from_secs(15))
        .pool_max_idle_per_host(256)
        // S3 closes connections that are idle for about 20 s. A connection that closes during a request costs a retry.
        .pool_idle_timeout(Duration::from_secs(15))
        // Contents are bytes, whatever encoding the server declares.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .redirect(Policy::none())
        // Also if a server names the hosts for the next requests.
        .https_only(https);
    // Reading the system's certificates takes longer than a small run without TLS.
    if https { client.tls_certs_merge(authorities.iter().cloned()).build() } else { client.tls_certs_only([]).build() }
}

/// What `object_store`'s builders need. The connectors would ignore all other options, because [`client`] makes the
/// connections.
pub(crate) fn client_options(https: bool) -> ClientOptions {
    ClientOptions::new().with_allow_http(!https)
}

/// The error for a server that redirects a request. An answer that only names another region is not a redirect.
pub(crate) fn elsewhere(status: http::StatusCode, headers: &HeaderMap) -> Option<std::io::Error> {
    let to = headers.get("location").filter(|_| status.is_redirection())?.to_str().unwrap_or_default();
    if headers.contains_key("x-amz-bucket-region") {
        return None;
    }
    let to = url::Url::parse(to).map_or_else(|_| "another path".into(), |url| url.origin().ascii_serialization());
    let text = format!("the server redirects ({status} to {to}), which offsite does not follow: use the final URL");
    Some(std::io::Error::other(text))
}
