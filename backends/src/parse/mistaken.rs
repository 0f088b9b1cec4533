//! Destinations in the form of another program: `nas:/srv`, `s3:bucket/x`, `remote:x`, `~/usb` in quotes.
//!
//! Owns how such a text is told from the name of a directory, and which URL was meant. The rule is rsync's: a text with
//! a colon before its first slash is no path on this machine, and `./` in front makes it one. Invariant: no part of a
//! text that may hold a password is repeated.

use super::userinfo;
use crate::contract::error::Error;
use crate::contract::location::Location;
use crate::kinds;

/// Schemes of servers that a user can mount and then name as a directory.
const MOUNTED: [&str; 8] = ["ftp", "ftps", "smb", "cifs", "nfs", "afp", "rsync", "sshfs"];

/// Why a bare text is no path on this machine; `None` if it is one.
pub(crate) fn refusal(text: &str) -> Option<Error> {
    let first = text.split('/').next().unwrap_or(text);
    if first.starts_with('~') {
        let rest = text.strip_prefix("~/").unwrap_or_default();
        return Some(Error::invalid(
            text,
            format!(
                "only the shell expands `~`, and not in quotes or in a file; write \"$HOME/{rest}\" or the whole path, or ./{text} for a directory of that name"
            ),
        ));
    }
    let scheme = first.trim_end_matches([':', ';']);
    let slashes = text[first.len()..].starts_with("//") || first.ends_with(';');
    let elsewhere = first.contains(':') || (slashes && text.len() > first.len() && exactly(scheme).is_some());
    if !elsewhere {
        return None;
    }
    if userinfo::may_hold_a_secret(text) {
        return Some(userinfo::refused("…"));
    }
    let way_out = format!("./{text} is a directory of that name");
    let what = match meant(text, first) {
        Some(url) => format!("this is a remote place, not a local directory; write {url}; {way_out}"),
        None => format!(
            "this is a remote place in a form that offsite does not know; use a URL such as sftp://host/path or s3://bucket/path; {way_out}"
        ),
    };
    Some(Error::invalid(text, what))
}

/// What to write instead of a URL whose scheme no build knows.
pub(crate) fn instead(location: &Location) -> Option<String> {
    let scheme = location.scheme();
    if MOUNTED.contains(&scheme.to_ascii_lowercase().as_str()) {
        return Some("mount it and name the directory, or reach the same machine with sftp://".into());
    }
    let near = near(scheme)?;
    let rest = location.to_string().split_once("://").map(|(_, rest)| encoded(rest))?;
    match near {
        "file" => Some(format!("did you mean file:///{}?", rest.trim_start_matches('/'))),
        // The host of a web URL is a server, and the host of a store's URL is a bucket.
        _ => Some(format!("did you mean {near}://{rest}?")),
    }
}

/// The URL that was most likely meant.
fn meant(text: &str, first: &str) -> Option<String> {
    let (name, rest) = text.split_once([':', ';']).or_else(|| Some((first, &text[first.len()..])))?;
    match exactly(name) {
        Some("s3") => Some(bucket_of_s3(rest)),
        Some("file") => Some(format!("file:///{}", encoded(rest.trim_start_matches('/')))),
        Some("sftp") => match rest.strip_prefix("//") {
            Some(place) => Some(format!("sftp://{}", encoded(place))),
            None => by_ssh(rest),
        },
        // A container and the path in it, as restic writes them.
        Some(scheme) => Some(format!("{scheme}://{}", encoded(&rest.trim_start_matches('/').replacen(':', "/", 1).replace("//", "/")))),
        None => by_ssh(text),
    }
}

/// `bucket/path`, `host/bucket/path`, `https://host/bucket/path`
fn bucket_of_s3(rest: &str) -> String {
    let (server, path) = match rest.split_once("://") {
        Some((scheme, rest)) => match rest.split_once('/') {
            Some((host, path)) => (Some(format!("{scheme}://{host}")), path),
            None => (Some(format!("{scheme}://{rest}")), "bucket"),
        },
        None => {
            let rest = rest.trim_start_matches('/');
            match rest.split_once('/') {
                Some((host, path)) if host.ends_with(".amazonaws.com") => (None, path),
                _ => (None, rest),
            }
        }
    };
    let server = server.filter(|server| !server.ends_with(".amazonaws.com"));
    let path = encoded(&path.replacen(':', "/", 1).replace("//", "/"));
    server.map_or(format!("s3://{path}"), |server| format!("s3://{path}?endpoint={server}"))
}

