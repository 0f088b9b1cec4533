//! The `ssh` process that carries the connection: starting it, and explaining its error output.
//!
//! Owns the child process and the errors that are made from its output. Host keys, agents, jump hosts and
//! certificates are `ssh`'s own business. Invariant: the child ends with the connection, and at the latest with this
//! process. Its output is never taken for a password prompt, because it runs without prompts.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Pair;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr};
use tokio::task::JoinHandle;

use super::address::Address;
use crate::contract::error::{Error, ErrorKind, Reach, Result};
use crate::contract::location::Location;

/// The most bytes of `ssh`'s error output that are kept.
const KEPT: usize = 8 << 10;
/// How long `ssh` may take to end after its connection was closed.
const ENDING: Duration = Duration::from_secs(5);

/// A running `ssh`.
pub(super) struct Ssh {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    listening: JoinHandle<()>,
}

impl Ssh {
    /// Starts `ssh`. The stream is its standard input and output.
    pub fn start(address: &Address, location: &Location) -> Result<(Self, UnixStream)> {
        let fail = |e: std::io::Error| Error::new(ErrorKind::Other, location, format!("`{}` cannot be started: {e}", address.program()));
        let (ours, theirs) = Pair::pair().map_err(fail)?;
        ours.set_nonblocking(true).map_err(fail)?;
        let theirs = OwnedFd::from(theirs);
        let mut command = address.command();
        command.stdin(theirs.try_clone().map_err(fail)?).stdout(theirs).stderr(Stdio::piped());
        // In a process group of its own: Ctrl-C must reach only this program, which still has to release its lease
        // over the connection.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                let what = format!("no program `{}`; install OpenSSH's client, or name one with ?ssh=PROGRAM", address.program());
                Error::invalid(location, what)
            }
            _ => fail(e),
        })?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let listening = tokio::spawn(listen(child.stderr.take(), Arc::clone(&said)));
        Ok((Self { child, said, listening }, UnixStream::from_std(ours).map_err(fail)?))
    }

    /// Waits until `ssh` has ended and returns its error output.
    pub async fn end(mut self) -> String {
        if tokio::time::timeout(ENDING, self.child.wait()).await.is_err() {
            let _ = self.child.start_kill();
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), self.listening).await;
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).into_owned()
    }
}

async fn listen(stderr: Option<ChildStderr>, said: Arc<Mutex<Vec<u8>>>) {
    let Some(mut stderr) = stderr else { return };
    let mut buffer = [0; 1024];
    while let Ok(got @ 1..) = stderr.read(&mut buffer).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT.saturating_sub(said.len()).min(got);
        said.extend(&buffer[..room]);
    }
}

/// The error for a connection that failed or was lost, with advice for the user.
pub(super) fn explain(address: &Address, location: &Location, said: &str) -> Error {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let login = address.login(&[]);
    let (kind, what) =
        if has(&["REMOTE HOST IDENTIFICATION HAS CHANGED", "host key for", "REVOKED"]) && has(&["changed", "CHANGED", "REVOKED"]) {
            // Some builds of `ssh` print the command to run, which also names the file.
            let own = said.lines().map(str::trim).find(|line| line.starts_with("ssh-keygen "));
            let forget = own.map_or_else(|| format!("ssh-keygen -R '{}'", address.known_as()), str::to_owned);
            (
                ErrorKind::Denied,
                format!(
                    "the server shows another host key than before: it was set up anew, or somebody stands in between. If you know that it \
                 was set up anew, forget the old key with `{forget}`, then look at the new one and accept it with `{login}`"
                ),
            )
        } else if has(&["Host key verification failed", "host key is known"]) {
            let scan = address.keyscan();
            (
                ErrorKind::Denied,
                format!(
                    "the server's host key is unknown. Look at it and accept it with `{login}`, or compare what `{scan}` prints with \
                 what its administrator says and append it to ~/.ssh/known_hosts"
                ),
            )
        } else if has(&["Permission denied", "Too many authentication failures", "No supported authentication methods"]) {
            let by_hand = address.login(&["-o", "BatchMode=yes"]);
            (
                ErrorKind::Denied,
                format!(
                    "the login was refused ({}). offsite asks for no password: put the key into the agent or name it with ?identity=FILE; \
                 try it with `{by_hand}`",
                    told(said)
                ),
            )
        } else if has(&["subsystem request failed"]) {
            let what = "the login worked, but the server has no SFTP: its sshd_config needs `Subsystem sftp internal-sftp`";
            (ErrorKind::Unsupported, what.to_owned())
        } else if has(&["Could not resolve hostname"]) {
            (ErrorKind::Transient, format!("no host has that name ({})", told(said)))
        } else if has(&["Bad configuration option", "Can't open user config file", "terminating,"]) {
            (ErrorKind::Invalid, format!("ssh rejects its configuration ({})", told(said)))
        } else {
            let words = if said.trim().is_empty() { "the server closed the connection and said nothing".to_owned() } else { told(said) };
            (ErrorKind::Transient, format!("no connection ({words}); try `{}`", address.login(&["-v", "-s"]) + " sftp"))
        };
    Error::new(kind, location, what).reaching(Reach::Destination)
}

/// The last line of `ssh`'s output that is not empty.
fn told(said: &str) -> String {
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_become_advice() {
        let location = Location::parse("sftp://backup@nas:2222/srv/x").unwrap();
        let address = Address::new(&location).unwrap();
        let about = |said: &str| explain(&address, &location, said);
        let changed = about("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.\r\n");
        assert!(changed.kind == ErrorKind::Denied && changed.message.contains("ssh-keygen -R '[nas]:2222'"), "{changed}");
        let unknown = about("Host key verification failed.\r\n");
        assert!(
            unknown.message.contains("ssh-keyscan -p 2222 nas") && unknown.message.contains("`ssh -l backup -p 2222 nas`"),
            "{unknown}"
        );
        let login = about("backup@nas: Permission denied (publickey).\r\n");
        assert!(login.kind == ErrorKind::Denied && login.message.contains("(publickey)"), "{login}");
        assert_eq!(about("subsystem request failed on channel 0\r\n").kind, ErrorKind::Unsupported);
        let refused = about("ssh: connect to host nas port 2222: Connection refused\r\n");
        assert!(refused.kind == ErrorKind::Transient && refused.message.contains("Connection refused"), "{refused}");
    }
}
