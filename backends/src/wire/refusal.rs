//! Refusals in the XML form of S3 servers and Google, turned into kinds.
//!
//! Owns the table of their codes, and reads them out of `object_store`'s texts. Each store gives its own advice
//! ([`Advice`]). Invariants: the code decides before the HTTP status does, because servers disagree on statuses; the
//! server's own words are passed on, shortened, never replaced by a guess.

use crate::contract::data_plane::kind_of_variant;
use crate::contract::error::{self, Error, ErrorKind, Reach, chain};
use crate::contract::location::Location;

/// A store's advice on what to do about a refusal.
pub(crate) type Advice = fn(&Refusal) -> Option<String>;

/// Codes with the same meaning.
struct Code {
    names: &'static [&'static str],
    kind: ErrorKind,
    /// The refusal concerns the whole destination, even if its kind alone would not.
    of_place: bool,
}

const fn each(kind: ErrorKind, names: &'static [&'static str]) -> Code {
    Code { names, kind, of_place: false }
}

const fn all(kind: ErrorKind, names: &'static [&'static str]) -> Code {
    Code { names, kind, of_place: true }
}

/// All known codes of Amazon S3, MinIO and Google's XML API.
const CODES: &[Code] = &[
    each(ErrorKind::NotFound, &["NoSuchKey", "NoSuchVersion", "NoSuchUpload"]),
    all(ErrorKind::NotFound, &["NoSuchBucket"]),
    each(ErrorKind::Precondition, &["PreconditionFailed"]),
    each(ErrorKind::Denied, &["AccessDenied"]),
    all(ErrorKind::Denied, &["AllAccessDisabled", "AccountProblem", "NotSignedUp", "UnauthorizedAccess", "InvalidSecurity"]),
    all(ErrorKind::Denied, &["InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch"]),
    all(ErrorKind::Denied, &["ExpiredToken", "InvalidToken", "TokenRefreshRequired"]),
    each(ErrorKind::Clock, &["RequestTimeTooSkewed"]),
    // The object is read before the store has brought it back, or requested again meanwhile.
    each(ErrorKind::Archived, &["InvalidObjectState", "RestoreAlreadyInProgress"]),
    each(ErrorKind::Transient, &["InternalError", "ServiceUnavailable", "RequestTimeout"]),
    each(ErrorKind::Transient, &["OperationAborted", "ConditionalRequestConflict"]),
    each(ErrorKind::Transient, &["SlowDown", "Throttling", "ThrottlingException", "TooManyRequests"]),
    each(ErrorKind::Transient, &["RequestLimitExceeded", "BandwidthLimitExceeded"]),
    each(ErrorKind::Transient, &["BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"]),
    each(ErrorKind::Full, &["QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"]),
    each(ErrorKind::Unsupported, &["NotImplemented", "MethodNotAllowed"]),
    all(ErrorKind::Invalid, &["InvalidBucketName", "IllegalLocationConstraintException"]),
    all(ErrorKind::Invalid, &["PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed"]),
    each(ErrorKind::NameRefused, &["KeyTooLongError"]),
    each(ErrorKind::TooLarge, &["EntityTooLarge"]),
];

/// A refusal as far as it is known.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: Option<u16>,
    /// The status with its reason, if the answer had nothing more.
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

    /// Whether the bucket does not exist, whatever the request was.
    pub(crate) fn is_no_bucket(&self) -> bool {
        self.code.as_deref() == Some("NoSuchBucket")
    }

    /// What can be done about it; `None` if neither the code nor the status is known.
    pub(crate) fn kind(&self) -> Option<ErrorKind> {
        self.code().map(|code| code.kind).or_else(|| self.status.and_then(kind_of_status))
    }

    fn code(&self) -> Option<&'static Code> {
        let code = self.code.as_deref()?;
        CODES.iter().find(|known| known.names.contains(&code))
    }

    /// How far the refusal reaches: a caller that the store does not know, or a bucket that does not exist, is refused
    /// for every object.
    pub(crate) fn reach(&self, kind: ErrorKind) -> Reach {
        match (self.code(), self.code.is_some(), self.status) {
            (Some(code), ..) if code.of_place => Reach::Destination,
            (_, false, Some(300..=399 | 401)) => Reach::Destination,
            _ => kind.reach(),
        }
    }

    /// Whether the conflict is between two requests at once, and not with an existing object.
    pub(crate) fn is_collision(&self) -> bool {
        matches!(self.code.as_deref(), Some("ConditionalRequestConflict" | "OperationAborted"))
    }

    /// Whether the cause may be the form of the request (a header or the verb), and not the object, the rights or the
    /// moment. The store may then accept the same request in another form.
    pub(crate) fn is_about_the_request(&self) -> bool {
        let unknown =
            ["NotImplemented", "MethodNotAllowed", "InvalidArgument", "InvalidRequest", "UnsupportedArgument", "MissingContentMD5"];
        match (self.code.as_deref(), self.status) {
            (Some(code), _) => unknown.contains(&code),
            (None, status) => matches!(status, Some(400 | 405 | 501)),
        }
    }

    /// One sentence: the advice, with the server's own words; `None` if the server gave no words.
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

/// Converts an error of `object_store`'s client about the object at `key`.
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
    let reach = if matches!(error, E::Unauthenticated { .. }) { Reach::Destination } else { refusal.reach(kind) };
    let place = if refusal.is_no_bucket() { location.to_string() } else { location.at(key) };
    Error::new(kind, place, refusal.sentence(advice).unwrap_or(text)).reaching(reach)
}

/// Classifies a text that could not be parsed: by a code in it, else by the texts of the libraries.
pub(crate) fn kind_of_text(text: &str) -> ErrorKind {
    const TELLING: [&str; 4] = ["NoSuchBucket", "AccessDenied", "ExpiredToken", "QuotaExceeded"];
    let code = TELLING.iter().find(|code| text.contains(**code)).map(|code| (*code).to_owned());
    let refusal = Refusal { code, ..Refusal::default() };
    refusal.kind().unwrap_or_else(|| error::kind_of_text(text))
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

/// The text of the first XML element with that name. Sufficient for the flat `<Error>` documents of S3.
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
