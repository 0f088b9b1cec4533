//! What S3 servers say when they refuse, turned into errors and into advice.
//!
//! Owns the advice, and the reading of the SDK's errors; `crate::wire::refusal` has the codes.
//! Invariant: what a server said is passed on, shortened, never replaced by a guess.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::over::Answered;
use crate::contract::error::{Error, ErrorKind, chain};
use crate::contract::location::Location;
use crate::wire::refusal::{self, Refusal, kind_of_text};

/// From an error of the data plane about the object at `key`.
pub(super) fn from_store(location: &Location, key: &str, error: &object_store::Error) -> Error {
    refusal::from_store(location, key, error, advice)
}

/// An error with the answer that it was made from.
#[derive(Debug)]
pub(super) struct SdkRefusal {
    error: Error,
    answer: Refusal,
}

impl SdkRefusal {
    pub(super) fn into_error(self) -> Error {
        self.error
    }

    /// The server does not know this kind of request at all.
    pub(super) fn is_not_implemented(&self) -> bool {
        self.answer.status == Some(501) || self.answer.code.as_deref() == Some("NotImplemented")
    }
}

impl From<Error> for SdkRefusal {
    fn from(error: Error) -> Self {
        Self { error, answer: Refusal::default() }
    }
}

impl Answered for SdkRefusal {
    fn is_about_the_request(&self) -> bool {
        self.answer.is_about_the_request()
    }

    fn is_collision(&self) -> bool {
        self.answer.is_collision()
    }
}

impl Answered for object_store::Error {
    fn is_about_the_request(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::AlreadyExists { .. } | Self::Precondition { .. } | Self::NotModified { .. } => false,
            error => Refusal::read(&chain(error)).is_some_and(|refusal| refusal.is_about_the_request()),
        }
    }

    fn is_collision(&self) -> bool {
        matches!(self, Self::AlreadyExists { .. }) && Refusal::read(&chain(self)).is_some_and(|refusal| refusal.is_collision())
    }
}

/// From an error of the SDK about the object or bucket at `key`.
pub(super) fn from_sdk<E>(location: &Location, key: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    refused_by_sdk(location, key, error).error
}

/// The same, with the answer.
pub(super) fn refused_by_sdk<E>(location: &Location, key: &str, error: &SdkError<E, HttpResponse>) -> SdkRefusal
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    if let Some(own) = Error::within(error) {
        return own.at(location.at(key)).into();
    }
    let text = chain(error);
    let Some(raw) = error.raw_response() else {
        let kind = match (kind_of_text(&text), error) {
            (ErrorKind::Other, SdkError::TimeoutError(_)) => ErrorKind::Transient,
            (kind, _) => kind,
        };
        let text = text.replacen("dispatch failure", "cannot talk to the server", 1);
        return Error::new(kind, location.at(key), text).into();
    };
    let answer = Refusal {
        status: Some(raw.status().as_u16()),
        line: None,
        code: error.code().map(str::to_owned),
        message: error.message().map(str::to_owned),
        region: raw.headers().get("x-amz-bucket-region").map(str::to_owned),
        unreachable: None,
    };
    let kind = answer.kind().unwrap_or_else(|| kind_of_text(&text));
    let error = Error::new(kind, location.at(key), answer.sentence(advice).unwrap_or(text)).reaching(answer.reach(kind));
    SdkRefusal { error, answer }
}

/// One key's refusal out of a bulk delete.
pub(super) fn from_bulk(location: &Location, key: &str, code: Option<&str>, message: Option<&str>) -> Error {
    let own = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let refusal = Refusal { code: own(code), message: own(message), ..Refusal::default() };
    let kind = refusal.kind().unwrap_or(ErrorKind::Other);
    let message = refusal.sentence(advice).unwrap_or_else(|| "the server did not delete it".to_owned());
    Error::new(kind, location.at(key), message).reaching(refusal.reach(kind))
}

