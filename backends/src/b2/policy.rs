//! The permissions of a host that writes and never deletes, as a command for `b2`.
//!
//! Owns the list of capabilities. To hide a name takes `writeFiles`, and leaves every version. Makes no request.

use crate::contract::error::{Error, Result};
use crate::contract::location::Location;

/// What such a host does.
const CAPABILITIES: [&str; 3] = ["listFiles", "readFiles", "writeFiles"];

/// The command that makes the key, for a POSIX shell.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if the URL has a prefix that cannot stand in a command.
pub fn writer_policy(location: &Location, _once: &[&str]) -> Result<String> {
    let prefix = location.prefix()?;
    if prefix.as_ref().contains('\'') || prefix.as_ref().contains(char::is_control) {
        return Err(Error::invalid(location, "a command cannot name this prefix; choose one without quotes"));
    }
    let names = if prefix.as_ref().is_empty() { String::new() } else { format!(" --name-prefix '{prefix}/'") };
    Ok(format!("b2 key create --bucket {}{names} offsite-writer {}\n", location.host(), CAPABILITIES.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_for_the_prefix_with_its_slash_and_deletes_nothing() {
        let of = |url: &str| writer_policy(&Location::parse(url).unwrap(), &[]);
        let text = of("b2://acme-backup/site").unwrap();
        assert_eq!(text, "b2 key create --bucket acme-backup --name-prefix 'site/' offsite-writer listFiles,readFiles,writeFiles\n");
        assert!(!of("b2://acme-backup").unwrap().contains("prefix"));
        assert!(of("b2://acme-backup/a'b").is_err());
    }
}
