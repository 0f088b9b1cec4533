//! Answers of S3 servers, before `object_store` reads them.
//!
//! Owns what has to be seen or mended there: a part of an object that comes without saying so, the region that
//! a redirect names, how long to wait before the next try, and refusals for good that would be tried again.
//! Invariant: no answer is made better than it is; what cannot be mended is passed on as it came.

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
use crate::contract::lacks::{Lack, Lacks};
use crate::wire::metered::MeteredConnector;
use crate::wire::probe::Probe;
use crate::wire::ranges::{self, Asked};

/// Longest wait that a server is granted before the next try.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What both planes have learned from answers.
#[derive(Debug, Default)]
pub(super) struct Learned {
    pub lacks: Lacks,
    region: Mutex<Option<String>>,
}

impl Learned {
    /// The region in which the bucket was last said to be.
    pub(super) fn region(&self) -> Option<String> {
        self.region.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the region out of a refusal. It goes into a host's name, so nothing but a region's name will do.
    pub(super) fn note_region(&self, status: u16, region: Option<&str>) {
        let plain =
            |text: &&str| (3..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if let (301 | 302 | 307 | 308 | 400, Some(region)) = (status, region.filter(plain)) {
            *self.region.lock().unwrap_or_else(PoisonError::into_inner) = Some(region.to_owned());
        }
    }
}

/// How long a refusal asks to wait, in whole seconds of `Retry-After`.
pub(super) fn wait_asked(status: u16, header: Option<&str>) -> Option<Duration> {
    let seconds: u64 = matches!(status, 408 | 429 | 500..=599).then_some(header)??.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT)).filter(|wait| !wait.is_zero())
}

/// Makes the clients of `object_store`, metered, with answers mended.
#[derive(Debug)]
pub(super) struct S3Connector {
    pub probe: Arc<Probe>,
    pub learned: Arc<Learned>,
    /// Of `AWS_CA_BUNDLE` or the profile's `ca_bundle`.
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
            self.learned.lacks.note(Lack::Ranges);
        }
        Ok(answer)
    }
}

/// `object_store` tries every 5xx again. 501 will not change, so it goes on as what is not tried again and
/// means the same; where the server had no words, the status becomes some.
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
