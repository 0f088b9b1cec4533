//! What happens to every request of the SDK: it is counted, gets a digest that every server knows and names who pays.
//! A refusal is judged for another try.
//!
//! Owns the SDK's interceptors and its retry classifier, but not those of the data plane (`answers.rs`). Invariant:
//! each try on the wire is counted once.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextMut, BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
    BeforeTransmitInterceptorContextRef, InterceptorContext,
};
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::retries::classifiers::RetryClassifierPriority;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use aws_smithy_types::retry::ErrorKind;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest, Md5 as Hasher};

use super::answers::{Learned, wait_asked};
use super::wire::classify;
use crate::contract::fence;
use crate::contract::trace::{TracedCall, shown};
use crate::wire::probe::Probe;
use crate::wire::watch::{Bound, Watch, Watched};

/// Counts each try that the SDK sends, reads the server's clock and the bucket's region, and limits how much
/// of an answer is read.
#[derive(Debug)]
pub(super) struct Counter {
    pub probe: Arc<Probe>,
    pub learned: Arc<Learned>,
}

/// The request of the current try.
#[derive(Debug)]
struct UnderWay(Mutex<Option<TracedCall>>);

impl Storable for UnderWay {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Counter {
    fn name(&self) -> &'static str {
        "offsite-meter"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        fence::check("this machine")?;
        let request = context.request();
        let query = request.uri().split_once('?').map(|(_, query)| query);
        let copies = request.headers().get("x-amz-copy-source").is_some();
        let class = classify(request.method(), query, copies);
        let mut call = self.probe.meter.begin(class, || (request.method().to_owned(), shown(request.uri())));
        call.sent(request.body().content_length().unwrap_or_default());
        bag.interceptor_state().store_put(UnderWay(Mutex::new(Some(call))));
        Ok(())
    }

    /// The SDK would read a body to its end, whatever its size.
    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        let call = bag.load::<UnderWay>().and_then(|held| held.0.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut call = call.unwrap_or_else(TracedCall::untold);
        call.answered(response.status().as_u16());
        let bound = Bound::answer(response.status().is_success());
        let body = std::mem::replace(response.body_mut(), SdkBody::taken());
        *response.body_mut() = SdkBody::from_body_1_x(Watched::new(body, Watch::new(bound, None, call)));
        Ok(())
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response();
        self.probe.note_date(answer.headers().get("date"));
        self.learned.note_region(answer.status().as_u16(), answer.headers().get("x-amz-bucket-region"));
        Ok(())
    }
}

/// S3 requires a digest of the body for settings of a bucket and for bulk deletes. The SDK sends it as a
/// CRC32 in a header that many other servers do not know. `Content-MD5` is older than those servers, and AWS
/// accepts it too.
#[derive(Debug)]
pub(super) struct Md5;

impl Intercept for Md5 {
    fn name(&self) -> &'static str {
        "offsite-content-md5"
    }

    /// The SDK makes no checksum of its own if the request already has one.
    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        if wants_digest(request.method(), request.uri()) {
            request.headers_mut().insert(PLACEHOLDER, "-");
        }
        Ok(())
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        digest(context.request_mut());
        Ok(())
    }
}

/// Never sent: [`digest`] replaces it with `Content-MD5`.
const PLACEHOLDER: &str = "x-amz-checksum-md5";

/// Whether S3 requires a digest of this request's body: for settings of a bucket, and for bulk deletes.
fn wants_digest(method: &str, uri: &str) -> bool {
    const WANT: [&str; 6] = ["versioning", "lifecycle", "object-lock", "publicAccessBlock", "encryption", "delete"];
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    matches!(method, "PUT" | "POST") && query.split('&').any(|pair| pair.split('=').next().is_some_and(|name| WANT.contains(&name)))
}

fn digest(request: &mut HttpRequest) {
    let sums: Vec<String> = request
        .headers()
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .filter(|name| name.starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm")
        .collect();
    let Some(body) = request.body().bytes().filter(|_| sums.iter().any(|name| name == PLACEHOLDER)) else { return };
    let md5 = BASE64_STANDARD.encode(Hasher::digest(body));
    for name in sums {
        request.headers_mut().remove(name);
    }
    request.headers_mut().insert("content-md5", md5);
}

/// Says that the sender of the request pays for it.
#[derive(Debug)]
pub(super) struct Payer;

impl Intercept for Payer {
    fn name(&self) -> &'static str {
        "offsite-requester-pays"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().insert("x-amz-request-payer", "requester");
        Ok(())
    }
}

/// Judges a refusal by its status: timeouts (408), too many requests (429) and server errors that name a
/// wait. The SDK judges by error codes, which the answer to a HEAD cannot carry.
#[derive(Debug)]
pub(super) struct Again;

impl ClassifyRetry for Again {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(answer) = context.response() else { return RetryAction::NoActionIndicated };
        let status = answer.status().as_u16();
        let wait = wait_asked(status, answer.headers().get("retry-after"));
        match (status, wait) {
            (408 | 429 | 500 | 502..=504, Some(wait)) => RetryAction::retryable_error_with_explicit_delay(ErrorKind::ThrottlingError, wait),
            (408 | 429, None) => RetryAction::throttling_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "offsite-again"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::http_status_code_classifier())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_bulk_deletes_carry_a_digest_and_nothing_else_does() {
        for (method, uri, wants) in [
            ("PUT", "/acme?versioning", true),
            ("PUT", "/?lifecycle", true),
            ("POST", "/?delete&x-id=DeleteObjects", true),
            ("GET", "/?versioning", false),
            ("PUT", "/versioning", false),
            ("PUT", "/a?partNumber=1&uploadId=delete", false),
        ] {
            assert_eq!(wants_digest(method, uri), wants, "{method} {uri}");
        }
    }
}
