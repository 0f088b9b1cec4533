//! What every HTTP request of the data plane passes through: the meter, the store's clock, and the
//! clocks that notice a server that went silent.
//!
//! Owns the HTTP client of all stores, and the wrapped connection of `object_store`, shared by all stores that it speaks
//! HTTP with. What is a store's own, its classes of requests and its headers, is said by a [`Dialect`]. Invariants: one
//! call here is one request on the wire, so retries count; no client follows a redirect, for a signature or token is
//! for the server that was named.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http_body::Body;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{BackoffConfig, ClientOptions, HeaderMap, RetryConfig};
use reqwest::redirect::Policy;
use reqwest::tls::Certificate;
use tokio::time::timeout;

use crate::Meter;
use crate::meter::Class;
use crate::trace::shown;
use crate::turns::Circles;
use crate::watch::{Bound, Halt, Watch, Watched};

/// Longest wait for an answer's head after the request went out, and for the next piece of its body.
pub(crate) const SILENCE: Duration = Duration::from_secs(120);

/// Slowest upload that is still waited for, in bytes a second. A dead connection is noticed by TCP
/// within half a minute; this only bounds a server that takes everything and never answers. It is low
/// because many uploads may share one thin line.
pub(crate) const SLOWEST: u64 = 1024;

/// What the stores do differently on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    /// The class in which a request is billed.
    pub class: fn(&HttpRequest) -> Class,
    /// Mends the head of an answer before `object_store` reads it.
    pub mend: fn(&mut HeaderMap),
}

/// Makes the clients of `object_store`, metered.
#[derive(Debug)]
pub(crate) struct MeteredConnector {
    pub probe: Arc<Probe>,
    pub dialect: Dialect,
    /// Authorities that count beside the system's.
    pub authorities: Vec<Certificate>,
}

impl HttpConnector for MeteredConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let https = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() != Some("true");
        let inner =
            client(https, &self.authorities).map_err(|error| object_store::Error::Generic { store: "HTTP", source: Box::new(error) })?;
        Ok(HttpClient::new(Metered { inner: HttpClient::new(inner), probe: self.probe.clone(), dialect: self.dialect }))
    }
}

/// The meter, with what keeps reading the `Date` header cheap.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    pub meter: Meter,
    circles: Circles,
    /// When the store's clock was last looked at, in our seconds since 1970.
    looked: AtomicI64,
}

impl Probe {
    /// Notes a GET that may be one page of a listing that a library goes through; an error if that would not end.
    pub(crate) fn note_page(&self, method: &http::Method, uri: &http::Uri) -> Result<(), &'static str> {
        if *method == http::Method::GET { self.circles.ask(uri.path(), uri.query()) } else { Ok(()) }
    }

    /// Notes the store's clock from a `Date` header, at most once a second.
    pub(crate) fn note_date(&self, date: Option<&str>) {
        let now = Utc::now().timestamp();
        if self.looked.load(Relaxed) == now {
            return;
        }
        if let Some(date) = date.and_then(|text| DateTime::parse_from_rfc2822(text).ok()) {
            self.meter.note_clock(date.with_timezone(&Utc));
            self.looked.store(now, Relaxed);
        }
    }
}

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

/// How connections are made and kept: the one client of all stores but those that a vendor's SDK speaks to. The
/// `authorities` are trusted beside the system's.
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

#[derive(Debug)]
struct Metered {
    inner: HttpClient,
    probe: Arc<Probe>,
    dialect: Dialect,
}

#[async_trait]
impl HttpService for Metered {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Tries again included: an answer may have been waited for while this machine slept.
        crate::fence::check("this machine").map_err(|late| HttpError::new(HttpErrorKind::Unknown, late))?;
        let class = (self.dialect.class)(&request);
        let length = request.body().content_length() as u64;
        self.probe
            .note_page(request.method(), request.uri())
            .map_err(|why| HttpError::new(HttpErrorKind::Unknown, std::io::Error::other(why)))?;
        let mut call = self.probe.meter.begin(class, || (request.method().clone(), shown(request.uri())));
        call.sent(length);
        if length > 0 && request.method().as_str() == "PUT" {
            self.probe.meter.add_sent(length);
        }
        let patience = SILENCE + Duration::from_secs(length / SLOWEST);
        let mut response = match timeout(patience, self.inner.execute(request)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(silent("no answer", patience)),
        };
        call.answered(response.status().as_u16());
        self.probe.note_date(date_of(response.headers()));
        if let Some(error) = elsewhere(response.status(), response.headers()) {
            return Err(HttpError::new(HttpErrorKind::Unknown, error));
        }
        (self.dialect.mend)(response.headers_mut());
        if response.body().is_end_stream() {
            return Ok(response);
        }
        let bound = Bound::of(class, response.status(), response.headers());
        let counted = (class == Class::Get && response.status().is_success()).then(|| self.probe.clone());
        Ok(response.map(|body| HttpResponseBody::new(Watched::new(body, Watch::new(bound, counted, call)))))
    }
}

/// A server that sends a request elsewhere. Where it only says that the region is another one, that is not this.
pub(crate) fn elsewhere(status: http::StatusCode, headers: &HeaderMap) -> Option<std::io::Error> {
    let to = headers.get("location").filter(|_| status.is_redirection())?.to_str().unwrap_or_default();
    if headers.contains_key("x-amz-bucket-region") {
        return None;
    }
    let to = url::Url::parse(to).map_or_else(|_| "another path".into(), |url| url.origin().ascii_serialization());
    let text =
        format!("the server sends the request elsewhere ({status} to {to}), and that is not followed: name the URL of the place itself");
    Some(std::io::Error::other(text))
}

impl From<Halt> for HttpError {
    fn from(halt: Halt) -> Self {
        match halt {
            // Asking again brings the same.
            Halt::TooLong(_) => Self::new(HttpErrorKind::Unknown, halt),
            Halt::Silent | Halt::Slow => Self::new(HttpErrorKind::Timeout, halt),
        }
    }
}

fn date_of(headers: &HeaderMap) -> Option<&str> {
    headers.get("date").and_then(|value| value.to_str().ok())
}

fn silent(what: &str, patience: Duration) -> HttpError {
    let text = format!("timed out: {what} within {} s", patience.as_secs());
    HttpError::new(HttpErrorKind::Timeout, std::io::Error::new(std::io::ErrorKind::TimedOut, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_header_sets_the_clock() {
        let probe = Probe::default();
        probe.note_date(Some("nonsense"));
        assert_eq!(probe.meter.clock(), None);
        probe.note_date(Some("Sat, 21 Nov 2026 11:27:04 GMT"));
        let clock = probe.meter.clock().unwrap();
        assert!((clock.timestamp() - 1_795_260_424).abs() < 2, "{clock}");
    }
}
