//! The transport of every request of a service: it counts requests, notes the store's clock and notices a silent
//! server.
//!
//! Owns the classes of requests, and the statuses that OpenDAL cannot express. Invariant: one call here is one request
//! on the wire, so retries count.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use http::{Method, Request, Response, StatusCode};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};
use opendal_http_transport_reqwest::ReqwestTransport;
use tokio::time::timeout;

use crate::contract::fence;
use crate::contract::meter::Class;
use crate::contract::trace::shown;
use crate::wire::client::{SILENCE, SLOWEST, client, elsewhere};
use crate::wire::probe::Probe;
use crate::wire::watch::{Bound, Halt, Piece, Watch, Watched};

type OpendalChunks = Box<dyn Stream<Item = opendal::Result<Buffer>> + Send + Sync + Unpin>;

/// A client that counts requests.
pub(super) struct MeteredTransport {
    inner: ReqwestTransport,
    probe: Arc<Probe>,
}

impl MeteredTransport {
    /// A client whose requests `probe` counts. It follows no redirect, because credentials are only for the server that
    /// was named.
    pub fn new(probe: Arc<Probe>, https: bool) -> reqwest::Result<Self> {
        Ok(Self { inner: ReqwestTransport::new(client(https, &[])?), probe })
    }
}

impl HttpTransport for MeteredTransport {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        fence::check("this machine").map_err(|late| Error::new(ErrorKind::Unexpected, late.message.clone()).set_source(late))?;
        let class = class_of(&request);
        let length = request.body().len() as u64;
        self.probe.note_page(request.method(), request.uri()).map_err(|why| Error::new(ErrorKind::Unexpected, why))?;
        let mut call = self.probe.meter.begin(class, || (request.method().clone(), shown(request.uri())));
        call.sent(length);
        if matches!(class, Class::Put | Class::Multipart) {
            self.probe.meter.add_sent(length);
        }
        let patience = SILENCE + Duration::from_secs(length / SLOWEST);
        let response = match timeout(patience, self.inner.fetch(request)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(silent("no answer", patience)),
        };
        call.answered(response.status().as_u16());
        self.probe.note_date(response.headers().get("date").and_then(|date| date.to_str().ok()));
        if let Some(error) = elsewhere(response.status(), response.headers()) {
            return Err(Error::new(ErrorKind::ConfigInvalid, error.to_string()));
        }
        if let Some(error) = refusal(response.status()) {
            return Err(error);
        }
        let bound = Bound::of(class, response.status(), response.headers());
        let counted = (class == Class::Get && response.status().is_success()).then(|| self.probe.clone());
        let watch = |body| Box::new(Watched::new(body, Watch::new(bound, counted, call))) as OpendalChunks;
        Ok(response.map(|body| body.map_inner(watch)))
    }
}

/// Statuses that OpenDAL's errors merge into `Unexpected`, and their meaning.
fn refusal(status: StatusCode) -> Option<Error> {
    let words = status.to_string();
    match status {
        StatusCode::UNAUTHORIZED => Some(Error::new(ErrorKind::PermissionDenied, format!("{words}: the credentials are missing or wrong"))),
        StatusCode::INSUFFICIENT_STORAGE => Some(Error::new(ErrorKind::Unexpected, words)),
        StatusCode::TOO_MANY_REQUESTS => Some(Error::new(ErrorKind::RateLimited, words).set_temporary()),
        // Retried as OpenDAL would. The text names the status, because OpenDAL's retries drop the mark that it was
        // temporary.
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Some(Error::new(ErrorKind::Unexpected, words).set_temporary())
        }
        _ if status.is_redirection() && status != StatusCode::NOT_MODIFIED => {
            Some(Error::new(ErrorKind::ConfigInvalid, format!("{words}: the server redirects; use the URL that it redirects to")))
        }
        _ => None,
    }
}

fn silent(what: &str, patience: Duration) -> Error {
    Error::new(ErrorKind::Unexpected, format!("timed out: {what} within {} s", patience.as_secs())).set_temporary()
}

impl Piece for Buffer {
    fn length(&self) -> usize {
        self.len()
    }

    fn first(self, length: usize) -> Self {
        self.slice(..length)
    }
}

impl From<Halt> for Error {
    fn from(halt: Halt) -> Self {
        let error = Self::new(ErrorKind::Unexpected, halt.to_string());
        // A retry of an answer that is too long would get the same.
        if matches!(halt, Halt::TooLong(_)) { error } else { error.set_temporary() }
    }
}

fn class_of(request: &Request<Buffer>) -> Class {
    let depth = request.headers().get("depth").and_then(|depth| depth.to_str().ok());
    let copies = request.headers().keys().any(|name| name.as_str().ends_with("copy-source"));
    classify(request.method(), request.uri().query().unwrap_or(""), depth, copies)
}

fn classify(method: &Method, query: &str, depth: Option<&str>, copies: bool) -> Class {
    let asks = |pair: &str| query.split('&').any(|one| one == pair);
    match method.as_str() {
        _ if copies => Class::Copy,
        "COPY" | "MOVE" => Class::Copy,
        "HEAD" => Class::Head,
        "PROPFIND" if depth == Some("0") => Class::Head,
        "PROPFIND" => Class::List,
        "DELETE" => Class::Delete,
        "GET" if asks("comp=list") => Class::List,
        "GET" => Class::Get,
        _ if asks("comp=block") || asks("comp=blocklist") => Class::Multipart,
        _ => Class::Put,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let propfind = Method::from_bytes(b"PROPFIND").unwrap();
        assert_eq!(classify(&propfind, "", Some("0"), false), Class::Head);
        assert_eq!(classify(&propfind, "", Some("1"), false), Class::List);
        assert_eq!(classify(&Method::GET, "restype=container&comp=list", None, false), Class::List);
        assert_eq!(classify(&Method::PUT, "comp=block&blockid=x", None, false), Class::Multipart);
        assert_eq!(classify(&Method::PUT, "", None, true), Class::Copy);
        assert_eq!(classify(&Method::PUT, "", None, false), Class::Put);
    }

    #[test]
    fn a_status_without_a_word_of_opendals_is_named() {
        assert_eq!(refusal(StatusCode::UNAUTHORIZED).unwrap().kind(), ErrorKind::PermissionDenied);
        assert!(refusal(StatusCode::INSUFFICIENT_STORAGE).unwrap().message().contains("507 Insufficient Storage"));
        assert!(refusal(StatusCode::TOO_MANY_REQUESTS).unwrap().is_temporary());
        assert!(refusal(StatusCode::FOUND).is_some());
        for fine in [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::CONFLICT, StatusCode::NOT_MODIFIED] {
            assert!(refusal(fine).is_none(), "{fine}");
        }
    }
}
