//! What a request may replace, and what happens where two such requests meet.
//!
//! Owns the patience with such a meeting, and the condition of the end of an upload in parts: `object_store` has no
//! argument for it, so it stands beside the call and is put into the request on its way out. It is not signed, as
//! `object_store` does with its own condition there; S3 wants `Host` and `x-amz-*` signed and nothing else.

use std::time::Duration;

use http::HeaderValue;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use object_store::PutMode;
use object_store::client::HttpRequest;

/// How often a conditional request is sent again that met another one for the same key, and how long the first wait
/// is; each next one is twice as long.
pub(super) const COLLISIONS: u32 = 6;
pub(super) const COLLISION_WAIT: Duration = Duration::from_millis(100);

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
