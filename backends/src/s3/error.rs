//! What S3 servers say when they refuse, and others in the same form, turned into kinds and into advice.
//!
//! Owns the table of S3 error codes and the reading of them out of `object_store`'s texts and the
//! SDK's errors. Invariants: the code decides before the HTTP status does, because servers disagree
//! on statuses; and what a server said is passed on, shortened, never replaced by a guess.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::error::{chain, kind_of_text};
use crate::{Error, ErrorKind, Location, Reach};

/// A refusal as far as it is known.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: Option<u16>,
    /// The status with its reason, where the answer was nothing more.
    line: Option<String>,
    code: Option<String>,
    message: Option<String>,
    region: Option<String>,
    /// Why there was no answer at all.
    unreachable: Option<String>,
}

impl Refusal {
    /// Finds a refusal in a text of `object_store` 0.14, which prints the status and the whole body.
    pub(crate) fn read(text: &str) -> Option<Self> {
        if text.contains("Received redirect without LOCATION") {
            return Some(Self { code: Some("PermanentRedirect".into()), ..Self::default() });
        }
        if let Some((rest, code)) = text.rsplit_once(" (code: ")
            && let Some((_, what)) = rest.split_once("DeleteObjects request failed for key ")
        {
            let code = code.split(')').next().map(str::to_owned);
            let message = what.rsplit_once(": ").map(|(_, message)| message.to_owned());
            return Some(Self { code, message, ..Self::default() });
        }
        if let Some((request, why)) = text.split_once(" - HTTP error: ") {
            let why = format!("cannot talk to {}: {why}", server(request));
            return Some(Self { unreachable: Some(why), ..Self::default() });
        }
        let (status, line, body) = match text.split_once("Server returned non-2xx status code: ") {
            Some((_, rest)) => {
                let line = rest.split(':').next().unwrap_or(rest);
                (line.get(..3).and_then(|digits| digits.parse().ok()), Some(line.to_owned()), rest)
            }
            None => (None, None, text.split_once("Server returned error response: ")?.1),
        };
        let (code, message, region) = (tag(body, "Code"), tag(body, "Message"), tag(body, "Region"));
        Some(Self { status, line, code, message, region, unreachable: None })
    }

    /// Whatever was asked for, the bucket is not there.
    pub(crate) fn is_no_bucket(&self) -> bool {
        self.code.as_deref() == Some("NoSuchBucket")
    }

    /// What can be done about it; none where neither code nor status is one we know.
    pub(crate) fn kind(&self) -> Option<ErrorKind> {
        self.kind_of_code().or_else(|| self.status.and_then(kind_of_status))
    }

    fn kind_of_code(&self) -> Option<ErrorKind> {
        Some(match self.code.as_deref()? {
            "NoSuchKey" | "NoSuchBucket" | "NoSuchVersion" | "NoSuchUpload" => ErrorKind::NotFound,
            "PreconditionFailed" => ErrorKind::Precondition,
            "AccessDenied"
            | "AllAccessDisabled"
            | "AccountProblem"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "InvalidSecurity"
            | "InvalidClientTokenId"
            | "NotSignedUp"
            | "UnauthorizedAccess" => ErrorKind::Denied,
            "RequestTimeTooSkewed" => ErrorKind::Clock,
            // Read without having been brought back, or asked for a second time while it is on its way.
            "InvalidObjectState" | "RestoreAlreadyInProgress" => ErrorKind::Archived,
            "InternalError"
            | "SlowDown"
            | "ServiceUnavailable"
            | "RequestTimeout"
            | "OperationAborted"
            | "ConditionalRequestConflict"
            | "Throttling"
            | "ThrottlingException"
            | "TooManyRequests"
            | "RequestLimitExceeded"
            | "BandwidthLimitExceeded"
            | "BadDigest"
            | "XAmzContentSHA256Mismatch"
            | "IncompleteBody" => ErrorKind::Transient,
            "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" => ErrorKind::Full,
            "NotImplemented" | "MethodNotAllowed" => ErrorKind::Unsupported,
            "InvalidBucketName"
            | "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => ErrorKind::Invalid,
            "KeyTooLongError" => ErrorKind::NameRefused,
            "EntityTooLarge" => ErrorKind::TooLarge,
            _ => return None,
        })
    }

