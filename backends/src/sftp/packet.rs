//! SFTP version 3 as bytes: building requests and parsing replies.
//!
//! Owns the layout of packets, but not their meaning. Names are bytes throughout.
//! Invariant: every length that a server sends is checked against its packet. A packet that does not fit its own
//! lengths is not a reply.

use bytes::{Buf, Bytes};

use crate::contract::meter::Meter;
use crate::contract::trace::TracedCall;

/// The largest packet that is accepted from a server, in bytes.
pub(super) const MAX_PACKET: usize = 1 << 20;

pub(super) const INIT: u8 = 1;
pub(super) const VERSION: u8 = 2;
pub(super) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const WRITE: u8 = 6;
pub(super) const LSTAT: u8 = 7;
pub(super) const FSTAT: u8 = 8;
pub(super) const SETSTAT: u8 = 9;
pub(super) const FSETSTAT: u8 = 10;
pub(super) const OPENDIR: u8 = 11;
pub(super) const READDIR: u8 = 12;
pub(super) const REMOVE: u8 = 13;
pub(super) const MKDIR: u8 = 14;
pub(super) const RMDIR: u8 = 15;
pub(super) const STAT: u8 = 17;
pub(super) const RENAME: u8 = 18;
pub(super) const READLINK: u8 = 19;
pub(super) const SYMLINK: u8 = 20;
pub(super) const EXTENDED: u8 = 200;

const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;
const EXTENDED_REPLY: u8 = 201;

const HAS_SIZE: u32 = 1;
const HAS_OWNER: u32 = 2;
const HAS_MODE: u32 = 4;
const HAS_TIMES: u32 = 8;
const HAS_MORE: u32 = 1 << 31;

/// Bytes of the length, the kind and the id. The id is filled in when the packet is sent.
const HEAD: usize = 9;

/// One request.
#[derive(Debug)]
pub(super) struct Packet {
    pub head: Vec<u8>,
    /// The content of a write, held separately so that it is not copied.
    pub body: Option<Bytes>,
}

impl Packet {
    pub fn new(kind: u8) -> Self {
        let mut head = Vec::with_capacity(96);
        head.extend([0, 0, 0, 0, kind, 0, 0, 0, 0]);
        Self { head, body: None }
    }

    pub fn extended(name: &str) -> Self {
        Self::new(EXTENDED).bytes(name.as_bytes())
    }

    pub fn number(mut self, number: u32) -> Self {
        self.head.extend(number.to_be_bytes());
        self
    }

