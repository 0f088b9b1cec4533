//! Backblaze's refusals as error kinds, with advice.
//!
//! Owns the table of error codes and the decision whether another try can help. Invariants: the code decides before
//! the HTTP status does. The server's words are passed on, shortened. They never contain a token: Backblaze does not
//! repeat tokens, and this module adds none.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde::Deserialize;

use crate::contract::error::{Error, ErrorKind, Reach};
use crate::contract::location::Location;

/// A request that was refused, or got no answer.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub kind: ErrorKind,
    /// The HTTP status; 0 if there was no answer.
    pub status: u16,
    pub code: String,
    pub message: String,
    /// How long the server asks the client to wait.
    pub retry_after: Option<Duration>,
    /// Whether the bucket is missing, and not the object.
    pub is_bucket: bool,
    /// Whether the right to delete is missing.
    pub deleting: bool,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Failure {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, status: 0, code: String::new(), message: message.into(), retry_after: None, is_bucket: false, deleting: false }
    }

    /// From an answer that is not a success.
    pub(super) fn refused(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let ErrorBody { code, message } =
            serde_json::from_slice(body).unwrap_or_else(|_| ErrorBody { code: String::new(), message: String::new() });
        let retry_after = headers.get("retry-after").and_then(|v| v.to_str().ok()?.trim().parse().ok()).map(Duration::from_secs);
        let is_bucket = matches!(code.as_str(), "bad_bucket_id" | "no_such_bucket") || message.starts_with("Bucket ") && status == 404;
        let kind = kind(status, &code, &message);
        let message = sentence(status, &code, &message);
        Self { kind, status, code, message, retry_after, is_bucket, deleting: false }
    }

    /// Whether the account's token expired or is unknown, so that a new authorization is needed.
    pub(super) fn wants_authorize(&self) -> bool {
        self.status == 401 && matches!(self.code.as_str(), "expired_auth_token" | "bad_auth_token")
    }

    /// Whether the next try needs a new upload URL. Backblaze asks for one after a refused token, an
    /// overloaded or broken server and a lost connection. A body that arrived damaged is sent again too.
    pub(super) fn wants_upload_url(&self) -> bool {
        self.status == 401 || self.kind == ErrorKind::Transient
    }

    pub(super) fn is_transient(&self) -> bool {
        self.kind == ErrorKind::Transient
    }

    /// The error for callers of this crate, about one object, or about the bucket if the key is empty.
    pub(super) fn about(self, location: &Location, key: &str) -> Error {
        let url = if self.is_bucket { location.to_string() } else { location.at(key) };
        let unasked = self.kind == ErrorKind::Denied && self.status == 0;
        let reach = if self.is_bucket || self.status == 401 || unasked { Reach::Destination } else { self.kind.reach() };
        let error = Error::new(self.kind, url, self.message).reaching(reach);
        if self.deleting { error.of_delete() } else { error }
    }
}

fn kind(status: u16, code: &str, message: &str) -> ErrorKind {
    match code {
        "storage_cap_exceeded" | "cap_exceeded" => ErrorKind::Full,
        "file_not_present" | "no_such_file" | "not_found" | "no_such_bucket" | "bad_bucket_id" => ErrorKind::NotFound,
        "duplicate_bucket_name" => ErrorKind::Exists,
        "conflict" => ErrorKind::Precondition,
        "method_not_allowed" => ErrorKind::Unsupported,
        // The sha1 that was sent does not match the body that arrived.
        "bad_request" if is_damage(message) => ErrorKind::Transient,
        _ => match status {
            401 | 403 => ErrorKind::Denied,
            404 => ErrorKind::NotFound,
            408 | 429 | 500..=599 => ErrorKind::Transient,
            409 => ErrorKind::Precondition,
            400 => ErrorKind::Invalid,
            _ => ErrorKind::Other,
        },
    }
}

fn is_damage(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("did not match") && (message.contains("sha1") || message.contains("checksum"))
}

/// The server's words, then what to do.
fn sentence(status: u16, code: &str, message: &str) -> String {
    let short: String = message.trim_end_matches('.').chars().take(300).collect();
    let said = match (code.is_empty(), short.is_empty()) {
        (true, true) => format!("the server answered {status}"),
        (true, false) => short,
        (false, true) => format!("{code} ({status})"),
        (false, false) => format!("{code}: {short}"),
    };
    let advice = match code {
        "storage_cap_exceeded" | "cap_exceeded" => "raise the account's storage cap (Caps & Alerts on Backblaze's site)",
        "transaction_cap_exceeded" | "download_cap_exceeded" => {
            "the account's daily cap is used up: raise it (Caps & Alerts on Backblaze's site), or wait until midnight UTC"
        }
        "too_many_buckets" => "the account has reached its number of buckets",
        _ => return said,
    };
    format!("{said}; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_kinds() {
        for (status, code, message, wanted) in [
            (403, "storage_cap_exceeded", "", ErrorKind::Full),
            (403, "transaction_cap_exceeded", "", ErrorKind::Denied),
            (401, "unauthorized", "", ErrorKind::Denied),
            (400, "file_not_present", "", ErrorKind::NotFound),
            (400, "bad_request", "File names must not contain DEL", ErrorKind::Invalid),
            (400, "bad_request", "Sha1 did not match data received", ErrorKind::Transient),
            (503, "service_unavailable", "", ErrorKind::Transient),
            (429, "", "", ErrorKind::Transient),
            (409, "conflict", "", ErrorKind::Precondition),
        ] {
            assert_eq!(kind(status, code, message), wanted, "{status} {code} {message}");
        }
    }

    #[test]
    fn a_cap_says_what_to_do() {
        let failure =
            Failure::refused(403, &HeaderMap::new(), br#"{"status":403,"code":"storage_cap_exceeded","message":"Cannot upload."}"#);
        assert!(failure.message.contains("Cannot upload; raise the account's storage cap"), "{}", failure.message);
    }
}
