//! Google's refusals as error kinds, with advice.
//!
//! Owns the table of gRPC codes, and the advice for refusals of the XML API, which have S3's form
//! (`crate::wire::refusal` reads them). Invariant: the server's words are passed on, and never replaced by a guess.

use google_cloud_gax::error::Error as RpcError;
use google_cloud_gax::error::rpc::Code;

use crate::contract::error::{Error, ErrorKind, Reach, chain};
use crate::contract::location::Location;
use crate::wire::refusal::{self, Refusal, kind_of_text};

const ALLOW: &str = "the credentials do not allow this: check the roles of the account on the bucket";
const WHO: &str = "the server does not take these credentials: run `gcloud auth application-default login`, or look at \
                   GOOGLE_APPLICATION_CREDENTIALS and the credentials setting";
const BUCKET: &str = "no such bucket: create it first, or check the name and endpoint";

/// Converts an error of the data plane about the object at `key`.
pub(super) fn from_store(location: &Location, key: &str, error: &object_store::Error) -> Error {
    refusal::from_store(location, key, error, advice)
}

/// What to do about a refusal of the XML API, by its code or else its status.
fn advice(refusal: &Refusal) -> Option<String> {
    let advice = match (refusal.code.as_deref(), refusal.status) {
        (Some("NoSuchBucket"), _) => BUCKET,
        (Some("UserProjectMissing"), _) => "requester-pays buckets are not supported",
        (Some("AuthenticationRequired" | "InvalidSecurity" | "ExpiredToken"), _) | (_, Some(401)) => WHO,
        (Some("AccessDenied"), _) | (None, Some(403)) => ALLOW,
        _ => return None,
    };
    Some(advice.to_owned())
}

/// Converts an error of the gRPC client about the object at `key`, or about the bucket if `key` is empty.
pub(super) fn from_rpc(location: &Location, key: &str, error: &RpcError) -> Error {
    if let Some(own) = Error::within(error) {
        return own.at(location.at(key));
    }
    let Some(status) = error.status() else {
        let text = chain(error);
        let kind = match kind_of_text(&text) {
            _ if error.is_authentication() => ErrorKind::Denied,
            _ if speaks_no_grpc(error) => ErrorKind::Unsupported,
            ErrorKind::Other if error.is_io() || error.is_timeout() || error.is_connect() || error.is_transport() => ErrorKind::Transient,
            kind => kind,
        };
        return Error::new(kind, location.at(key), hint(kind, text));
    };
    let no_bucket = status.code == Code::NotFound && (key.is_empty() || status.message.contains("bucket does not exist"));
    let kind = kind_of(status.code, &status.message);
    let advice = match status.code {
        _ if no_bucket => Some(BUCKET),
        Code::PermissionDenied => Some(ALLOW),
        Code::Unauthenticated => Some(WHO),
        _ => None,
    };
    let said = format!("{}: {}", status.code.name(), status.message.trim_end_matches('.'));
    let place = if no_bucket { location.to_string() } else { location.at(key) };
    let reach = if no_bucket || status.code == Code::Unauthenticated { Reach::Destination } else { kind.reach() };
    let message = match advice {
        Some(advice) => format!("{advice} ({said})"),
        None => hint(kind, said),
    };
    Error::new(kind, place, message).reaching(reach)
}

/// Whether the answer was not gRPC: HTTP/2 reads an answer of HTTP/1.1 as a frame of impossible length.
pub(super) fn speaks_no_grpc(error: &RpcError) -> bool {
    let is_transport = error.status().is_none() && (error.is_transport() || error.is_connect() || error.is_io());
    is_transport && (error.http_status_code().is_some() || chain(error).contains("http2 error: connection error"))
}

/// Adds advice if the server has only the XML API and does not understand the gRPC client.
fn hint(kind: ErrorKind, text: String) -> String {
    match kind {
        ErrorKind::Unsupported => format!("the server does not speak gRPC there; name one that does with control_endpoint=… ({text})"),
        _ => text,
    }
}

fn kind_of(code: Code, message: &str) -> ErrorKind {
    match code {
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::Exists,
        Code::FailedPrecondition => ErrorKind::Precondition,
        Code::PermissionDenied | Code::Unauthenticated => ErrorKind::Denied,
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::InvalidArgument | Code::OutOfRange => ErrorKind::Invalid,
        Code::Aborted | Code::DeadlineExceeded | Code::Internal | Code::ResourceExhausted | Code::Unavailable => ErrorKind::Transient,
        _ => kind_of_text(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use google_cloud_gax::error::rpc::Status;

    fn rpc(code: Code, message: &str, key: &str) -> Error {
        let error = RpcError::service(Status::default().set_code(code).set_message(message));
        from_rpc(&Location::parse("gs://acme/p").unwrap(), key, &error)
    }

    #[test]
    fn codes_become_kinds_and_advice() {
        let error = rpc(Code::PermissionDenied, "x does not have storage.buckets.get access.", "");
        assert_eq!(error.kind, ErrorKind::Denied);
        assert!(error.to_string().starts_with("gs://acme/p: the credentials do not allow this"), "{error}");
        assert!(error.message.contains("storage.buckets.get access)"), "{error}");
        let error = rpc(Code::NotFound, "The specified bucket does not exist.", "k");
        assert!(error.to_string().starts_with("gs://acme/p: no such bucket"), "{error}");
        let error = rpc(Code::NotFound, "No such object: acme/p/k", "k");
        assert_eq!((error.kind, error.url.as_str()), (ErrorKind::NotFound, "gs://acme/p/k"));
        assert_eq!(rpc(Code::FailedPrecondition, "no", "k").kind, ErrorKind::Precondition);
        assert_eq!(rpc(Code::Unavailable, "no", "k").kind, ErrorKind::Transient);
        assert!(rpc(Code::Unimplemented, "", "").message.contains("control_endpoint"));
    }

    #[test]
    fn refusals_of_the_data_plane_are_told_in_googles_words() {
        let text = "Error performing PUT https://storage.googleapis.com/acme/p/k in 1s - Server returned non-2xx status code: \
                    401 Unauthorized: <Error><Code>AuthenticationRequired</Code><Message>Authentication required.</Message></Error>";
        let error = object_store::Error::Generic { store: "GCS", source: text.into() };
        let error = from_store(&Location::parse("gs://acme/p").unwrap(), "k", &error);
        assert_eq!(error.kind, ErrorKind::Denied);
        assert!(error.message.contains("gcloud") && !error.message.contains("AWS"), "{error}");
    }
}