    pub fn long(mut self, number: u64) -> Self {
        self.head.extend(number.to_be_bytes());
        self
    }

    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut packet = self.number(bytes.len() as u32);
        packet.head.extend(bytes);
        packet
    }

    pub fn body(self, body: Bytes) -> Self {
        let mut packet = self.number(body.len() as u32);
        packet.body = Some(body);
        packet
    }

    pub fn attrs(self, attrs: &Attrs) -> Self {
        let Attrs { size, owner, mode, times } = attrs;
        let has = |there: bool, flag: u32| if there { flag } else { 0 };
        let flags = has(size.is_some(), HAS_SIZE)
            | has(owner.is_some(), HAS_OWNER)
            | has(mode.is_some(), HAS_MODE)
            | has(times.is_some(), HAS_TIMES);
        let mut packet = self.number(flags);
        if let Some(size) = size {
            packet = packet.long(*size);
        }
        for pair in [owner, times] {
            if pair == times && mode.is_some() {
                packet = packet.number(mode.unwrap_or_default());
            }
            if let Some((first, second)) = pair {
                packet = packet.number(*first).number(*second);
            }
        }
        packet
    }

    /// The line in a log for this request. Reads and writes of contents have none.
    pub fn told(&self, meter: &Meter) -> TracedCall {
        match self.head[4] {
            READ | WRITE => TracedCall::untold(),
            _ => meter.tell(|| (self.name(), self.about())),
        }
    }

    fn name(&self) -> String {
        match self.head[4] {
            OPEN => "OPEN",
            CLOSE => "CLOSE",
            LSTAT => "LSTAT",
            FSTAT => "FSTAT",
            SETSTAT => "SETSTAT",
            FSETSTAT => "FSETSTAT",
            OPENDIR => "OPENDIR",
            READDIR => "READDIR",
            REMOVE => "REMOVE",
            MKDIR => "MKDIR",
            RMDIR => "RMDIR",
            STAT => "STAT",
            RENAME => "RENAME",
            READLINK => "READLINK",
            SYMLINK => "SYMLINK",
            _ => return String::from_utf8_lossy(&self.first()).into_owned(),
        }
        .to_owned()
    }

    /// The path of the request, as it is sent to the server. A request on an open file shows only `(open)`.
    fn about(&self) -> String {
        match self.head[4] {
            CLOSE | FSTAT | FSETSTAT | READDIR => "(open)".to_owned(),
            EXTENDED => String::new(),
            _ => String::from_utf8_lossy(&self.first()).into_owned(),
        }
    }

    /// Its first field.
    fn first(&self) -> Bytes {
        string(&mut Bytes::copy_from_slice(&self.head[HEAD..])).unwrap_or_default()
    }

    /// Fills in the length and the id when the packet is sent.
    pub fn seal(mut self, id: u32) -> Self {
        let length = self.head.len() - 4 + self.body.as_ref().map_or(0, Bytes::len);
        self.head[..4].copy_from_slice(&(length as u32).to_be_bytes());
        self.head[5..HEAD].copy_from_slice(&id.to_be_bytes());
        self
    }
}

/// Attributes of a file, known or to be set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attrs {
    pub size: Option<u64>,
    pub owner: Option<(u32, u32)>,
    pub mode: Option<u32>,
    /// Access and modification time, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

/// A reply of the server.
#[derive(Debug)]
pub(super) enum Reply {
    Status(Status),
    Handle(Bytes),
    Data(Bytes),
    Names(Vec<(Bytes, Attrs)>),
    Attrs(Attrs),
    Extended(Bytes),
}

/// How a request ended.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub code: u32,
    pub message: String,
}

pub(super) const OK: u32 = 0;
pub(super) const EOF: u32 = 1;
pub(super) const NO_SUCH_FILE: u32 = 2;
pub(super) const DENIED: u32 = 3;
pub(super) const FAILURE: u32 = 4;
pub(super) const BAD_MESSAGE: u32 = 5;
pub(super) const UNSUPPORTED: u32 = 8;

impl Reply {
    /// Parses a packet without its length field. Returns its id and the reply, or `None` if it is not a complete
    /// reply.
    pub fn parse(mut packet: Bytes) -> Option<(u32, Self)> {
        let kind = packet.try_get_u8().ok()?;
        let id = packet.try_get_u32().ok()?;
        let reply = match kind {
            STATUS => {
                let code = packet.try_get_u32().ok()?;
                // Old servers leave the text out.
                let message = string(&mut packet).unwrap_or_default();
                Self::Status(Status { code, message: String::from_utf8_lossy(&message).into_owned() })
            }
            HANDLE => Self::Handle(string(&mut packet)?),
            DATA => Self::Data(string(&mut packet)?),
            NAME => {
                let count = packet.try_get_u32().ok()?;
                let mut names = Vec::new();
                for _ in 0..count {
                    let name = string(&mut packet)?;
                    string(&mut packet)?;
                    names.push((name, Attrs::parse(&mut packet)?));
                }
                Self::Names(names)
            }
            ATTRS => Self::Attrs(Attrs::parse(&mut packet)?),
            EXTENDED_REPLY => Self::Extended(packet),
            _ => return None,
        };
        Some((id, reply))
    }
}

