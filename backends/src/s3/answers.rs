//! Answers of S3 servers, before `object_store` reads them.
//!
//! Owns what must be seen or corrected there: a part of an object that is not marked as a part, the region that a
//! redirect names, the wait before the next try, and final refusals that `object_store` would try again.
//! Invariant: no answer is made to look better than it is. An answer that cannot be corrected is passed on unchanged.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use http::header::RETRY_AFTER;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService};
use object_store::{ClientOptions, HeaderMap};
use reqwest::tls::Certificate;

use super::over;
use super::wire::DIALECT;
use crate::contract::missing_features::{MissingFeature, MissingFeatures};
use crate::wire::metered::MeteredConnector;
use crate::wire::probe::Probe;
use crate::wire::ranges::{self, Asked};

/// Longest wait before the next try that a server can ask for.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What both planes have learned from answers.
#[derive(Debug, Default)]
pub(super) struct Learned {
    pub missing: MissingFeatures,
    /// The server cannot copy a part of an object into an upload.
    pub no_part_copies: AtomicBool,
    region: Mutex<Option<String>>,
}

impl Learned {
    /// The region that the server last named for the bucket.
    pub(super) fn region(&self) -> Option<String> {
        self.region.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the region from a refusal. It becomes part of a host name, so only text in the form of a region
    /// is accepted.
    pub(super) fn note_region(&self, status: u16, region: Option<&str>) {
        let plain =
            |text: &&str| (3..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if let (301 | 302 | 307 | 308 | 400, Some(region)) = (status, region.filter(plain)) {
            *self.region.lock().unwrap_or_else(PoisonError::into_inner) = Some(region.to_owned());
        }
    }
}

/// How long a refusal asks the client to wait, read from whole seconds of `Retry-After`.
pub(super) fn wait_asked(status: u16, header: Option<&str>) -> Option<Duration> {
    let seconds: u64 = matches!(status, 408 | 429 | 500..=599).then_some(header)??.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT)).filter(|wait| !wait.is_zero())
}

/// Makes the HTTP clients of `object_store`: metered, and with corrected answers.
#[derive(Debug)]
pub(super) struct S3Connector {
    pub probe: Arc<Probe>,
    pub learned: Arc<Learned>,
    /// From `AWS_CA_BUNDLE` or the profile's `ca_bundle`.
    pub authorities: Vec<Certificate>,
}

impl HttpConnector for S3Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner =
            MeteredConnector { probe: self.probe.clone(), dialect: DIALECT, authorities: self.authorities.clone() }.connect(options)?;
        Ok(HttpClient::new(S3Service { inner, learned: self.learned.clone() }))
    }
}

#[derive(Debug)]
struct S3Service {
    inner: HttpClient,
    learned: Arc<Learned>,
}

#[async_trait]
impl HttpService for S3Service {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        over::add(&mut request);
        let asked = Asked::of(&request);
        let answer = self.inner.execute(request).await?;
        let status = answer.status().as_u16();
        self.learned.note_region(status, text(answer.headers(), "x-amz-bucket-region"));
        if let Some(wait) = wait_asked(status, text(answer.headers(), RETRY_AFTER.as_str())) {
            tokio::time::sleep(wait).await;
        }
        if status == 501 {
            return Ok(for_good(answer));
        }
        let Some(asked) = asked else { return Ok(answer) };
        let (answer, mended) = ranges::mend(asked, answer);
        if mended {
            self.learned.missing.note(MissingFeature::Ranges);
        }
        Ok(answer)
    }
}

/// `object_store` tries again after every 5xx. A 501 is final, so it is passed on under a status that means
/// the same and is not tried again. An empty answer gets a body that states the original status.
fn for_good(mut answer: HttpResponse) -> HttpResponse {
    *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    if text(answer.headers(), "content-length").is_none_or(|length| length == "0") {
        const SAID: &[u8] = b"<Error><Code>NotImplemented</Code><Message>the server answered 501</Message></Error>";
        return answer.map(|_| HttpResponseBody::from(Bytes::from_static(SAID)));
    }
    answer
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_redirect_names_a_region_and_only_a_name_is_taken() {
        let learned = Learned::default();
        for (status, region) in [(200, "eu-west-1"), (301, "evil.example/"), (301, "eu-west-1@x"), (403, "eu-west-1"), (301, "")] {
            learned.note_region(status, Some(region));
            assert_eq!(learned.region(), None, "{status} {region}");
        }
        learned.note_region(301, Some("eu-west-1"));
        assert_eq!(learned.region().as_deref(), Some("eu-west-1"));
    }

    #[test]
    fn the_wait_that_is_asked_for_is_bounded() {
        assert_eq!(wait_asked(429, Some("2")), Some(Duration::from_secs(2)));
        assert_eq!(wait_asked(503, Some("86400")), Some(LONGEST_WAIT));
        for (status, header) in [(200, Some("2")), (429, None), (429, Some("0")), (429, Some("Fri, 31 Dec 1999 23:59:59 GMT"))] {
            assert_eq!(wait_asked(status, header), None, "{status} {header:?}");
        }
    }
}
