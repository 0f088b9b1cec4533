//! Passwords in URLs, however they are written.
//!
//! Owns one question: which part of a text before its host may be a password. A secret may contain any character; half
//! of all AWS keys contain a slash. Invariant: a text that may contain one is refused whole, and no part of it is
//! repeated.

use crate::contract::error::Error;
use crate::kinds;

/// The error for a URL that contains a password.
pub(crate) fn refused(shown: &str) -> Error {
    Error::invalid(
        shown,
        "a password does not belong in a URL (it shows in `ps` and in logs); use the store's own credentials file or variables. \
         If it has none: a `:` before the path is followed by a port, and an `@` in a path is written %40",
    )
}

/// Where the secret part of a URL ends in `rest`, which follows the `://`: the byte of the `@`, or the end of the text
/// if it has none. `None` if the URL has no secret.
///
/// A port is no password, and neither is an `@` that belongs to the user name.
pub(crate) fn secret(rest: &str) -> Option<usize> {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let last = |text: &str| text.rfind('@');
    // An IPv6 address has colons of its own.
    let after = authority.rfind(']').map_or(0, |at| at + 1);
    let user = authority.find('@');
    let colon = authority
        .find(':')
        .filter(|at| authority[..*at].rfind('[').is_none())
        .or_else(|| authority[after..].find(':').map(|at| after + at))?;
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_setting = !query.is_empty() && query.split('&').all(|pair| pair.split_once('=').is_some_and(|(name, _)| !name.contains('@')));
    match user {
        // `user:secret@host`
        Some(at) if colon < at => last(if is_setting { before_query } else { rest }),
        // `user@host:22`, and not `bucket@key:secret`
        Some(_) if is_port(&authority[colon + 1..]) => None,
        Some(_) => Some(last(rest).filter(|at| *at > colon).unwrap_or(rest.len())),
        // `key:sec/ret@bucket`, `key:sec?ret@bucket`, `key:secret`
        None if !is_port(&authority[colon + 1..]) => Some(last(rest).unwrap_or(rest.len())),
        None => last(before_query).or_else(|| last(query).filter(|_| !is_setting).map(|at| before_query.len() + 1 + at)),
    }
}

/// Whether a text that is no URL may contain a password: it has a colon and an `@` after it.
pub(crate) fn may_hold_a_secret(text: &str) -> bool {
    let rest = match text.split_once(':') {
        // `sftp:user@host:/path`: the first name is a program or a scheme, not a user.
        Some((name, rest)) if kinds::stands_before_a_place(&name.to_ascii_lowercase()) => rest.trim_start_matches('/'),
        _ => text,
    };
    rest.split_once(':').is_some_and(|(_, behind)| behind.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_seen_whatever_it_holds() {
        for rest in [
            "key:hush@bucket/x",
            "AKIA:abc/DEFhush+GHI@bucket/x",
            "user:pa/hush@host/x",
            "user:p?hush@host/x",
            "user:p?a=hush@host/x",
            "user:12/hush@host/x",
            "user:12?hush@host/x",
            "user:@hush@host",
            "me@corp:hush@host/x",
            "bucket@key:hush/x",
            "key:hush",
            "key:",
            "user:hush@[::1]:22/x",
            "K001:hush/x?endpoint=http://x",
        ] {
            assert!(secret(rest).is_some_and(|end| rest.find("hush").is_none_or(|at| end > at)), "{rest}: {:?}", secret(rest));
        }
    }

    #[test]
    fn ports_users_and_paths_are_none() {
        for rest in [
            "bucket/x",
            "bucket/10:30@x",
            "user@host/x",
            "user@corp@host/x",
            "host:22/x",
            "user@host:22/a@b",
            "[::1]:22/x",
            "me@[fe80::1]/x",
            "[::1]/x",
            "host:8080/x?username=me@corp",
            "bucket/x?endpoint=http://127.0.0.1:9000",
        ] {
            assert_eq!(secret(rest), None, "{rest}");
        }
    }
}
