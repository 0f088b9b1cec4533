//! One connection: sends requests, and passes each reply to the task that waits for it.
//!
//! Owns the two tasks that write and read, the ids, the server's offers, and the number of content bytes in flight.
//! Any number of requests can be in flight. They are sent in the order of the calls. Invariant: once the connection
//! is lost, or a server that owes a reply has been silent for too long, every waiting request and every later one
//! returns [`SftpFault::Lost`]. No task waits for ever.

use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::address::Address;
use super::packet::{self, Packet, Reply, Status};
use super::ssh::{Ssh, explain};
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::location::Location;
use crate::contract::meter::Meter;
use crate::contract::trace::TracedCall;

/// The most content bytes of writes in flight: more than any link holds, and so few that a renewal of the lease does
/// not wait behind them for long.
const ON_THE_WAY: usize = 8 << 20;
/// Bodies up to this size, in bytes, are copied into one buffer. Larger ones are sent without a copy.
const SMALL: usize = 16 << 10;
/// Size of reads and writes, in bytes, if the server does not name its limits.
const USUAL: u32 = 32 << 10;
/// How long a server that owes a reply may send nothing. It replies to a large copy, or to the sync of a large file,
/// only when that has ended.
const SILENCE: Duration = Duration::from_mins(15);
/// How long a server may take to send its greeting, login included.
const GREETING: Duration = Duration::from_mins(3);
/// The largest piece that is requested or sent, in bytes, whatever the server offers.
const LARGEST: u64 = 256 << 10;

/// Why a request failed.
#[derive(Debug, Clone)]
pub(super) enum SftpFault {
    /// The connection is lost. Whether the request took effect is not known.
    Lost,
    /// The server refused the request.
    Refused(Status),
    /// The server sent something that is not possible, for the reason given here.
    Odd(&'static str),
}

/// The extensions of version 3 that the server offers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Offers {
    pub posix_rename: bool,
    pub hardlink: bool,
    pub fsync: bool,
    pub statvfs: bool,
    pub lsetstat: bool,
    pub copy_data: bool,
    limits: bool,
}

/// A request that waits for its reply, and the permit for its content bytes in flight.
struct Waiter {
    sender: oneshot::Sender<Reply>,
    call: TracedCall,
    _room: Option<OwnedSemaphorePermit>,
}

type Waiters = HashMap<u32, Waiter>;

/// A connection, up or lost.
pub(super) struct SftpSession {
    queue: mpsc::UnboundedSender<Packet>,
    /// `None` once the connection is lost.
    waiting: Arc<Mutex<Option<Waiters>>>,
    next: AtomicU32,
    room: Arc<Semaphore>,
    meter: Arc<Meter>,
    packets: Arc<AtomicU64>,
    /// What `ssh` printed, once it has ended.
    last_words: watch::Receiver<Option<String>>,
    pub offers: Offers,
    /// The most bytes of one read.
    pub read_size: u32,
    /// The most bytes of one write.
    pub write_size: u32,
}

/// A request in flight. Dropping this value does not cancel the request.
pub(super) struct Pending(Option<oneshot::Receiver<Reply>>);

impl Pending {
    pub async fn reply(self) -> Result<Reply, SftpFault> {
        match self.0 {
            Some(receiver) => receiver.await.map_err(|_| SftpFault::Lost),
            None => Err(SftpFault::Lost),
        }
    }

    /// Waits for the reply of a request that returns only a status.
    pub async fn done(mut self) -> Result<(), SftpFault> {
        self.wait().await
    }

    /// Like `done`, but does not consume the value. Must not be called again after it has returned.
    pub async fn wait(&mut self) -> Result<(), SftpFault> {
        let receiver = self.0.as_mut().ok_or(SftpFault::Lost)?;
        match receiver.await.map_err(|_| SftpFault::Lost)? {
            Reply::Status(Status { code: packet::OK, .. }) => Ok(()),
            other => Err(SftpFault::unexpected(other)),
        }
    }
}

impl SftpFault {
    /// The fault for a refusal, or for a reply that does not match the request.
    pub fn unexpected(reply: Reply) -> Self {
        Self::Refused(match reply {
            Reply::Status(status) => status,
            _ => Status { code: packet::BAD_MESSAGE, message: "the server's response does not match the request".into() },
        })
    }

    pub fn is(&self, code: u32) -> bool {
        matches!(self, Self::Refused(status) if status.code == code)
    }
}

