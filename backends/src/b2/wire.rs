//! One HTTP request on the wire: it is counted and timed, and the `Date` of its answer is noted.
//!
//! Owns the reading of bodies and the pauses between tries. Knows no tokens. Invariant: one call of [`Wire::send`] is
//! one request, so retries count.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use reqwest::{Client, RequestBuilder, Response};
use tokio::time::timeout;

use super::error::Failure;
use crate::contract::error::{ErrorKind, chain};
use crate::contract::fence;
use crate::contract::meter::{Class, Meter};
use crate::contract::trace::{TracedCall, shown};
use crate::wire::client::{SILENCE, SLOWEST, client, elsewhere};
use crate::wire::refusal::kind_of_text;
use crate::wire::watch::{ANSWER, Bound, Halt, REFUSAL, Watch, Watched};

/// Tries of one request before its error is returned.
pub(super) const TRIES: u32 = 8;

#[derive(Debug)]
pub(super) struct Wire {
    pub http: Client,
    pub meter: Meter,
    /// When the store's clock was last noted, in seconds since 1970 by this machine's clock.
    looked: AtomicI64,
}

impl Wire {
    pub(super) fn new(https: bool) -> Result<Self, reqwest::Error> {
        let http = client(https, &[])?;
        Ok(Self { http, meter: Meter::default(), looked: AtomicI64::new(0) })
    }

    /// Sends one request with a body of `length` bytes. An answer that is not a success is a failure.
    pub(super) async fn send(&self, class: Class, request: RequestBuilder, length: u64) -> Result<Response, Failure> {
        fence::check("this machine").map_err(|late| Failure::new(late.kind, late.message))?;
        let request = request.build().map_err(|error| no_answer(&error))?;
        let mut call = self.meter.begin(class, || (request.method().clone(), shown(request.url())));
        call.sent(length);
        let patience = SILENCE + Duration::from_secs(length / SLOWEST);
        let mut response = match timeout(patience, self.http.execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(no_answer(&error)),
            Err(_) => return Err(silent("no answer", patience)),
        };
        call.answered(response.status().as_u16());
        response.extensions_mut().insert(HeldCall(Arc::new(Mutex::new(Some(call)))));
        self.note_date(response.headers().get("date").and_then(|v| v.to_str().ok()));
        if let Some(error) = elsewhere(response.status(), response.headers()) {
            return Err(Failure::new(ErrorKind::Invalid, error.to_string()));
        }
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = read_some(response).await;
        Err(Failure::refused(status, &headers, &body))
    }

    /// Notes the store's clock from a `Date` header, at most once a second.
    fn note_date(&self, date: Option<&str>) {
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

/// The text of an error, up to [`REFUSAL`] bytes.
async fn read_some(response: Response) -> Vec<u8> {
    let mut body = bounded(response, Bound::Cut(REFUSAL));
    let mut said = Vec::new();
    let reading = async {
        while let Some(Ok(piece)) = body.next().await {
            said.extend_from_slice(&piece);
        }
    };
    // The status is enough: the text is not worth a long wait.
    let _ = timeout(Duration::from_secs(10), reading).await;
    said
}

/// Reads a whole answer of JSON.
pub(super) async fn json<T: serde::de::DeserializeOwned>(response: Response) -> Result<T, Failure> {
    let mut body = bounded(response, Bound::Refuse(ANSWER));
    let mut whole = Vec::new();
    while let Some(piece) = body.next().await {
        whole.extend_from_slice(&piece.map_err(Broken::into_failure)?);
    }
    serde_json::from_slice(&whole).map_err(|error| Failure::new(ErrorKind::Other, format!("the server's answer cannot be read: {error}")))
}

/// The body of an answer, limited by `bound`.
pub(super) fn bounded(mut response: Response, bound: Bound) -> Watched<BoxStream<'static, Result<Bytes, Broken>>> {
    let held = response.extensions_mut().remove::<HeldCall>();
    let call = held.and_then(|held| held.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    let watch = Watch::new(bound, None, call.unwrap_or_else(TracedCall::untold));
    Watched::new(response.bytes_stream().map_err(Broken::Wire).boxed(), watch)
}

/// The request of an answer, until the answer's body is read.
#[derive(Clone)]
struct HeldCall(Arc<Mutex<Option<TracedCall>>>);

/// Why a body ended early.
#[derive(Debug)]
pub(super) enum Broken {
    Wire(reqwest::Error),
    Halt(Halt),
}

impl From<Halt> for Broken {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl Broken {
    pub(super) fn into_failure(self) -> Failure {
        match self {
            Self::Wire(error) => no_answer(&error),
            Self::Halt(halt @ Halt::TooLong(_)) => Failure::new(ErrorKind::Other, halt.to_string()),
            Self::Halt(halt) => Failure::new(ErrorKind::Transient, halt.to_string()),
        }
    }
}

/// A request without an answer as a failure. The text leaves the URL out, because an upload URL is as good as
/// a credential.
pub(super) fn no_answer(error: &reqwest::Error) -> Failure {
    let host = error.url().and_then(|url| url.host_str().map(|host| (host.to_owned(), url.port()))).map(|(host, port)| match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    });
    let text = std::error::Error::source(error).map_or_else(|| "the connection broke".into(), chain);
    let text = match host {
        Some(host) => format!("cannot talk to {host}: {text}"),
        None => text,
    };
    let kind = match kind_of_text(&text) {
        _ if error.is_builder() => ErrorKind::Invalid,
        ErrorKind::Untrusted => ErrorKind::Untrusted,
        _ => ErrorKind::Transient,
    };
    Failure::new(kind, text)
}

fn silent(what: &str, patience: Duration) -> Failure {
    Failure::new(ErrorKind::Transient, format!("timed out: {what} within {} s", patience.as_secs()))
}

/// Waits before try number `tried` + 1: as long as the server asked, or else twice as long each time.
pub(super) async fn pause(tried: u32, failure: &Failure) {
    let step = Duration::from_millis(100 << tried.min(7)).min(Duration::from_secs(10));
    let wait = failure.retry_after.unwrap_or(step).min(Duration::from_mins(2));
    tokio::time::sleep(wait + step.mul_f64(random() as f64 / u64::MAX as f64 / 2.0)).await;
}

/// A number that is unlikely to occur twice; not for keys.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one((std::process::id(), std::time::Instant::now()))
}
