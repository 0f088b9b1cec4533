//! The connection of `object_store`, shared by all stores that it speaks HTTP with: it counts requests and notices a
//! silent server.
//!
//! A [`Dialect`] describes what differs between stores: their classes of requests and their headers. Invariant: one
//! call here is one request on the wire, so retries count.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body::Body;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientOptions, HeaderMap};
use reqwest::tls::Certificate;
use tokio::time::timeout;

use crate::contract::fence;
use crate::contract::meter::Class;
use crate::contract::trace::shown;
use crate::wire::client::{SILENCE, SLOWEST, client, elsewhere};
use crate::wire::probe::Probe;
use crate::wire::watch::{Bound, Halt, Watch, Watched};

/// What differs between stores on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    /// The class in which a request is billed.
    pub class: fn(&HttpRequest) -> Class,
    /// Corrects the head of an answer before `object_store` reads it.
    pub mend: fn(&mut HeaderMap),
}

/// Makes the clients of `object_store`, metered.
#[derive(Debug)]
pub(crate) struct MeteredConnector {
    pub probe: Arc<Probe>,
    pub dialect: Dialect,
    /// Authorities that are trusted in addition to the system's.
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

#[derive(Debug)]
struct Metered {
    inner: HttpClient,
    probe: Arc<Probe>,
    dialect: Dialect,
}

#[async_trait]
impl HttpService for Metered {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Checked for each retry too: the machine may have slept while it waited for an answer.
        fence::check("this machine").map_err(|late| HttpError::new(HttpErrorKind::Unknown, late))?;
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

impl From<Halt> for HttpError {
    fn from(halt: Halt) -> Self {
        match halt {
            // A retry would get the same answer.
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