impl SftpSession {
    /// Starts `ssh` and exchanges greetings with the server.
    pub async fn open(address: &Address, location: &Location, meter: Arc<Meter>, packets: Arc<AtomicU64>) -> Result<Self> {
        let (ssh, stream) = Ssh::start(address, location)?;
        let (read, write) = stream.into_split();
        let (queue, queued) = mpsc::unbounded_channel();
        let waiting = Arc::new(Mutex::new(Some(Waiters::new())));
        let (hello, greeted) = oneshot::channel();
        let (say, last_words) = watch::channel(None);
        tokio::spawn(send_all(write, queued));
        let waiters = Arc::clone(&waiting);
        tokio::spawn(async move {
            let _ = receive_all(read, &waiters, hello, (GREETING, SILENCE)).await;
            // The waiters learn of the end because they are dropped.
            lock(&waiters).take();
            let _ = say.send(Some(ssh.end().await));
        });
        let mut session = Self {
            queue,
            waiting,
            next: AtomicU32::new(0),
            room: Arc::new(Semaphore::new(ON_THE_WAY)),
            meter,
            packets,
            last_words,
            offers: Offers::default(),
            read_size: USUAL,
            write_size: USUAL,
        };
        // The greeting has the version where other packets have their id.
        let _ = session.queue.send(Packet::new(packet::INIT).seal(3));
        match greeted.await {
            Ok(Some(offers)) => session.offers = offers,
            Ok(None) => {
                let what = "the response is not that of an SFTP server (version 3); if the account's login script prints something, make it silent";
                return Err(Error::new(ErrorKind::Unsupported, location, what));
            }
            Err(_) => return Err(explain(address, location, &session.why().await)),
        }
        session.read_limits().await;
        Ok(session)
    }

    async fn read_limits(&mut self) {
        if !self.offers.limits {
            return;
        }
        let asked = self.send(Packet::extended("limits@openssh.com")).reply().await;
        if let Ok(Reply::Extended(mut body)) = asked
            && let (Ok(_), Ok(read), Ok(write)) = (body.try_get_u64(), body.try_get_u64(), body.try_get_u64())
        {
            let size = |limit: u64| if limit == 0 { USUAL } else { limit.min(LARGEST) as u32 };
            (self.read_size, self.write_size) = (size(read), size(write));
        }
    }

