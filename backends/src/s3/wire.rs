//! What every HTTP request of the data plane passes through: the meter, the store's clock, and the
//! clocks that notice a server that went silent.
//!
//! Owns the wrapped connection of `object_store` and the classes of S3 requests, which the control
//! plane uses too. Invariant: one call here is one request on the wire, so retries count.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::HeaderMap;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService, ReqwestConnector,
};
use tokio::time::{Sleep, sleep, timeout};

use crate::Meter;
use crate::meter::Class;

/// Longest wait for an answer's head after the request went out, and for the next piece of its body.
const SILENCE: Duration = Duration::from_secs(120);

/// Slowest upload that is still waited for, in bytes a second. A dead connection is noticed by TCP
/// within half a minute; this only bounds a server that takes everything and never answers. It is low
/// because many uploads may share one thin line.
const SLOWEST: u64 = 1024;

const VERSION: &str = "x-amz-version-id";

/// Makes the clients of `object_store`, metered.
#[derive(Debug)]
pub(super) struct MeteredConnector(pub Arc<Probe>);

impl HttpConnector for MeteredConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Metered { inner, probe: self.0.clone() }))
    }
}

/// The meter, with what keeps reading the `Date` header cheap.
#[derive(Debug, Default)]
pub(super) struct Probe {
    pub meter: Meter,
    /// When the store's clock was last looked at, in our seconds since 1970.
    looked: AtomicI64,
}

impl Probe {
    /// Notes the store's clock from a `Date` header, at most once a second.
    pub(super) fn note_date(&self, date: Option<&str>) {
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

/// The class of an S3 request. `copies` says whether it names a source on the server.
pub(super) fn classify(method: &str, query: Option<&str>, copies: bool) -> Class {
    let query = query.unwrap_or("");
    let asks = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    match method {
        _ if copies => Class::Copy,
        "HEAD" => Class::Head,
        "GET" if ["list-type", "versions", "uploads", "uploadId"].iter().any(|name| asks(name)) => Class::List,
        "GET" => Class::Get,
        _ if asks("uploads") || asks("uploadId") => Class::Multipart,
        "POST" if asks("delete") => Class::Delete,
        "DELETE" => Class::Delete,
        _ => Class::Put,
    }
}

#[derive(Debug)]
struct Metered {
    inner: HttpClient,
    probe: Arc<Probe>,
}

#[async_trait]
impl HttpService for Metered {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let copies = request.headers().contains_key("x-amz-copy-source");
        let class = classify(request.method().as_str(), request.uri().query(), copies);
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
        // The version `null` of a bucket that does not keep versions would be taken for one that lasts.
        if response.headers().get(VERSION).is_some_and(|version| version == "null") {
            response.headers_mut().remove(VERSION);
        }
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
    fn requests_are_sorted_as_they_are_billed() {
        for (method, query, copies, class) in [
            ("PUT", None, false, Class::Put),
            ("PUT", Some("x-id=CopyObject"), true, Class::Copy),
            ("PUT", Some("partNumber=1&uploadId=a"), false, Class::Multipart),
            ("PUT", Some("partNumber=1&uploadId=a"), true, Class::Copy),
            ("POST", Some("uploads="), false, Class::Multipart),
            ("POST", Some("uploads"), false, Class::Multipart),
            ("POST", Some("uploadId=a"), false, Class::Multipart),
            ("DELETE", Some("uploadId=a"), false, Class::Multipart),
            ("POST", Some("delete"), false, Class::Delete),
            ("DELETE", None, false, Class::Delete),
            ("GET", Some("list-type=2&prefix=a"), false, Class::List),
            ("GET", Some("versions"), false, Class::List),
            ("GET", Some("versionId=a"), false, Class::Get),
            ("GET", None, false, Class::Get),
            ("HEAD", None, false, Class::Head),
        ] {
            assert_eq!(classify(method, query, copies), class, "{method} {query:?}");
        }
    }

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
