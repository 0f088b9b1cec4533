//! GCS's own details on the wire: the billing classes of its requests, and the headers that `object_store` does not
//! send.
//!
//! Owns those headers: the checksum of a body, conditions on the generation, and the wish to get contents as they are
//! stored. Invariant: every body that is put carries a digest, which the store checks before it accepts the body.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body::Body;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpService};
use object_store::{ClientOptions, HeaderMap, HeaderValue};

use super::tag::{Tag, retag};
use crate::contract::meter::Class;
use crate::wire::metered::{Dialect, MeteredConnector};
use crate::wire::probe::Probe;
use crate::wire::ranges::{self, Asked};

const DIALECT: Dialect = Dialect { class, mend: |_: &mut HeaderMap| {} };

/// Makes the HTTP clients of `object_store`: metered, and with GCS's own headers.
#[derive(Debug)]
pub(super) struct GcsConnector {
    pub probe: Arc<Probe>,
    /// Without credentials no `Authorization` header is sent; `object_store` would send an empty one.
    pub anonymous: bool,
}

impl HttpConnector for GcsConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = MeteredConnector { probe: self.probe.clone(), dialect: DIALECT, authorities: Vec::new() }.connect(options)?;
        Ok(HttpClient::new(GcsService { inner, anonymous: self.anonymous }))
    }
}

#[derive(Debug)]
struct GcsService {
    inner: HttpClient,
    anonymous: bool,
}

#[async_trait]
impl HttpService for GcsService {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if self.anonymous {
            request.headers_mut().remove("authorization");
        }
        let lists = is_listing(&request);
        match request.method().as_str() {
            "PUT" if !request.headers().contains_key("x-goog-copy-source") => {
                let digest = digest(request.body().clone()).await?;
                request.headers_mut().insert("x-goog-hash", digest);
            }
            "GET" | "HEAD" if !lists => as_stored(request.headers_mut()),
            _ => {}
        }
        let asked = Asked::of(&request);
        let answer = self.inner.execute(request).await?;
        match asked {
            _ if lists && answer.status().is_success() => tagged(answer).await,
            // Google answers 206; a proxy in between may not.
            Some(asked) => Ok(ranges::mend(asked, answer).0),
            None => Ok(answer),
        }
    }
}

fn is_listing(request: &HttpRequest) -> bool {
    request.method().as_str() == "GET" && asks(request, "list-type")
}

fn asks(request: &HttpRequest, name: &str) -> bool {
    let query = request.uri().query().unwrap_or("");
    query.split('&').any(|pair| pair.split('=').next() == Some(name))
}

fn class(request: &HttpRequest) -> Class {
    let asks = |name| asks(request, name);
    match request.method().as_str() {
        _ if request.headers().contains_key("x-goog-copy-source") => Class::Copy,
        "HEAD" => Class::Head,
        "GET" if ["list-type", "uploads", "uploadId"].into_iter().any(asks) => Class::List,
        "GET" => Class::Get,
        _ if asks("uploads") || asks("uploadId") => Class::Multipart,
        "DELETE" => Class::Delete,
        _ => Class::Put,
    }
}

/// The CRC32C of a body in the form of `x-goog-hash`.
async fn digest(mut body: HttpRequestBody) -> Result<HeaderValue, HttpError> {
    let mut crc = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Some(data) = frame?.data_ref() {
            crc = crc32c::crc32c_append(crc, data);
        }
    }
    let text = format!("crc32c={}", BASE64_STANDARD.encode(crc.to_be_bytes()));
    HeaderValue::from_str(&text).map_err(|error| HttpError::new(HttpErrorKind::Request, error))
}

/// Asks for contents as they are stored. Otherwise Google would unpack contents that another tool stored with
/// `Content-Encoding: gzip`: they would have another length and no ranges. Also translates offsite's tag into
/// a condition that the store knows.
fn as_stored(headers: &mut HeaderMap) {
    headers.insert("accept-encoding", HeaderValue::from_static("gzip"));
    let Some(wanted) = headers.get("if-match").and_then(|value| value.to_str().ok()).map(str::to_owned) else { return };
    let (name, value) = match Tag::parse(&wanted) {
        Tag { md5: Some(md5), .. } => ("if-match", format!("\"{md5}\"")),
        Tag { generation: Some(generation), .. } => ("x-goog-if-generation-match", generation.to_string()),
        _ => return,
    };
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.remove("if-match");
        headers.insert(name, value);
    }
}

async fn tagged(answer: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (mut head, body) = answer.into_parts();
    let page = body.bytes().await?;
    let page = match std::str::from_utf8(&page) {
        Ok(text) => retag(text).into_bytes().into(),
        Err(_) => page,
    };
    head.headers.remove("content-length");
    Ok(HttpResponse::from_parts(head, page.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_digest_is_the_one_of_the_documentation() {
        // The check value of CRC-32C (Castagnoli) over these nine digits is E3069283.
        let body = HttpRequestBody::from("123456789".to_owned());
        assert_eq!(digest(body).await.unwrap(), "crc32c=4waSgw==");
    }

    #[test]
    fn a_tag_becomes_a_condition_that_the_store_knows() {
        let sent = |tag: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("if-match", HeaderValue::from_str(tag).unwrap());
            as_stored(&mut headers);
            let get = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            (get("if-match"), get("x-goog-if-generation-match"))
        };
        let md5 = "5d41402abc4b2a76b9719d911017c592";
        assert_eq!(sent(&format!("\"{md5}-5\"")), (Some(format!("\"{md5}\"")), None));
        assert_eq!(sent("\"5\""), (None, Some("5".into())));
        assert_eq!(sent("\"other\""), (Some("\"other\"".into()), None));
    }
}
