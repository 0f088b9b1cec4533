//! The connection as other modules use it: opened on demand, and opened again after it was lost.
//!
//! Owns when to connect, how long to wait between tries, which requests are repeated (those that may be done twice),
//! and the texts of errors. Invariant: an error that no further try can fix (a host key, a login) ends the tries at
//! once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::Mutex;

use super::address::Address;
use super::packet::{self, Status};
use super::session::{SftpFault, SftpSession};
use super::ssh;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::fence;
use crate::contract::location::Location;
use crate::contract::meter::Meter;
use crate::names::printable;

/// Seconds to wait before each further try to connect: two minutes in all, as long as a lease lives.
const WAITS: [u64; 9] = [0, 1, 2, 4, 8, 15, 30, 30, 30];
/// How often one call is tried when connections break.
const TRIES: usize = 6;

/// One server, with at most one connection at a time.
pub(super) struct Link {
    pub location: Location,
    pub address: Address,
    pub meter: Arc<Meter>,
    /// Number of requests sent, in packets.
    pub packets: Arc<AtomicU64>,
    session: Mutex<Option<Arc<SftpSession>>>,
}

impl Link {
    pub fn new(location: Location, address: Address, meter: Arc<Meter>) -> Self {
        Self { location, address, meter, packets: Arc::default(), session: Mutex::new(None) }
    }

    /// The connection. The first one is tried once. A lost one is opened again, with a try after each of `WAITS`.
    pub async fn session(&self) -> Result<Arc<SftpSession>> {
        let mut slot = self.session.lock().await;
        let Some(old) = slot.as_ref() else {
            let new = Arc::new(self.connect().await?);
            *slot = Some(Arc::clone(&new));
            return Ok(new);
        };
        if old.is_up() {
            return Ok(Arc::clone(old));
        }
        let mut last = None;
        for wait in WAITS {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            match self.connect().await {
                Ok(new) => {
                    let new = Arc::new(new);
                    *slot = Some(Arc::clone(&new));
                    return Ok(new);
                }
                Err(error) if error.kind == ErrorKind::Transient => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| ssh::explain(&self.address, &self.location, "")))
    }

    /// The last connection, which may be lost. `None` before the first one, or while another task opens one.
    pub fn current(&self) -> Option<Arc<SftpSession>> {
        self.session.try_lock().ok()?.clone()
    }

    async fn connect(&self) -> Result<SftpSession> {
        SftpSession::open(&self.address, &self.location, Arc::clone(&self.meter), Arc::clone(&self.packets)).await
    }

    /// Runs a call that may be done twice, and repeats it if the connection breaks. The second argument of `call`
    /// says that an earlier try may have taken effect. `shown` is the path that errors name.
    pub async fn run<T, F>(&self, shown: &[u8], mut call: impl FnMut(Arc<SftpSession>, bool) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, SftpFault>>,
    {
        for again in 0..TRIES {
            fence::check(self.shown(shown))?;
            match call(self.session().await?, again > 0).await {
                Err(SftpFault::Lost) => {}
                done => return done.map_err(|fault| self.error(shown, &fault)),
            }
        }
        Err(self.error(shown, &SftpFault::Lost))
    }

    /// A fault as an error about a path below the root.
    pub fn error(&self, path: &[u8], fault: &SftpFault) -> Error {
        let url = self.shown(path);
        let Status { code, message } = match fault {
            SftpFault::Refused(status) => status,
            SftpFault::Lost => return Error::new(ErrorKind::Transient, url, "the connection was lost"),
            SftpFault::Odd(what) => return Error::new(ErrorKind::Other, url, what),
        };
        let (kind, what) = match *code {
            packet::NO_SUCH_FILE => (ErrorKind::NotFound, "no such file or directory"),
            packet::DENIED => (ErrorKind::Denied, "the server does not allow it (permission denied)"),
            packet::BAD_MESSAGE => (ErrorKind::NameRefused, "the server rejects this name or value (longer than 255 bytes?)"),
            packet::UNSUPPORTED => (ErrorKind::Unsupported, "the server has no such operation"),
            packet::FAILURE => (ErrorKind::Other, "the server failed without saying why"),
            _ => (ErrorKind::Other, "the server refused it"),
        };
        // OpenSSH's message only repeats the code in words.
        let plain =
            matches!(message.as_str(), "" | "Failure" | "No such file" | "Permission denied" | "Bad message" | "Operation unsupported");
        match plain {
            true => Error::new(kind, url, what),
            false => Error::new(kind, url, format!("{what}: {}", printable(message.as_bytes()))),
        }
    }

    /// The printable URL of a path below the root.
    pub fn shown(&self, path: &[u8]) -> String {
        self.location.at(&printable(path))
    }
}
