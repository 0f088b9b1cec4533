//! The address: a URL and its settings as a command line of `ssh`.
//!
//! Owns the parts of the URL (user, host, port, path, settings) and the arguments made from them. Invariant: no part
//! of a URL can pass for an option of `ssh`, and no argument is a secret.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use percent_encoding::percent_decode_str;
use tokio::process::Command;

use crate::contract::error::{Error, Result};
use crate::contract::location::Location;

/// The settings that the query of an `sftp://` URL may have.
pub(crate) const SETTINGS: &[&str] = &["identity", "ssh_config", "ssh", "fsync"];

/// Which contents are synced to the server's disk before they get their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fsync {
    /// Files from 1 MiB on, and offsite's own objects.
    Large,
    All,
    Off,
}

/// A server and the account on it.
#[derive(Debug, Clone)]
pub(super) struct Address {
    user: Option<String>,
    pub host: String,
    port: Option<u16>,
    program: String,
    config: Option<String>,
    identity: Option<String>,
    pub fsync: Fsync,
    /// The root in the form that is sent to the server: absolute, or relative to the home directory. Never empty.
    pub base: Vec<u8>,
}

impl Address {
    pub fn new(location: &Location) -> Result<Self> {
        location.only_settings(SETTINGS)?;
        let (user, place) = match location.host().rsplit_once('@') {
            Some((user, place)) => (Some(decode(location, user, "user")?), place),
            None => (None, location.host()),
        };
        let (host, port) = split_port(place).ok_or_else(|| Error::invalid(location, "the port is not a number from 1 to 65535"))?;
        let host = decode(location, host, "host")?;
        let setting = |name: &str| location.settings().get(name).filter(|value| !value.is_empty()).cloned();
        let fsync = match setting("fsync").as_deref() {
            None | Some("large") => Fsync::Large,
            Some("all") => Fsync::All,
            Some("off") => Fsync::Off,
            Some(_) => return Err(Error::invalid(location, "fsync is one of large, all, off")),
        };
        Ok(Self {
            user,
            host,
            port,
            program: setting("ssh").unwrap_or_else(|| "ssh".into()),
            config: setting("ssh_config"),
            identity: setting("identity"),
            fsync,
            base: base(location.path()),
        })
    }

    /// The `ssh` program, for messages.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The command that speaks SFTP on its standard input and output.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.options());
        // As `sftp` does: no forwarding and no prompts.
        for option in ["BatchMode=yes", "ForwardX11=no", "ForwardAgent=no", "PermitLocalCommand=no", "ClearAllForwardings=yes"] {
            command.args(["-o", option]);
        }
        // `ssh` ends a connection that is silent for a minute.
        for option in ["ConnectTimeout=30", "ServerAliveInterval=15", "ServerAliveCountMax=4", "LogLevel=ERROR"] {
            command.args(["-o", option]);
        }
        command.args(["-s", "--", &self.host, "sftp"]);
        command
    }

    fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        let mut add = |flag: &str, value: &Option<String>| {
            options.extend(value.iter().flat_map(|value| [flag.to_owned(), value.clone()]));
        };
        add("-F", &self.config);
        add("-i", &self.identity);
        add("-o", &self.identity.as_ref().map(|_| "IdentitiesOnly=yes".to_owned()));
        add("-l", &self.user);
        add("-p", &self.port.map(|port| port.to_string()));
        options
    }

    /// The same login as a command line that the user can paste into a shell.
    pub fn login(&self, first: &[&str]) -> String {
        let words = [&[self.program.as_str()], first].concat().into_iter().map(str::to_owned).chain(self.options());
        words.chain([self.host.clone()]).map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
    }

    /// The name of this server in `known_hosts`.
    pub fn known_as(&self) -> String {
        match self.port {
            None | Some(22) => self.host.clone(),
            Some(port) => format!("[{}]:{port}", self.host),
        }
    }

    /// The command line that prints the server's host keys.
    pub fn keyscan(&self) -> String {
        match self.port {
            Some(port) => format!("ssh-keyscan -p {port} {}", quoted(&self.host)),
            None => format!("ssh-keyscan {}", quoted(&self.host)),
        }
    }
}

/// The root from the path of the URL: `/srv/x` is absolute, `/~/x` is below the home directory.
fn base(path: &[u8]) -> Vec<u8> {
    match path.strip_prefix(b"~").filter(|rest| rest.is_empty() || rest[0] == b'/') {
        Some(b"" | b"/") => b".".to_vec(),
        Some(rest) => rest[1..].to_vec(),
        None => [b"/", path].concat(),
    }
}

/// The host and the port. `None` if the port is not valid.
fn split_port(place: &str) -> Option<(&str, Option<u16>)> {
    let port = |text: &str| text.parse().ok().filter(|port| *port > 0);
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(text) => Some((host, Some(port(text)?))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match place.split_once(':') {
        Some((host, text)) => Some((host, Some(port(text)?))),
        None => Some((place, None)),
    }
}

/// A user or host with its percent signs decoded. Refuses a value that `ssh` could take for something else.
fn decode(location: &Location, text: &str, what: &str) -> Result<String> {
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    let plain = OsString::from_vec(bytes).into_string().ok();
    let fits = |text: &String| !text.is_empty() && !text.starts_with('-') && !text.contains(|c: char| c.is_control() || c.is_whitespace());
    plain.filter(fits).ok_or_else(|| Error::invalid(location, format!("the {what} in the URL is not possible")))
}

/// A word, quoted for a shell where necessary.
fn quoted(word: &str) -> String {
    match word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:@=%+,[]".contains(&b)) && !word.contains('[') {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Result<Address> {
        Address::new(&Location::parse(url)?)
    }

    #[test]
    fn urls_become_command_lines() {
        let it = address("sftp://ba%40ck@nas:2222/srv/x%20y?identity=/k&ssh_config=/c").unwrap();
        let line = format!("{:?}", it.command().as_std());
        assert!(line.contains(r#""-F" "/c" "-i" "/k" "-o" "IdentitiesOnly=yes" "-l" "ba@ck" "-p" "2222""#), "{line}");
        assert!(line.ends_with(r#""-s" "--" "nas" "sftp""#), "{line}");
        assert_eq!(it.base, b"/srv/x y");
        assert_eq!((it.known_as().as_str(), it.keyscan().as_str()), ("[nas]:2222", "ssh-keyscan -p 2222 nas"));
        let home = |url: &str| address(url).unwrap().base;
        assert_eq!((home("sftp://h/~/x"), home("sftp://h/~"), home("sftp://h/")), (b"x".to_vec(), b".".to_vec(), b"/".to_vec()));
        assert_eq!(home("sftp://h/~x/y"), b"/~x/y");
        let six = address("sftp://[::1]:22/x").unwrap();
        assert_eq!((six.host.as_str(), six.port), ("::1", Some(22)));
    }

    #[test]
    fn what_could_be_an_option_is_refused() {
        for url in ["sftp://-oProxyCommand=x/y", "sftp://-l@host/y", "sftp://h:0/y", "sftp://h:x/y", "sftp://h:70000/y", "sftp://a%0ab/y"] {
            assert!(address(url).is_err(), "{url}");
        }
        assert!(address("sftp://h/x?fsync=maybe").is_err() && address("sftp://h/x?user=y").is_err());
    }
}
