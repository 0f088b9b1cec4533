//! Packs at a destination: their names, and reading and writing their bytes.
//!
//! Owns the keys below `.offsite/packs/`. A pack is created once, under the BLAKE3 of its bytes, and never changed.
//! Invariant: what is read is bounded. Whoever reads a whole pack can check it by its name.

use std::ops::Range;

use bytes::Bytes;
use object_store::{GetOptions, ObjectStoreExt, PutPayload};

use super::records::{Records, object_path};
use crate::error::{Error, Result};
use crate::model::{Hash, PACK};

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

    /// Writes a pack with one request. Repeating it writes the same bytes.
    ///
    /// # Errors
    /// The store's own error.
    pub async fn put_pack(&self, pack: &Hash, body: Bytes) -> Result<()> {
        let key = pack_key(pack);
        let put = self.backend().store().put(&object_path(key.as_bytes())?, PutPayload::from_bytes(body)).await;
        put.map(drop).map_err(|e| self.error(&key, &e))
    }

    /// A range of bytes of a pack, exactly as long as asked for.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the pack is shorter. Otherwise the store's own error, for example
    /// [`offsite_backends::ErrorKind::NotFound`] if the pack is missing.
    pub async fn pack_range(&self, pack: &Hash, range: Range<u64>) -> Result<Bytes> {
        let key = pack_key(pack);
        let length = range.end.saturating_sub(range.start);
        let body = self.backend().store().get_range(&object_path(key.as_bytes())?, range).await.map_err(|e| self.error(&key, &e))?;
        if body.len() as u64 == length { Ok(body) } else { Err(Error::damaged(self.url(&key), "it is truncated")) }
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