    /// How far it reaches: whoever is not known, and what is not there as a whole, is refused for every object.
    pub(crate) fn reach(&self, kind: ErrorKind) -> Reach {
        match (self.code.as_deref(), self.status) {
            (
                Some(
                    "NoSuchBucket"
                    | "InvalidBucketName"
                    | "AllAccessDisabled"
                    | "AccountProblem"
                    | "InvalidAccessKeyId"
                    | "SignatureDoesNotMatch"
                    | "ExpiredToken"
                    | "InvalidToken"
                    | "TokenRefreshRequired"
                    | "InvalidSecurity"
                    | "InvalidClientTokenId"
                    | "NotSignedUp"
                    | "UnauthorizedAccess"
                    | "PermanentRedirect"
                    | "TemporaryRedirect"
                    | "AuthorizationHeaderMalformed"
                    | "IllegalLocationConstraintException",
                ),
                _,
            )
            | (None, Some(300..=399 | 401)) => Reach::Place,
            _ => kind.reach(),
        }
    }

    /// Whether a conflict was about two requests at once and not about an object that is there.
    pub(crate) fn is_collision(&self) -> bool {
        matches!(self.code.as_deref(), Some("ConditionalRequestConflict" | "OperationAborted"))
    }

    /// Whether it may be about how the request was made, a header or the verb itself, and not about the object,
    /// the rights or the moment. Then the same thing asked for in another way may be taken.
    pub(crate) fn is_about_the_request(&self) -> bool {
        let unknown =
            ["NotImplemented", "MethodNotAllowed", "InvalidArgument", "InvalidRequest", "UnsupportedArgument", "MissingContentMD5"];
        match (self.code.as_deref(), self.status) {
            (Some(code), _) => unknown.contains(&code),
            (None, status) => matches!(status, Some(400 | 405 | 501)),
        }
    }

    /// One sentence: the server's own words, then what to do; none where the server gave no words.
    /// Whose words the advice uses, the scheme tells.
    pub(crate) fn sentence(&self, scheme: &str) -> Option<String> {
        if self.unreachable.is_some() {
            return self.unreachable.clone();
        }
        let said = match (self.code.as_deref(), self.message.as_deref(), self.line.as_deref(), self.status) {
            (Some(code), Some(message), ..) if !message.is_empty() => {
                format!("{code}: {}", message.trim_end_matches('.'))
            }
            (Some(code), ..) => code.to_owned(),
            (None, _, Some(line), _) => format!("the server answered {line}"),
            (None, _, None, Some(status)) => format!("the server answered {status}"),
            _ => return None,
        };
        let advice = match scheme {
            "gs" => crate::gcs::advice(self.code.as_deref(), self.status).map(str::to_owned),
            _ => self.advice(),
        };
        Some(match advice {
            Some(advice) => format!("{advice} ({said})"),
            None => said,
        })
    }

    fn mentions_checksums(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.to_ascii_lowercase().contains("checksum"))
    }

    fn advice(&self) -> Option<String> {
        const LOOK: &str = "look at AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials";
        Some(match self.code.as_deref() {
            Some("NoSuchBucket") => {
                "no such bucket: create it first (`offsite init` does), or check the name, region and endpoint".to_owned()
            }
            Some("InvalidAccessKeyId" | "InvalidClientTokenId" | "InvalidToken") => {
                format!("the server does not know this access key: {LOOK}")
            }
            Some("SignatureDoesNotMatch") => format!("the secret key is not the one of this access key: {LOOK}"),
            Some("ExpiredToken" | "TokenRefreshRequired") => {
                "the session has expired: sign in again (`aws sso login`) or renew AWS_SESSION_TOKEN".to_owned()
            }
            Some("AccessDenied" | "AllAccessDisabled") => {
                format!("the server does not allow this: look at the policies of the bucket and the user; for other credentials, {LOOK}")
            }
            None if self.status == Some(403) => {
                format!("the server does not allow this: look at the policies of the bucket and the user; for other credentials, {LOOK}")
            }
            Some("NotImplemented" | "InvalidArgument" | "InvalidRequest") if self.mentions_checksums() => {
                "the server does not know the checksum that is sent along: add ?checksum=none".to_owned()
            }
            Some("RequestTimeTooSkewed") => "the clock of this machine is wrong: set it".to_owned(),
            Some("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
                match self.region.as_deref() {
                    Some(region) => format!("the bucket is in another region: add ?region={region}"),
                    None => "the bucket is in another region: add ?region=… or set AWS_REGION".to_owned(),
                }
            }
            _ => return None,
        })
    }
}

