//! What every HTTP request of the data plane passes through: the meter, the store's clock, and the
//! clocks that notice a server that went silent.
//!
//! Owns the wrapped connection of `object_store`, shared by all stores that it speaks HTTP with. What is
//! a store's own, its classes of requests and its headers, is said by a [`Dialect`]. Invariant: one call
//! here is one request on the wire, so retries count.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body::{Body, Frame, SizeHint};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService, ReqwestConnector,
};
use object_store::{BackoffConfig, ClientOptions, HeaderMap, HeaderValue, RetryConfig};
use tokio::time::{Sleep, sleep, timeout};

use crate::Meter;
use crate::meter::Class;

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
pub(crate) struct MeteredConnector(pub Arc<Probe>, pub Dialect);

impl HttpConnector for MeteredConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Metered { inner, probe: self.0.clone(), dialect: self.1 }))
    }
}

/// The meter, with what keeps reading the `Date` header cheap.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    pub meter: Meter,
    /// When the store's clock was last looked at, in our seconds since 1970.
    looked: AtomicI64,
}

impl Probe {
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

/// How connections are made and kept.
pub(crate) fn client_options(https: bool) -> ClientOptions {
    ClientOptions::new()
        .with_user_agent(HeaderValue::from_static(concat!("offsite/", env!("CARGO_PKG_VERSION"))))
        .with_allow_http(!https)
        // Reading the system's certificates takes longer than a small run without TLS.
        .with_no_system_certificates(!https)
        .with_http1_only()
        .with_connect_timeout(Duration::from_secs(10))
        // A limit on a whole request would kill large uploads on thin links; silence is
        // watched instead, and TCP notices dead peers.
        .with_timeout_disabled()
        .with_pool_max_idle_per_host(256)
        // S3 closes what is idle for about 20 s; a connection closed under a request costs a retry.
        .with_pool_idle_timeout(Duration::from_secs(15))
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
        self.probe.meter.count(class);
        if length > 0 && request.method().as_str() == "PUT" {
            self.probe.meter.add_sent(length);
        }
        let patience = SILENCE + Duration::from_secs(length / SLOWEST);
        let mut response = match timeout(patience, self.inner.execute(request)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(silent("no answer", patience)),
        };
        self.probe.note_date(date_of(response.headers()));
        (self.dialect.mend)(response.headers_mut());
        if response.body().is_end_stream() {
            return Ok(response);
        }
        let counted = (class == Class::Get && response.status().is_success()).then(|| self.probe.clone());
        Ok(response.map(|body| HttpResponseBody::new(Watched { body, counted, silence: None })))
    }
}

fn date_of(headers: &HeaderMap) -> Option<&str> {
    headers.get("date").and_then(|value| value.to_str().ok())
}

fn silent(what: &str, patience: Duration) -> HttpError {
    let text = format!("timed out: {what} within {} s", patience.as_secs());
    HttpError::new(HttpErrorKind::Timeout, std::io::Error::new(std::io::ErrorKind::TimedOut, text))
}

/// A response body that counts contents and does not wait for ever for the next piece.
struct Watched {
    body: HttpResponseBody,
    counted: Option<Arc<Probe>>,
    /// Runs while we wait for a piece.
    silence: Option<Pin<Box<Sleep>>>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(answer) => {
                this.silence = None;
                if let (Some(probe), Some(Ok(frame))) = (&this.counted, &answer)
                    && let Some(data) = frame.data_ref()
                {
                    probe.meter.add_received(data.len() as u64);
                }
                Poll::Ready(answer)
            }
            Poll::Pending => {
                let clock = this.silence.get_or_insert_with(|| Box::pin(sleep(SILENCE)));
                match clock.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(silent("nothing more came", SILENCE)))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
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
