//! What a request may replace, and what happens where two such requests meet.
//!
//! Owns the patience with such a meeting, what is done where a server does not know conditions, and the condition of the end of an upload in parts: `object_store` has no
//! argument for it, so it stands beside the call and is put into the request on its way out. It is not signed, as
//! `object_store` does with its own condition there; S3 wants `Host` and `x-amz-*` signed and nothing else.

use std::time::Duration;

use http::HeaderValue;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use object_store::PutMode;
use object_store::client::HttpRequest;

use crate::contract::lacks::{Lack, Lacks};

/// How often a conditional request is sent that meets another one for the same key, and how long the first wait is;
/// each next one is twice as long.
const COLLISIONS: u32 = 6;
const COLLISION_WAIT: Duration = Duration::from_millis(100);

/// An error of either client that knows what the server's answer was about.
pub(super) trait Answered {
    /// It may be about how something was asked for, and not about what.
    fn is_about_the_request(&self) -> bool;
    /// Two requests for one key met.
    fn is_collision(&self) -> bool;
}

/// Sends a request again for as long as it meets another one for the same key.
pub(super) async fn patiently<T, E: Answered, F: Future<Output = Result<T, E>>>(call: impl Fn() -> F) -> Result<T, E> {
    let mut wait = COLLISION_WAIT;
    for _ in 1..COLLISIONS {
        match call().await {
            Err(error) if error.is_collision() => tokio::time::sleep(wait).await,
            done => return done,
        }
        wait *= 2;
    }
    call().await
}

/// Sends a request with its condition. Where the answer may be that the server does not know it, without; if that is
/// taken, conditions of that kind are not sent again.
pub(super) async fn with_condition<T, E: Answered, F: Future<Output = Result<T, E>>>(
    lacks: &Lacks,
    lack: Lack,
    over: PutMode,
    call: impl Fn(PutMode) -> F,
) -> Result<T, E> {
    if over == PutMode::Overwrite || lacks.has(lack) {
        return call(PutMode::Overwrite).await;
    }
    match call(over).await {
        Err(error) if error.is_about_the_request() => {}
        done => return done,
    }
    let done = call(PutMode::Overwrite).await?;
    lacks.note(lack);
    Ok(done)
}

tokio::task_local! {
    static OVER: PutMode;
}

/// Runs a call whose request that ends an upload depends on what is there.
pub(super) async fn under<T>(over: PutMode, call: impl Future<Output = T>) -> T {
    OVER.scope(over, call).await
}

/// Puts the condition into the request, if it ends an upload and has one.
pub(super) fn add(request: &mut HttpRequest) {
    let asks = |name: &str| request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some(name)));
    if request.method() != http::Method::POST || !asks("uploadId") {
        return;
    }
    if let Ok(Some((name, value))) = OVER.try_with(header) {
        request.headers_mut().insert(name, value);
    }
}

fn header(over: &PutMode) -> Option<(HeaderName, HeaderValue)> {
    match over {
        PutMode::Overwrite => None,
        PutMode::Create => Some((IF_NONE_MATCH, HeaderValue::from_static("*"))),
        PutMode::Update(there) => Some((IF_MATCH, HeaderValue::from_str(there.e_tag.as_deref()?).ok()?)),
    }
}
