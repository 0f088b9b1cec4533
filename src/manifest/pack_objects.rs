//! Packs at a destination: their names, and reading and writing their bytes.
//!
//! Owns the keys below `.offsite/packs/`, and what of a pack is sealed. A pack is created once, under the BLAKE3 of its
//! bytes as they lie there, and never changed.
//! Invariant: what is read is bounded. Whoever reads a whole pack can check it by its name, without any key.

use std::io;
use std::ops::Range;
use std::sync::PoisonError;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::try_join;
use object_store::{GetOptions, ObjectStoreExt, PutPayload};

use super::records::{Records, object_path};
use super::sealed_backend::no_contents_key;
use super::sealed_store::NEAR;
use crate::error::{Error, Result};
use crate::model::{Hash, PACK};
use crate::seal::{FileSecrets, Identity, ObjectWriter, Opener, PREFIX, PayloadKey, SealWriter, sealed_len, sealed_range};

/// What a pack holds, which decides who can open it at a sealed destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackKind {
    /// Contents of files. A host that only writes cannot open them.
    Contents,
    /// Lists of pieces.
    Lists,
}

/// Keys of packs that were opened, at most.
const KEYS: usize = 256;

const FOLDER: &str = ".offsite/packs/";
const ENDING: &str = ".zst";

/// The key of a pack. Its first folder is the beginning of its name, so that no folder of a disk holds too many.
pub fn pack_key(pack: &Hash) -> String {
    let name = pack.to_string();
    format!("{FOLDER}{}/{name}{ENDING}", &name[..2])
}

/// The pack that has this key. `None` for any other key.
pub fn pack_of_key(key: &[u8]) -> Option<Hash> {
    let text = str::from_utf8(key).ok()?;
    let name = text.strip_prefix(FOLDER)?.get(3..)?.strip_suffix(ENDING)?;
    let pack = blake3::Hash::from_hex(name).ok().map(|hash| Hash(*hash.as_bytes()))?;
    (pack_key(&pack) == text).then_some(pack)
}

impl Records {
    /// The URL of a pack, for messages.
    pub fn pack_url(&self, pack: &Hash) -> String {
        self.url(&pack_key(pack))
    }

    /// Hands every pack at the destination to `take`: its name, the length of its object, and when it was written by the
    /// store's clock, in seconds since 1970.
    ///
    /// # Errors
    /// The store's own error, and those of `take`.
    pub async fn each_pack(&self, mut take: impl FnMut(Hash, u64, i64) -> Result<()>) -> Result<()> {
        let store = self.backend().store();
        let mut listing = store.list(Some(&object_path(FOLDER.trim_end_matches('/').as_bytes())?));
        while let Some(meta) = listing.try_next().await.map_err(|e| self.error(FOLDER, &e))? {
            if let Some(pack) = pack_of_key(meta.location.as_ref().as_bytes()) {
                take(pack, meta.size, meta.last_modified.timestamp())?;
            }
        }
        Ok(())
    }

    /// Writes a pack with one request. Repeating it writes the same bytes.
    ///
    /// # Errors
    /// The store's own error.
    pub async fn put_pack(&self, pack: &Hash, body: Bytes) -> Result<()> {
        let key = pack_key(pack);
        let put = self.backend().store().put(&object_path(key.as_bytes())?, PutPayload::from_bytes(body)).await;
        put.map(drop).map_err(|e| self.error(&key, &e))
    }

    /// A writer that brings a pack into the form that it has at the destination. It appends to `room`.
    ///
    /// # Errors
    /// [`Error::Local`] if this machine gives no random bytes.
    pub fn pack_writer(&self, kind: PackKind, room: Vec<u8>) -> Result<ObjectWriter> {
        let Some(keys) = &self.keys else { return Ok(ObjectWriter::Open(room)) };
        let to = match kind {
            PackKind::Contents => &keys.sealing.contents,
            PackKind::Lists => &keys.sealing.names,
        };
        let writer = FileSecrets::random().and_then(|secrets| SealWriter::new(to, secrets, room));
        writer.map(|writer| ObjectWriter::Sealed(Box::new(writer))).map_err(|e| Error::local("a pack", io::Error::other(e)))
    }

    /// How many bytes a pack has at least if its plaintext has this many.
    pub fn pack_length(&self, plain: u64) -> u64 {
        if self.keys.is_some() { sealed_len(plain) } else { plain }
    }

