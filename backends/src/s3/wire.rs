//! S3's own details on the wire: the billing classes of its requests, and the version `null`.
//!
//! Owns the dialect for the shared connection (`crate::wire::metered`). The control plane uses the classes too.
//! Invariant: a class is what AWS bills the request as.

use object_store::HeaderMap;
use object_store::client::HttpRequest;

use crate::contract::meter::Class;
use crate::wire::metered::Dialect;

const VERSION: &str = "x-amz-version-id";

pub(super) const DIALECT: Dialect = Dialect { class, mend };

fn class(request: &HttpRequest) -> Class {
    let copies = request.headers().contains_key("x-amz-copy-source");
    classify(request.method().as_str(), request.uri().query(), copies)
}

/// Removes the version `null` of a bucket without versioning: callers would take it for a version that lasts.
fn mend(headers: &mut HeaderMap) {
    if headers.get(VERSION).is_some_and(|version| version == "null") {
        headers.remove(VERSION);
    }
}

/// The class of an S3 request. `copies` says whether the request names a source on the server.
pub(super) fn classify(method: &str, query: Option<&str>, copies: bool) -> Class {
    let query = query.unwrap_or("");
    let asks = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    match method {
        _ if copies => Class::Copy,
        "HEAD" => Class::Head,
        "GET" if ["list-type", "versions", "uploads", "uploadId"].iter().any(|name| asks(name)) => Class::List,
        "GET" => Class::Get,
        _ if asks("uploads") || asks("uploadId") => Class::Multipart,
        "POST" if asks("delete") => Class::Delete,
        "DELETE" => Class::Delete,
        _ => Class::Put,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_sorted_as_they_are_billed() {
        for (method, query, copies, class) in [
            ("PUT", None, false, Class::Put),
            ("PUT", Some("x-id=CopyObject"), true, Class::Copy),
            ("PUT", Some("partNumber=1&uploadId=a"), false, Class::Multipart),
            ("PUT", Some("partNumber=1&uploadId=a"), true, Class::Copy),
            ("POST", Some("uploads="), false, Class::Multipart),
            ("POST", Some("uploads"), false, Class::Multipart),
            ("POST", Some("uploadId=a"), false, Class::Multipart),
            ("DELETE", Some("uploadId=a"), false, Class::Multipart),
            ("POST", Some("delete"), false, Class::Delete),
            ("DELETE", None, false, Class::Delete),
            ("GET", Some("list-type=2&prefix=a"), false, Class::List),
            ("GET", Some("versions"), false, Class::List),
            ("GET", Some("versionId=a"), false, Class::Get),
            ("GET", None, false, Class::Get),
            ("HEAD", None, false, Class::Head),
        ] {
            assert_eq!(classify(method, query, copies), class, "{method} {query:?}");
        }
    }
}