    /// Waits until `ssh` has ended and returns what it printed.
    pub async fn why(&self) -> String {
        let mut words = self.last_words.clone();
        match words.wait_for(Option::is_some).await {
            Ok(said) => said.clone().unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    pub fn is_up(&self) -> bool {
        lock(&self.waiting).is_some()
    }

    /// Queues a request at once. It is sent even if nobody waits for the reply.
    pub fn send(&self, packet: Packet) -> Pending {
        self.send_with(packet, None)
    }

    /// Like `send`, for a request with content. Waits until the limit of bytes in flight allows it.
    pub async fn send_content(&self, packet: Packet) -> Pending {
        let length = packet.body.as_ref().map_or(0, Bytes::len).min(ON_THE_WAY);
        let room = Arc::clone(&self.room).acquire_many_owned(length as u32).await.ok();
        self.send_with(packet, room)
    }

    fn send_with(&self, packet: Packet, room: Option<OwnedSemaphorePermit>) -> Pending {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut waiting = lock(&self.waiting);
            let Some(waiters) = waiting.as_mut() else { return Pending(None) };
            let mut id = self.next.fetch_add(1, Relaxed);
            while waiters.contains_key(&id) {
                id = self.next.fetch_add(1, Relaxed);
            }
            let mut call = packet.told(&self.meter);
            call.sent(packet.body.as_ref().map_or(0, |body| body.len() as u64));
            waiters.insert(id, Waiter { sender, call, _room: room });
            id
        };
        self.packets.fetch_add(1, Relaxed);
        self.meter.add_sent(packet.body.as_ref().map_or(0, |body| body.len() as u64));
        // If the writing task has ended, the reading task is about to end, and it drops the waiters.
        let _ = self.queue.send(packet.seal(id));
        Pending(Some(receiver))
    }

    pub fn meter(&self) -> &Meter {
        &self.meter
    }
}

fn lock(waiting: &Mutex<Option<Waiters>>) -> MutexGuard<'_, Option<Waiters>> {
    // Every step leaves the map consistent, so a panic of another thread does no harm.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes packets as they arrive, many with one call. Closes the stream when no sender is left.
async fn send_all(mut stream: OwnedWriteHalf, mut packets: mpsc::UnboundedReceiver<Packet>) {
    let (mut batch, mut buffer) = (Vec::new(), Vec::with_capacity(64 << 10));
    while packets.recv_many(&mut batch, 256).await > 0 {
        for packet in batch.drain(..) {
            buffer.extend(&packet.head);
            let written = match packet.body {
                Some(body) if body.len() > SMALL => {
                    let written = write_both(&mut stream, &buffer, &body).await;
                    buffer.clear();
                    written
                }
                Some(body) => {
                    buffer.extend(&body);
                    Ok(())
                }
                None => Ok(()),
            };
            if written.is_err() {
                return;
            }
        }
        if stream.write_all(&buffer).await.is_err() {
            return;
        }
        buffer.clear();
    }
    let _ = stream.shutdown().await;
}

/// Writes both in order, with as few calls as possible.
async fn write_both(stream: &mut OwnedWriteHalf, mut first: &[u8], mut second: &[u8]) -> std::io::Result<()> {
    while !first.is_empty() {
        let written = stream.write_vectored(&[IoSlice::new(first), IoSlice::new(second)]).await?;
        if written == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        let of_first = written.min(first.len());
        first = &first[of_first..];
        second = &second[written - of_first..];
    }
    stream.write_all(second).await
}

/// Reads replies and passes them to the waiters. Ends when the connection ends, when a packet is not a reply, or when
/// nothing arrives for too long although a reply is due. `patience` says how long that is: for the greeting, and for
/// all other replies.
async fn receive_all(
    mut stream: OwnedReadHalf,
    waiting: &Mutex<Option<Waiters>>,
    hello: oneshot::Sender<Option<Offers>>,
    patience: (Duration, Duration),
) -> std::io::Result<()> {
    let mut buffer = BytesMut::with_capacity(LARGEST as usize + 1024);
    let mut hello = Some(hello);
    loop {
        let wait = if hello.is_some() { patience.0 } else { patience.1 };
        let next = match timeout(wait, next_packet(&mut stream, &mut buffer)).await {
            Ok(next) => next?,
            Err(_) if hello.is_some() || lock(waiting).as_ref().is_some_and(|waiters| !waiters.is_empty()) => return Ok(()),
            // No request is waiting.
            Err(_) => continue,
        };
        let Some(packet) = next else {
            // Usually the output of a login script.
            if let Some(hello) = hello.take().filter(|_| buffer.len() >= 4) {
                let _ = hello.send(None);
            }
            return Ok(());
        };
        if let Some(hello) = hello.take() {
            let offers = greeting(packet);
            let known = offers.is_some();
            let _ = hello.send(offers);
            if !known {
                return Ok(());
            }
            continue;
        }
        let Some((id, reply)) = Reply::parse(packet) else { return Ok(()) };
        let waiter = lock(waiting).as_mut().and_then(|waiters| waiters.remove(&id));
        if let Some(mut waiter) = waiter {
            reply.tell(&mut waiter.call);
            let _ = waiter.sender.send(reply);
        }
    }
}

/// The next packet without its length field. `None` if the stream ends or its next bytes are not a packet.
async fn next_packet(stream: &mut OwnedReadHalf, buffer: &mut BytesMut) -> std::io::Result<Option<Bytes>> {
    loop {
        if buffer.len() >= 4 {
            let length = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
            if length > packet::MAX_PACKET {
                return Ok(None);
            }
            if buffer.len() >= 4 + length {
                buffer.advance(4);
                return Ok(Some(buffer.split_to(length).freeze()));
            }
            buffer.reserve(4 + length - buffer.len());
        }
        if buffer.capacity() - buffer.len() < 4096 {
            buffer.reserve(LARGEST as usize);
        }
        if stream.read_buf(buffer).await? == 0 {
            buffer.clear();
            return Ok(None);
        }
    }
}

/// What the server offers, if it speaks version 3.
fn greeting(mut packet: Bytes) -> Option<Offers> {
    if packet.try_get_u8().ok()? != packet::VERSION || packet.try_get_u32().ok()? < 3 {
        return None;
    }
    let mut offers = Offers::default();
    while let Some(name) = packet::string(&mut packet) {
        let data = packet::string(&mut packet)?;
        let place = match (&name[..], &data[..]) {
            (b"posix-rename@openssh.com", b"1") => &mut offers.posix_rename,
            (b"hardlink@openssh.com", b"1") => &mut offers.hardlink,
            (b"fsync@openssh.com", b"1") => &mut offers.fsync,
            (b"statvfs@openssh.com", b"2") => &mut offers.statvfs,
            (b"lsetstat@openssh.com", b"1") => &mut offers.lsetstat,
            (b"copy-data", b"1") => &mut offers.copy_data,
            (b"limits@openssh.com", b"1") => &mut offers.limits,
            _ => continue,
        };
        *place = true;
    }
    Some(offers)
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;

    async fn heard(bytes: &[u8]) -> Option<Option<Offers>> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let waiting = Mutex::new(Some(Waiters::new()));
        let (hello, greeted) = oneshot::channel();
        theirs.write_all(bytes).await.unwrap();
        drop(theirs);
        receive_all(ours.into_split().0, &waiting, hello, (GREETING, SILENCE)).await.unwrap();
        greeted.await.ok()
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
        let short = Duration::from_millis(50);
        for greets in [false, true] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let (sender, receiver) = oneshot::channel();
            let waiter = Waiter { sender, call: TracedCall::untold(), _room: None };
            let waiting = Mutex::new(Some(Waiters::from([(1, waiter)])));
            let (hello, _greeted) = oneshot::channel();
            if greets {
                theirs.write_all(&Packet::new(packet::VERSION).seal(3).head).await.unwrap();
            }
            let ended = timeout(Duration::from_secs(20), receive_all(ours.into_split().0, &waiting, hello, (short, short))).await;
            assert!(ended.is_ok(), "it is still waited for");
            drop((waiting, receiver, theirs));
        }
    }

    #[tokio::test]
    async fn a_greeting_is_told_from_a_chatty_login_script() {
        let hello = Packet::new(packet::VERSION).bytes(b"fsync@openssh.com").bytes(b"1").seal(3);
        let offers = heard(&hello.head).await.flatten().unwrap();
        assert!(offers.fsync && !offers.hardlink);
        assert!(matches!(heard(b"Welcome to nas, dear user!\n").await, Some(None)));
        assert!(heard(b"").await.is_none());
    }
}
