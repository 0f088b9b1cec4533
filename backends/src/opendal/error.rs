//! Conversion of OpenDAL's errors.
//!
//! Owns the kinds and the advice. OpenDAL's long form contains headers and URLs with signatures, so only its message
//! and sources are passed on, and of an XML answer only the code and the sentence.

use object_store::Error as StoreError;

use crate::contract::error::{Error, ErrorKind, Reach, chain};
use crate::contract::location::Location;
use crate::wire::refusal::kind_of_text;
use crate::wire::watch::Halt;

/// An error about one key of a destination, or about the destination itself if the key is empty.
pub(super) fn error(location: &Location, key: &str, error: opendal::Error) -> Error {
    use opendal::ErrorKind as K;
    let text = text_of(&error);
    if text.contains("ContainerNotFound") || text.contains("ContainerBeingDeleted") {
        let message = "no such container; create it with `az storage container create`, or check the name and the account";
        return Error::new(ErrorKind::NotFound, location, message).reaching(Reach::Destination);
    }
    let kind = match error.kind() {
        _ if text.starts_with("BlobArchived") => ErrorKind::Archived,
        K::NotFound => ErrorKind::NotFound,
        K::AlreadyExists | K::IsADirectory | K::NotADirectory => ErrorKind::Exists,
        K::ConditionNotMatch => ErrorKind::Precondition,
        K::PermissionDenied => ErrorKind::Denied,
        K::Unsupported => ErrorKind::Unsupported,
        K::ConfigInvalid => ErrorKind::Invalid,
        K::RateLimited => ErrorKind::Transient,
        _ if error.is_temporary() => ErrorKind::Transient,
        _ => kind_of_text(&text),
    };
    let advice = match (kind, location.scheme()) {
        (ErrorKind::Denied, "azblob") => "; check OFFSITE_AZBLOB_ACCOUNT_KEY or OFFSITE_AZBLOB_SAS_TOKEN, and its permissions",
        (ErrorKind::Denied, "webdav") => "; check the user, OFFSITE_WEBDAV_PASSWORD or OFFSITE_WEBDAV_TOKEN, and its permissions",
        _ => "",
    };
    let unknown = ["AuthenticationFailed", "InvalidAuthenticationInfo", "AccountIsDisabled"].iter().any(|code| text.starts_with(code));
    let reach = if unknown { Reach::Destination } else { kind.reach() };
    Error::new(kind, location.at(key), format!("{text}{advice}")).reaching(reach)
}

/// The same as the data plane's error, with this crate's error inside.
pub(super) fn store_error(location: &Location, key: &str, found: opendal::Error) -> StoreError {
    error(location, key, found).into_store()
}

impl From<Halt> for StoreError {
    fn from(halt: Halt) -> Self {
        Self::Generic { store: "offsite", source: Box::new(halt) }
    }
}

/// A refusal of this crate as the data plane's error.
pub(super) fn refused(location: &Location, key: &str, kind: ErrorKind, message: impl std::fmt::Display) -> StoreError {
    Error::new(kind, location.at(key), message).into_store()
}

fn text_of(error: &opendal::Error) -> String {
    let said = short(error.message());
    match std::error::Error::source(error) {
        Some(source) => format!("{said}: {}", chain(source)),
        None => said,
    }
}

/// A message without the page around it: WebDAV servers answer in HTML, Azure in XML that OpenDAL prints with the name
/// of every field.
fn short(message: &str) -> String {
    const LONGEST: usize = 300;
    if let Some(rest) = message.strip_prefix("AzblobError { code: \"") {
        let code = rest.split('"').next().unwrap_or_default();
        let sentence = rest.split("message: \"").nth(1).and_then(|text| text.split(['"', '\\']).next()).unwrap_or_default();
        return format!("{code}: {sentence}").trim_end_matches([':', ' ']).to_owned();
    }
    let mut text = String::new();
    let mut in_tag = false;
    for c in message.chars() {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                text.push(' ');
            }
            _ if !in_tag => text.push(c),
            _ => {}
        }
    }
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() > LONGEST {
        text = text.chars().take(LONGEST).chain(['…']).collect();
    }
    if text.is_empty() { "the server refused without saying why".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_a_sentence() {
        let page = "<!DOCTYPE html><html><head><title>409 Conflict</title></head><body><p>409 Conflict:\n No parent.</p></body></html>";
        assert_eq!(short(page), "409 Conflict 409 Conflict: No parent.");
        let azure = "AzblobError { code: \"AuthenticationFailed\", message: \"Server failed.\\nRequestId:1\", query_parameter_name: \"\" }";
        assert_eq!(short(azure), "AuthenticationFailed: Server failed.");
        assert_eq!(short(""), "the server refused without saying why");
        assert!(short(&"x".repeat(5000)).len() < 400);
    }

    #[test]
    fn kinds_are_kept_and_say_what_to_do() {
        let place = Location::parse("azblob://box/site?account_name=acme").unwrap();
        let of = |kind, text: &str| error(&place, "a", opendal::Error::new(kind, text));
        let denied = of(opendal::ErrorKind::PermissionDenied, "AzblobError { code: \"AuthenticationFailed\", message: \"No.\" }");
        assert!(denied.kind == ErrorKind::Denied && denied.concerns_destination());
        let archived = of(opendal::ErrorKind::Unexpected, "AzblobError { code: \"BlobArchived\", message: \"No.\" }");
        assert!(archived.kind == ErrorKind::Archived && !archived.concerns_destination());
        assert!(denied.message.contains("OFFSITE_AZBLOB_ACCOUNT_KEY"), "{denied}");
        let missing = of(opendal::ErrorKind::NotFound, "AzblobError { code: \"ContainerNotFound\", message: \"x\" }");
        assert_eq!((missing.kind, missing.url.as_str()), (ErrorKind::NotFound, "azblob://box/site"));
        // All that comes through OpenDAL's retries is called persistent: the text has to tell.
        let tried = opendal::Error::new(opendal::ErrorKind::Unexpected, "503 Service Unavailable").set_persistent();
        assert_eq!(error(&place, "a", tried).kind, ErrorKind::Transient);
        assert_eq!(of(opendal::ErrorKind::Unexpected, "507 Insufficient Storage").kind, ErrorKind::Full);
    }
}
