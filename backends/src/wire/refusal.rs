//! Refusals in the XML form that S3 servers and Google answer with, turned into kinds.
//!
//! Owns the table of their codes and the reading of them out of `object_store`'s texts. What to do about one is each
//! store's own to say ([`Advice`]). Invariants: the code decides before the HTTP status does, because servers disagree
//! on statuses; and what a server said is passed on, shortened, never replaced by a guess.

use crate::contract::data_plane::kind_of_variant;
use crate::contract::error::{self, Error, ErrorKind, Reach, chain};
use crate::contract::location::Location;

/// What a store says to do about a refusal.
pub(crate) type Advice = fn(&Refusal) -> Option<String>;

/// A refusal as far as it is known.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: Option<u16>,
    /// The status with its reason, where the answer was nothing more.
    pub line: Option<String>,
    pub code: Option<String>,
    pub message: Option<String>,
    pub region: Option<String>,
    /// Why there was no answer at all.
    pub unreachable: Option<String>,
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
    pub(crate) fn sentence(&self, advice: Advice) -> Option<String> {
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
        let advice = advice(self);
        Some(match advice {
            Some(advice) => format!("{advice} ({said})"),
            None => said,
        })
    }

    pub(crate) fn mentions_checksums(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.to_ascii_lowercase().contains("checksum"))
    }
}

/// From an error of `object_store`'s client about the object at `key`.
pub(crate) fn from_store(location: &Location, key: &str, error: &object_store::Error, advice: Advice) -> Error {
    use object_store::Error as E;
    if let Some(own) = Error::within(error) {
        return own.at(location.at(key));
    }
    let text = chain(error);
    let refusal = Refusal::read(&text).unwrap_or_default();
    let kind = match error {
        E::AlreadyExists { .. } if refusal.is_collision() => ErrorKind::Transient,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => refusal.kind().unwrap_or(ErrorKind::Denied),
        _ => kind_of_variant(error).or_else(|| refusal.kind()).unwrap_or_else(|| kind_of_text(&text)),
    };
    let reach = if matches!(error, E::Unauthenticated { .. }) { Reach::Place } else { refusal.reach(kind) };
    let place = if refusal.is_no_bucket() { location.to_string() } else { location.at(key) };
    Error::new(kind, place, refusal.sentence(advice).unwrap_or(text)).reaching(reach)
}

/// Sorts a text that nobody took apart: by a code in it, else by what any library says.
pub(crate) fn kind_of_text(text: &str) -> ErrorKind {
    const CODES: [(&str, ErrorKind); 4] = [
        ("NoSuchBucket", ErrorKind::NotFound),
        ("AccessDenied", ErrorKind::Denied),
        ("ExpiredToken", ErrorKind::Denied),
        ("QuotaExceeded", ErrorKind::Full),
    ];
    let code = CODES.iter().find(|(code, _)| text.contains(code));
    code.map_or_else(|| error::kind_of_text(text), |(_, kind)| *kind)
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
pub(crate) fn tag(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = text.replace("&quot;", "\"").replace("&apos;", "'").replace("&lt;", "<").replace("&gt;", ">");
    Some(plain.replace("&amp;", "&").trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

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
                assert!(refusal.sentence(|_| None).is_none_or(|s| s.len() <= 2 * text.len() + 4096), "{said:?}");
            }
        });
    }
}