impl Reply {
    /// Records for a log how the request ended.
    pub fn tell(&self, call: &mut TracedCall) {
        match self {
            Self::Status(status) => call.ended(status.code, false),
            Self::Data(data) => {
                call.received(data.len() as u64);
                call.ended(OK, false);
            }
            _ => call.ended(OK, false),
        }
    }
}

impl Attrs {
    fn parse(packet: &mut Bytes) -> Option<Self> {
        let flags = packet.try_get_u32().ok()?;
        let mut attrs = Self::default();
        if flags & HAS_SIZE != 0 {
            attrs.size = Some(packet.try_get_u64().ok()?);
        }
        if flags & HAS_OWNER != 0 {
            attrs.owner = Some((packet.try_get_u32().ok()?, packet.try_get_u32().ok()?));
        }
        if flags & HAS_MODE != 0 {
            attrs.mode = Some(packet.try_get_u32().ok()?);
        }
        if flags & HAS_TIMES != 0 {
            attrs.times = Some((packet.try_get_u32().ok()?, packet.try_get_u32().ok()?));
        }
        if flags & HAS_MORE != 0 {
            for _ in 0..packet.try_get_u32().ok()? {
                string(packet)?;
                string(packet)?;
            }
        }
        Some(attrs)
    }
}

/// Reads a length and that many bytes.
pub(super) fn string(packet: &mut Bytes) -> Option<Bytes> {
    let length = packet.try_get_u32().ok()? as usize;
    (length <= packet.len()).then(|| packet.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_were_sent() {
        let all = Attrs { size: Some(1 << 40), owner: Some((1, 2)), mode: Some(0o100_644), times: Some((3, 4)) };
        let some = Attrs { mode: Some(0o755), ..Attrs::default() };
        for attrs in [all, some, Attrs { times: Some((7, 8)), ..Attrs::default() }, Attrs::default()] {
            let packet = Packet::new(ATTRS).attrs(&attrs).seal(9);
            let (id, reply) = Reply::parse(Bytes::from(packet.head).slice(4..)).unwrap();
            assert!(matches!(reply, Reply::Attrs(back) if back == attrs) && id == 9, "{attrs:?}");
        }
    }

    #[test]
    fn a_packet_that_lies_about_its_lengths_is_none() {
        let packet = Packet::new(NAME).number(u32::MAX).bytes(b"a").seal(1);
        assert!(Reply::parse(Bytes::from(packet.head).slice(4..)).is_none());
        let packet = Packet::new(DATA).number(1000).seal(1);
        assert!(Reply::parse(Bytes::from(packet.head).slice(4..)).is_none());
        assert!(Reply::parse(Bytes::from_static(&[STATUS, 0])).is_none());
    }

    #[test]
    fn mutated_packets_are_replies_or_none() {
        let attrs = Attrs { size: Some(1 << 40), owner: Some((1, 2)), mode: Some(0o100_644), times: Some((3, 4)) };
        let name = |packet: Packet| packet.bytes(b"name").bytes(b"-rw-r--r-- name").attrs(&attrs);
        let made = [
            Packet::new(101).number(4).bytes(b"Failure").bytes(b"en"),
            Packet::new(102).bytes(b"handle"),
            Packet::new(103).bytes(&[7; 100]),
            name(name(Packet::new(104).number(2))),
            Packet::new(105).attrs(&attrs),
            Packet::new(201).long(4096).long(1 << 40),
        ];
        // Without the length field, as the session passes them on.
        let seeds: Vec<Vec<u8>> = made.into_iter().map(|packet| packet.seal(9).head[4..].to_vec()).collect();
        crate::fuzz::cases("packets of SFTP", &seeds, |bytes| {
            let said = match Reply::parse(Bytes::copy_from_slice(bytes)) {
                Some((_, Reply::Names(names))) => names.iter().map(|(name, _)| name.len()).sum(),
                Some((_, Reply::Data(data) | Reply::Handle(data) | Reply::Extended(data))) => data.len(),
                _ => 0,
            };
            assert!(said <= bytes.len(), "{said} bytes out of {}", bytes.len());
        });
    }
}