    /// A range of the plaintext of a pack, exactly as long as asked for.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the pack is shorter or cannot be opened. [`Error::Usage`] if the contents are sealed and
    /// nothing here opens them. Otherwise the store's own error, for example
    /// [`offsite_backends::ErrorKind::NotFound`] if the pack is missing.
    pub async fn pack_range(&self, kind: PackKind, pack: &Hash, plain: Range<u64>) -> Result<Bytes> {
        let length = plain.end.saturating_sub(plain.start);
        let body = match self.pack_identities(kind, pack)? {
            Some(identities) => self.sealed_range(identities, pack, plain).await?,
            None => self.stored_range(pack, plain).await?,
        };
        if body.len() as u64 == length { Ok(body) } else { Err(Error::damaged(self.pack_url(pack), "it is truncated")) }
    }

    pub(super) async fn stored_range(&self, pack: &Hash, range: Range<u64>) -> Result<Bytes> {
        let key = pack_key(pack);
        self.backend().store().get_range(&object_path(key.as_bytes())?, range).await.map_err(|e| self.error(&key, &e))
    }

    async fn sealed_range(&self, identities: &[Identity], pack: &Hash, plain: Range<u64>) -> Result<Bytes> {
        let damaged = |error| Error::damaged(self.pack_url(pack), error);
        let wanted = sealed_range(plain.clone());
        if let Some(key) = self.known_pack_key(pack) {
            let sealed = self.stored_range(pack, wanted).await?;
            let opened = Opener::from_payload_key(key).and_then(|opener| opener.open_range(plain, &sealed));
            return opened.map(Bytes::from).map_err(damaged);
        }
        let (prefix, sealed) = if wanted.start < NEAR {
            let both = self.stored_range(pack, 0..wanted.end).await?;
            let from = usize::try_from(wanted.start).unwrap_or(usize::MAX).min(both.len());
            (both.slice(..both.len().min(PREFIX)), both.slice(from..))
        } else {
            try_join(self.stored_range(pack, 0..PREFIX as u64), self.stored_range(pack, wanted)).await?
        };
        let opener = Opener::new(identities, &prefix).map_err(damaged)?;
        self.note_pack_key(pack, opener.payload_key());
        opener.open_range(plain, &sealed).map(Bytes::from).map_err(damaged)
    }

    /// What opens a pack. `None` if it is not sealed.
    ///
    /// # Errors
    /// [`Error::Usage`] if nothing here opens it.
    pub(super) fn pack_identities(&self, kind: PackKind, pack: &Hash) -> Result<Option<&[Identity]>> {
        let Some(keys) = &self.keys else { return Ok(None) };
        match kind {
            PackKind::Contents if keys.contents.is_empty() => Err(no_contents_key(self.pack_url(pack))),
            PackKind::Contents => Ok(Some(&keys.contents)),
            PackKind::Lists => Ok(Some(&keys.sealing.names_identities)),
        }
    }

    /// The key of a pack that was opened before.
    pub(super) fn known_pack_key(&self, pack: &Hash) -> Option<PayloadKey> {
        self.pack_keys.lock().unwrap_or_else(PoisonError::into_inner).get(pack).cloned()
    }

    /// Keeps the key of a pack that was opened.
    pub(super) fn note_pack_key(&self, pack: &Hash, key: &PayloadKey) {
        let mut known = self.pack_keys.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEYS {
            known.clear();
        }
        known.insert(*pack, key.clone());
    }

    /// A whole pack. Its bytes are not checked.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the object is longer than a pack can be. Otherwise the store's own error.
    pub async fn pack_whole(&self, pack: &Hash) -> Result<Bytes> {
        let key = pack_key(pack);
        let got = self.backend().store().get_opts(&object_path(key.as_bytes())?, GetOptions::default()).await;
        let got = got.map_err(|e| self.error(&key, &e))?;
        if got.meta.size > PACK {
            return Err(Error::damaged(self.url(&key), "it is longer than a pack can be"));
        }
        got.bytes().await.map_err(|e| self.error(&key, &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_of_a_pack_is_one() {
        let pack = Hash::of(b"a pack");
        let key = pack_key(&pack);
        assert_eq!(pack_of_key(key.as_bytes()), Some(pack));
        let upper = key.to_ascii_uppercase();
        let moved = key.replacen("packs/", "packs/0", 1);
        for other in [&*upper, &*moved, &key[1..], &key[..key.len() - 1], "", ".offsite/packs/", ".offsite/packs/ab/x.zst"] {
            assert_eq!(pack_of_key(other.as_bytes()), None, "{other}");
        }
    }
}