/// `user@host:/path`, `host:path` below the home, `[::1]:/path`
fn by_ssh(text: &str) -> Option<String> {
    let after = text.rfind(']').map_or(0, |at| at + 1);
    let (host, path) = match text[after..].split_once(':') {
        Some((host, path)) => (&text[..after + host.len()], path),
        None => text.split_once('/').unwrap_or((text, "")),
    };
    let fits = |c: char| c.is_alphanumeric() || "-_.@[]:%".contains(c);
    let drive = host.len() == 1 && path.starts_with(['\\', '/']);
    if host.is_empty() || path.starts_with(':') || drive || !host.chars().all(fits) {
        return None;
    }
    Some(match path {
        "" => format!("sftp://{host}/~"),
        path if path.starts_with('/') => format!("sftp://{host}{}", encoded(path)),
        path => format!("sftp://{host}/~/{}", encoded(path.trim_start_matches("~/"))),
    })
}

/// A scheme by its own name or by another program's.
fn exactly(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    kinds::scheme_named(name.rsplit('+').next().unwrap_or(&name))
}

/// The same, or a scheme that differs by a typing error of 1 or 2 letters.
fn near(name: &str) -> Option<&'static str> {
    exactly(name).or_else(|| {
        let name = name.to_ascii_lowercase();
        let allowed = if name.len() < 5 { 1 } else { 2 };
        let slips = kinds::schemes().map(|scheme| (strsim::damerau_levenshtein(&name, scheme), scheme)).filter(|(far, _)| *far <= allowed);
        slips.min_by_key(|(far, _)| *far).map(|(_, scheme)| scheme)
    })
}

/// A path as it stands in a URL.
fn encoded(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3F")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn says(text: &str, wanted: &str) {
        let error = refusal(text).unwrap_or_else(|| panic!("{text} is taken for a directory")).to_string();
        let words = error.split([' ', ';', '"']).collect::<Vec<_>>();
        assert!(wanted.is_empty() || words.contains(&wanted), "{text}: {error}");
        assert!(error.contains(&format!("./{text}")), "{error}");
    }

    #[test]
    fn the_url_that_was_meant_is_named() {
        for (text, wanted) in [
            ("nas:/srv/backup", "sftp://nas/srv/backup"),
            ("me@nas:backup", "sftp://me@nas/~/backup"),
            ("me@nas:~/100%?", "sftp://me@nas/~/100%25%3F"),
            ("[::1]:/srv", "sftp://[::1]/srv"),
            ("remote:", "sftp://remote/~"),
            ("s3:bucket/x", "s3://bucket/x"),
            ("s3:/bucket/x", "s3://bucket/x"),
            ("s3;//bucket/x", "s3://bucket/x"),
            ("S3//bucket/x", "s3://bucket/x"),
            ("s3:https://minio:9000/bucket/x", "s3://bucket/x?endpoint=https://minio:9000"),
            ("s3:s3.amazonaws.com/bucket/x", "s3://bucket/x"),
            ("gcs:bucket:/x", "gs://bucket/x"),
            ("b2:bucket", "b2://bucket"),
            ("dropbox:x", "dropbox://x"),
            ("sftp:me@nas:/x", "sftp://me@nas/x"),
            ("sftp:nas/x", "sftp://nas/~/x"),
            ("file:/mnt/x", "file:///mnt/x"),
            ("ssh:me@nas:x", "sftp://me@nas/~/x"),
            ("~/usb", "$HOME/usb"),
            ("~", ""),
            ("~me/usb", ""),
            ("nas::module/x", ""),
            ("C:\\backup", ""),
            (":x", ""),
        ] {
            says(text, wanted);
        }
    }

    #[test]
    fn a_directory_is_one() {
        for text in
            ["x", "./remote:x", "/srv/nas:x", "a/b:c", "../s3:x", "s3/bucket", "s3", "a;b/c", "a;/c", "a//b", "x~/y", "/~/x", ".", "é/ü"]
        {
            assert!(refusal(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_scheme_that_nobody_speaks_has_a_neighbour() {
        let said = |text: &str| instead(&Location::parse(text).unwrap());
        for (text, wanted) in [
            ("S3://b/x", "s3://b/x"),
            ("s3a://b/x", "s3://b/x"),
            ("boto3+s3://b/x", "s3://b/x"),
            ("gcs://b/x", "gs://b/x"),
            ("sft://me@nas/x", "sftp://me@nas/x"),
            ("sfpt://nas/x", "sftp://nas/x"),
            ("ssh://nas:22/x", "sftp://nas:22/x"),
            ("wedbav://x/y", "webdav://x/y"),
            ("https://cloud/dav", "webdav://cloud/dav"),
            ("ftp://nas/x", "mount"),
            ("smb://nas/x", "mount"),
        ] {
            assert!(said(text).is_some_and(|said| said.contains(wanted)), "{text}: {:?}", said(text));
        }
        assert_eq!(said("gopher://nas/x"), None);
    }
}