fn advice(refusal: &Refusal) -> Option<String> {
    const LOOK: &str = "check AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials";
    Some(match refusal.code.as_deref() {
        Some("NoSuchBucket") => "no such bucket: create it first (`offsite init` does), or check the name, region and endpoint".to_owned(),
        Some("InvalidAccessKeyId" | "InvalidClientTokenId" | "InvalidToken") => {
            format!("the server does not know this access key: {LOOK}")
        }
        Some("SignatureDoesNotMatch") => format!("the secret key does not belong to this access key: {LOOK}"),
        Some("ExpiredToken" | "TokenRefreshRequired") => {
            "the session has expired: sign in again (`aws sso login`) or renew AWS_SESSION_TOKEN".to_owned()
        }
        Some("AccessDenied" | "AllAccessDisabled") => {
            format!("the server does not allow this: check the policies of the bucket and the user; for other credentials, {LOOK}")
        }
        None if refusal.status == Some(403) => {
            format!("the server does not allow this: check the policies of the bucket and the user; for other credentials, {LOOK}")
        }
        Some("NotImplemented" | "InvalidArgument" | "InvalidRequest") if refusal.mentions_checksums() => {
            "the server does not know the checksum of the upload: add ?checksum=none".to_owned()
        }
        Some("RequestTimeTooSkewed") => "the clock of this machine is wrong: set it".to_owned(),
        Some("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            match refusal.region.as_deref() {
                Some(region) => format!("the bucket is in another region: add ?region={region}"),
                None => "the bucket is in another region: add ?region=… or set AWS_REGION".to_owned(),
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_error(rest: &str) -> Error {
        let location = Location::parse("s3://acme/p").unwrap();
        let text = format!("Error performing PUT http://127.0.0.1:1/acme/p/50%25 in 1.50s - {rest}");
        let error = object_store::Error::Generic { store: "S3", source: text.into() };
        from_store(&location, "k", &error)
    }

    #[test]
    fn statuses_and_codes_of_object_store_become_kinds() {
        let body = |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>So it is.</Message></Error>");
        for (rest, kind) in [
            ("Server returned non-2xx status code: 503 Service Unavailable: ".to_owned(), ErrorKind::Transient),
            ("Server returned non-2xx status code: 400 Bad Request: 500 503".to_owned(), ErrorKind::Other),
            (format!("Server returned non-2xx status code: 400 Bad Request: {}", body("ExpiredToken")), ErrorKind::Denied),
            (format!("Server returned non-2xx status code: 404 Not Found: {}", body("NoSuchBucket")), ErrorKind::NotFound),
            (format!("Server returned error response: {}", body("SlowDown")), ErrorKind::Transient),
            (format!("Server returned non-2xx status code: 507 Insufficient Storage: {}", body("X")), ErrorKind::Full),
            ("HTTP error: error sending request: Connection refused (os error 111)".to_owned(), ErrorKind::Transient),
            ("HTTP error: error sending request: invalid peer certificate: UnknownIssuer".to_owned(), ErrorKind::Untrusted),
            ("Received redirect without LOCATION, this normally".to_owned(), ErrorKind::Invalid),
        ] {
            assert_eq!(store_error(&rest).kind, kind, "{rest}");
        }
    }

    #[test]
    fn a_refusal_knows_how_far_it_reaches() {
        for (status, code, kind, concerns_destination) in [
            ("403 Forbidden", "InvalidObjectState", ErrorKind::Archived, false),
            ("403 Forbidden", "AccessDenied", ErrorKind::Denied, false),
            ("403 Forbidden", "InvalidAccessKeyId", ErrorKind::Denied, true),
            ("403 Forbidden", "RequestTimeTooSkewed", ErrorKind::Clock, true),
            ("404 Not Found", "NoSuchKey", ErrorKind::NotFound, false),
            ("404 Not Found", "NoSuchBucket", ErrorKind::NotFound, true),
            ("400 Bad Request", "KeyTooLongError", ErrorKind::NameRefused, false),
            ("400 Bad Request", "EntityTooLarge", ErrorKind::TooLarge, false),
            ("503 Service Unavailable", "SlowDown", ErrorKind::Transient, true),
        ] {
            let error = store_error(&format!("Server returned non-2xx status code: {status}: <Error><Code>{code}</Code></Error>"));
            assert_eq!((error.kind, error.concerns_destination()), (kind, concerns_destination), "{code}");
        }
    }

    #[test]
    fn the_message_says_what_to_do_and_what_was_said() {
        let error = store_error(
            "Server returned non-2xx status code: 400 Bad Request: <Error><Code>AuthorizationHeaderMalformed</Code>\
             <Message>the region &apos;a&apos; is wrong</Message><Region>eu-west-1</Region></Error>",
        );
        assert_eq!(
            error.to_string(),
            "s3://acme/p/k: the bucket is in another region: add ?region=eu-west-1 \
             (AuthorizationHeaderMalformed: the region 'a' is wrong)"
        );
        let error = store_error("Server returned non-2xx status code: 403 Forbidden: ");
        assert!(error.message.contains("AWS_PROFILE") && error.kind == ErrorKind::Denied, "{error}");
    }

    #[test]
    fn a_server_that_cannot_be_reached_is_named() {
        let error = store_error("HTTP error: error sending request: Connection refused");
        assert_eq!(error.message, "cannot talk to http://127.0.0.1:1: error sending request: Connection refused");
    }
}
