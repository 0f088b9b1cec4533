//! Reading a range of a pack while it arrives.
//!
//! Owns how the body of one request becomes plaintext, and that a body which breaks off is asked for again from there.
//! Invariants: memory holds a chunk or two, whatever the length of the range; no byte of a sealed chunk is given out
//! before its tag was checked.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::GetOptions;
use offsite_backends::ErrorKind;

use super::pack_objects::{PackKind, pack_key};
use super::records::{Records, object_path};
use crate::error::{Error, Result};
use crate::model::Hash;
use crate::seal::{ChunkOpener, Opener, PREFIX, sealed_range};

/// Number of requests for a range whose body breaks off.
const TRIES: u32 = 3;

/// A range of the plaintext of a pack.
pub struct PackReader {
    records: Records,
    kind: PackKind,
    pack: Hash,
    /// What was not given out yet.
    rest: Range<u64>,
    /// `None` before the first request, and after a body broke off.
    body: Option<ArrivingPack>,
    tries: u32,
}

/// The answer to one request.
struct ArrivingPack {
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    /// Opens what is sealed.
    opener: Option<ChunkOpener>,
    /// Plaintext that was not given out yet.
    plain: BytesMut,
}

impl Records {
    /// A range of the plaintext of a pack, which is asked for with one request and read while it arrives.
    pub fn pack_reader(&self, kind: PackKind, pack: &Hash, plain: Range<u64>) -> PackReader {
        PackReader { records: self.clone(), kind, pack: *pack, rest: plain, body: None, tries: 1 }
    }

    async fn arriving_pack(&self, kind: PackKind, pack: &Hash, plain: Range<u64>) -> Result<ArrivingPack> {
        let Some(identities) = self.pack_identities(kind, pack)? else {
            return Ok(ArrivingPack { stream: self.pack_stream(pack, plain).await?, opener: None, plain: BytesMut::new() });
        };
        let damaged = |error| Error::damaged(self.pack_url(pack), error);
        let wanted = sealed_range(plain.clone());
        let (mut stream, mut plain_bytes) = (None, BytesMut::new());
        let opener = match self.known_pack_key(pack) {
            Some(key) => Opener::from_payload_key(key).map_err(damaged)?,
            None => {
                // Of a range that begins with the first chunk, one request has the prefix too.
                let prefix = if wanted.start == PREFIX as u64 {
                    let mut whole = self.pack_stream(pack, 0..wanted.end).await?;
                    let mut first = BytesMut::new();
                    while first.len() < PREFIX {
                        let Some(more) = whole.next().await else { break };
                        first.extend_from_slice(&more.map_err(|e| self.error(&pack_key(pack), &e))?);
                    }
                    let prefix = first.split_to(first.len().min(PREFIX)).freeze();
                    plain_bytes = first;
                    stream = Some(whole);
                    prefix
                } else {
                    self.stored_range(pack, 0..PREFIX as u64).await?
                };
                let opener = Opener::new(identities, &prefix).map_err(damaged)?;
                self.note_pack_key(pack, opener.payload_key());
                opener
            }
        };
        let mut opener = opener.chunks(plain);
        let mut opened = BytesMut::new();
        opener.push(&plain_bytes, &mut opened).map_err(damaged)?;
        let stream = match stream {
            Some(stream) => stream,
            None => self.pack_stream(pack, wanted).await?,
        };
        Ok(ArrivingPack { stream, opener: Some(opener), plain: opened })
    }

    async fn pack_stream(&self, pack: &Hash, range: Range<u64>) -> Result<BoxStream<'static, object_store::Result<Bytes>>> {
        let key = pack_key(pack);
        let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
        let got = self.backend().store().get_opts(&object_path(key.as_bytes())?, options).await;
        Ok(got.map_err(|e| self.error(&key, &e))?.into_stream())
    }
}

impl PackReader {
    /// The next bytes, exactly as many as asked for. A body that breaks off is asked for again.
    ///
    /// # Errors
    /// As for [`Records::pack_range`].
    pub async fn read(&mut self, length: u64) -> Result<Bytes> {
        loop {
            match self.next(length).await {
                Err(error) if error.kind() == Some(ErrorKind::Transient) && self.tries < TRIES => {
                    (self.tries, self.body) = (self.tries + 1, None);
                }
                next => return next,
            }
        }
    }

    /// Passes over bytes.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub async fn skip(&mut self, mut length: u64) -> Result<()> {
        while length > 0 {
            let step = length.min(1 << 16);
            self.read(step).await?;
            length -= step;
        }
        Ok(())
    }

    async fn next(&mut self, length: u64) -> Result<Bytes> {
        let url = || self.records.pack_url(&self.pack);
        let body = match &mut self.body {
            Some(body) => body,
            none => none.insert(self.records.arriving_pack(self.kind, &self.pack, self.rest.clone()).await?),
        };
        while (body.plain.len() as u64) < length {
            let more = body.stream.next().await.transpose().map_err(|e| self.records.error(&pack_key(&self.pack), &e))?;
            let ended = more.is_none();
            match (&mut body.opener, more) {
                (Some(opener), Some(more)) => opener.push(&more, &mut body.plain),
                (Some(opener), None) => opener.end(&mut body.plain),
                (None, more) => {
                    body.plain.extend_from_slice(&more.unwrap_or_default());
                    Ok(())
                }
            }
            .map_err(|error| Error::damaged(url(), error))?;
            if ended && (body.plain.len() as u64) < length {
                return Err(Error::damaged(url(), "it is truncated"));
            }
        }
        self.rest.start += length;
        Ok(body.plain.split_to(length as usize).freeze())
    }
}
