//! What a request may replace, and what happens when two such requests collide.
//!
//! Owns the repetition after a collision, the fallback for servers without conditions, and the condition on the
//! request that ends an upload in parts. `object_store` has no argument for that condition, so it is kept beside the
//! call and added when the request is sent. It is not signed. `object_store` does not sign its own condition there
//! either, and S3 requires signatures only for `Host` and `x-amz-*`.

use std::time::Duration;

use http::HeaderValue;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use object_store::PutMode;
use object_store::client::HttpRequest;

use crate::contract::missing_features::{MissingFeature, MissingFeatures};

/// How many times a conditional request is sent that collides with another one for the same key, and how long
/// the first wait is. Each later wait is twice as long.
const COLLISIONS: u32 = 6;
const COLLISION_WAIT: Duration = Duration::from_millis(100);

/// An error of either client, with what the server's refusal was about.
pub(super) trait Answered {
    /// Whether the refusal may be about the form of the request and not about the object.
    fn is_about_the_request(&self) -> bool;
    /// Whether two requests for one key collided.
    fn is_collision(&self) -> bool;
}

/// Sends a request again while it collides with another one for the same key, up to [`COLLISIONS`] times in
/// all.
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

/// Sends a request with its condition. If the refusal may mean that the server does not know the condition,
/// sends it without. If that succeeds, conditions of this kind are not sent again.
pub(super) async fn with_condition<T, E: Answered, F: Future<Output = Result<T, E>>>(
    missing: &MissingFeatures,
    feature: MissingFeature,
    over: PutMode,
    call: impl Fn(PutMode) -> F,
) -> Result<T, E> {
    if over == PutMode::Overwrite || missing.has(feature) {
        return call(PutMode::Overwrite).await;
    }
    match call(over).await {
        Err(error) if error.is_about_the_request() => {}
        done => return done,
    }
    let done = call(PutMode::Overwrite).await?;
    missing.note(feature);
    Ok(done)
}

tokio::task_local! {
    static OVER: PutMode;
}

/// Runs a call with the condition for its request that ends an upload.
pub(super) async fn under<T>(over: PutMode, call: impl Future<Output = T>) -> T {
    OVER.scope(over, call).await
}

/// Adds the condition to the request, if the request ends an upload and has one.
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