/// From an error of the SDK about the object or bucket at `key`.
pub(super) fn from_sdk<E>(location: &Location, key: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    if let Some(own) = Error::within(error) {
        return own.at(location.at(key));
    }
    let text = chain(error);
    let Some(raw) = error.raw_response() else {
        let kind = match (kind_of_text(&text), error) {
            (ErrorKind::Other, SdkError::TimeoutError(_)) => ErrorKind::Transient,
            (kind, _) => kind,
        };
        let text = text.replacen("dispatch failure", "cannot talk to the server", 1);
        return Error::new(kind, location.at(key), text);
    };
    let refusal = Refusal {
        status: Some(raw.status().as_u16()),
        line: None,
        code: error.code().map(str::to_owned),
        message: error.message().map(str::to_owned),
        region: raw.headers().get("x-amz-bucket-region").map(str::to_owned),
        unreachable: None,
    };
    let kind = refusal.kind().unwrap_or_else(|| kind_of_text(&text));
    Error::new(kind, location.at(key), refusal.sentence(location.scheme()).unwrap_or(text)).reaching(refusal.reach(kind))
}

/// One key's refusal out of a bulk delete.
pub(super) fn from_bulk(location: &Location, key: &str, code: Option<&str>, message: Option<&str>) -> Error {
    let own = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let refusal = Refusal { code: own(code), message: own(message), ..Refusal::default() };
    let kind = refusal.kind().unwrap_or(ErrorKind::Other);
    let message = refusal.sentence(location.scheme()).unwrap_or_else(|| "the server did not delete it".to_owned());
    Error::new(kind, location.at(key), message).reaching(refusal.reach(kind))
}

fn kind_of_status(status: u16) -> Option<ErrorKind> {
    Some(match status {
        300..=399 => ErrorKind::Invalid,
        401 | 403 => ErrorKind::Denied,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Exists,
        412 => ErrorKind::Precondition,
        405 | 501 => ErrorKind::Unsupported,
        507 => ErrorKind::Full,
        408 | 429 | 500..=599 => ErrorKind::Transient,
        _ => return None,
    })
}

/// Scheme and host of the URL in `Error performing PUT http://host/… in …`.
fn server(request: &str) -> &str {
    let Some(scheme) = request.find("http") else {
        return "the server";
    };
    let url = &request[scheme..];
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', ' ']).map_or(url.len(), |at| host + at);
    &url[..end]
}

/// The text of the first XML element of that name; enough for the flat `<Error>` documents of S3.
pub(super) fn tag(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = text.replace("&quot;", "\"").replace("&apos;", "'").replace("&lt;", "<").replace("&gt;", ">");
    Some(plain.replace("&amp;", "&").trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_error(rest: &str) -> Error {
        let location = Location::parse("s3://acme/p").unwrap();
        let text = format!("Error performing PUT http://127.0.0.1:1/acme/p/50%25 in 1.50s - {rest}");
        let error = object_store::Error::Generic { store: "S3", source: text.into() };
        Error::from_store(&location, "k", &error)
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
        for (status, code, kind, concerns_place) in [
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
            assert_eq!((error.kind, error.concerns_place()), (kind, concerns_place), "{code}");
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

    #[test]
    fn one_key_of_a_bulk_delete_is_told_apart() {
        let text = "DeleteObjects request failed for key a: (code: x): Access Denied (code: AccessDenied)";
        let refusal = Refusal::read(text).unwrap();
        assert_eq!((refusal.kind(), refusal.message.as_deref()), (Some(ErrorKind::Denied), Some("Access Denied")));
    }

    #[test]
    fn mutated_refusals_are_read_or_none() {
        let body = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Reduce &lt;it&gt;</Message><Region>eu</Region><RequestId>1</RequestId></Error>";
        let seeds: Vec<Vec<u8>> = [
            format!("Error performing PUT http://h/b/k in 1s - Server returned non-2xx status code: 503 Service Unavailable: {body}"),
            format!("Server returned error response: {body}"),
            "Error performing GET http://u:p@h/b - HTTP error: error sending request".to_owned(),
            "DeleteObjects request failed for key a(b): no such thing (code: AccessDenied)".to_owned(),
            body.to_owned(),
        ]
        .map(String::into_bytes)
        .into();
        crate::fuzz::cases("refusals of S3", &seeds, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let refusal = Refusal::read(&text);
            if let Some(refusal) = refusal {
                let said = (refusal.kind(), refusal.is_no_bucket(), refusal.is_collision());
                assert!(refusal.sentence("s3").is_none_or(|s| s.len() <= 2 * text.len() + 4096), "{said:?}");
            }
        });
    }
}
