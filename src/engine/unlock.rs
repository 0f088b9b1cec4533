//! The layout and the seal of a destination: what the caller wants, what is there, and the keys that open it.
//!
//! Owns the checks that a sealed destination is the one that this machine knows. Invariant: nothing is written to a
//! destination that was sealed and does not say so any more.

use std::sync::Arc;

use super::destination::Destination;
use super::keys::files::{open_copies, open_first, open_key_files};
use super::keys::ring::KeyRing;
use super::keys::wish::{SealWish, enough};
use super::query::resolve_at;
use crate::error::{Error, Result};
use crate::manifest::{Format, Records, Remembered, no_contents_key, no_key};
use crate::model::{Hash, Layout, Snapshot};
use crate::seal::{KeySet, SealKeys, WriterKey};

impl Destination {
    /// Unlocks a sealed destination: with the identities that the user gave, or else with the writer key of this machine,
    /// or else with an identity of the config or a passphrase. Sends no request if this machine knows that the destination is
    /// not sealed, or if there is no key at all.
    ///
    /// # Errors
    /// [`Error::Usage`] if the destination is sealed and no key opens it.
    pub async fn unlock(&mut self, keys: &KeyRing) -> Result<()> {
        self.unlock_with(keys, !keys.identities.is_empty()).await
    }

    /// Unlocks a sealed destination for a run, which opens no contents: if there is a writer key, it suffices.
    ///
    /// # Errors
    /// As for [`unlock`](Self::unlock).
    pub(super) async fn unlock_for_run(&mut self, keys: &KeyRing) -> Result<()> {
        self.unlock_with(keys, false).await
    }

    async fn unlock_with(&mut self, keys: &KeyRing, open: bool) -> Result<()> {
        let Some(format) = self.known_format(keys).await? else { return Ok(()) };
        let writer = self.writer_of(keys, &format)?;
        if !format.sealed {
            return Ok(());
        }
        if open || writer.is_none() {
            return self.open_all(keys, writer.as_ref(), format.id).await;
        }
        self.use_keys(None, writer.as_ref(), format.id);
        Ok(())
    }

    /// Unlocks a sealed destination for a verb that opens contents: with the identities that the user gave, or else with
    /// those of the config, or else with its passphrase. The copies of key files beside the writer key, or the first key
    /// file, may do: [`resolve`](Self::resolve) reads all of them if they do not.
    ///
    /// # Errors
    /// [`Error::Usage`] if the destination is sealed and nothing opens its contents.
    pub async fn unlock_contents(&mut self, keys: &KeyRing) -> Result<()> {
        let url = self.below.location().to_string();
        if self.head.is_none() && !keys.identities_of(&url).is_empty() {
            let first = open_first(&self.below, keys).await?.filter(|sets| !sets.is_empty());
            if let Some(sets) = first {
                let id = sets[0].destination.clone();
                let writer = keys.writer(&url, &id)?;
                self.use_keys(Some(&sets), writer.as_ref(), id);
                self.few_keys = true;
                return Ok(());
            }
        }
        let Some(format) = self.known_format(keys).await? else { return Ok(()) };
        let writer = self.writer_of(keys, &format)?;
        if !format.sealed {
            return Ok(());
        }
        if let Some(writer) = writer.as_ref().filter(|_| keys.may_open(&url))
            && let Some(sets) = open_copies(&self.below, writer, keys).await?
        {
            self.use_keys(Some(&sets), Some(writer), format.id);
            self.few_keys = true;
            return Ok(());
        }
        if writer.is_some() && !keys.may_open(&url) {
            return Err(no_contents_key(&url));
        }
        self.open_all(keys, writer.as_ref(), format.id).await
    }

    /// `format.json`, if this machine knows it or has a key for whatever is there.
    async fn known_format(&self, keys: &KeyRing) -> Result<Option<Format>> {
        match &self.head {
            Some(head) => Ok(Some(head.format.clone())),
            None if keys.is_empty() => Ok(None),
            None => self.records.format().await,
        }
    }

    /// The writer key of this machine. Only for a sealed destination is there one. It decides, and not what the destination
    /// says of itself.
    fn writer_of(&self, keys: &KeyRing, format: &Format) -> Result<Option<WriterKey>> {
        let url = self.below.location().to_string();
        let writer = if format.sealed || self.head.is_none() { keys.writer(&url, &format.id)? } else { None };
        match writer {
            Some(_) if !format.sealed => Err(no_longer_sealed(&self.records)),
            writer => Ok(writer),
        }
    }

    async fn open_all(&mut self, keys: &KeyRing, writer: Option<&WriterKey>, id: String) -> Result<()> {
        let sets = open_key_files(&self.below, &id, keys).await?;
        self.use_keys(Some(&sets), writer, id);
        self.few_keys = false;
        Ok(())
    }

    fn use_keys(&mut self, sets: Option<&[KeySet]>, writer: Option<&WriterKey>, id: String) {
        let written = writer.map(SealKeys::of_writer);
        self.writer_key = writer.cloned();
        let keys = match (sets.and_then(SealKeys::of_sets), written) {
            // Anyone who may write there can add a key file. So what this machine seals, it seals to its writer key.
            (Some(opened), Some(written)) => Some(SealKeys { contents: opened.contents, ..written }),
            (opened, written) => opened.or(written),
        };
        if let Some(keys) = keys {
            self.install(keys, id);
        }
    }

    /// The snapshot that `at` names (without it, the newest), and the hash of its object. Reads all key files if those that
    /// were read do not open it.
    ///
    /// # Errors
    /// As for [`resolve_at`].
    pub async fn resolve(&mut self, at: Option<&str>) -> Result<(Snapshot, Hash)> {
        let found = match resolve_at(&self.records, at).await {
            Err(Error::Damaged { .. }) if self.few_keys => {
                self.unlock_others().await?;
                resolve_at(&self.records, at).await?
            }
            found => found?,
        };
        Ok((found.0, found.1))
    }

    /// Opens all key files, for a verb that reads every snapshot after [`Self::unlock_contents`].
    ///
    /// # Errors
    /// As for [`Self::unlock_contents`].
    pub async fn unlock_others(&mut self) -> Result<()> {
        if !self.few_keys {
            return Ok(());
        }
        let (keys, writer) = (self.keys.clone(), self.writer_key.clone());
        let Some(format) = Records::new(Arc::clone(&self.below)).format().await? else { return Err(no_key(self.below.location())) };
        self.open_all(&keys, writer.as_ref(), format.id).await
    }

    /// Uses these keys from now on. `id` is that of the destination.
    pub fn install(&mut self, keys: SealKeys, id: String) {
        self.below.use_objects_only();
        self.records = Records::sealed(Arc::clone(&self.below), Arc::new(keys), id);
        self.records.remember(self.remembered());
        self.backend = Arc::clone(self.records.backend());
    }

    /// Checks that this machine may seal contents: it has the writer key of a sealed destination. The key files there do
    /// not suffice, because anyone who may write to the destination can add one.
    ///
    /// # Errors
    /// [`Error::Usage`] if the destination is sealed and this machine has no writer key for it.
    pub fn may_write(&self) -> Result<()> {
        if self.records.keys().is_none() || self.writer_key.is_some() {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "{}: this machine has no writer key for this destination, so it only reads; get one with `offsite key writer`",
            self.backend.location()
        )))
    }

    /// Begins again where the destination has disappeared. One that was sealed is not made again in the clear.
    ///
    /// # Errors
    /// [`Error::Usage`] if it was sealed and the caller does not say to whom the new one is to be sealed.
    pub(super) fn forget(&mut self) -> Result<()> {
        let was_sealed = self.head.as_ref().is_some_and(|head| head.format.sealed) || self.records.keys().is_some();
        if was_sealed && self.seal.is_none() {
            return Err(Error::Usage(format!(
                "{}: this destination was sealed and is gone; to begin again there, say to whom with --seal-to",
                self.backend.location()
            )));
        }
        self.backend = Arc::clone(&self.below);
        self.records = Records::new(Arc::clone(&self.below));
        self.head = None;
        Ok(())
    }

    /// The layout of the destination, or of the one that its first run is going to make.
    pub fn layout(&self) -> Layout {
        self.head.as_ref().map_or(self.wanted.unwrap_or_default(), |head| head.format.layout)
    }

    /// Says which layout the caller wants, and how a new destination is to be sealed. [`Self::layout_fits`] compares it
    /// with a destination that exists.
    pub fn want(&mut self, layout: Option<Layout>, seal: Option<SealWish>) {
        self.wanted = if seal.is_some() { Some(Layout::Packed) } else { layout };
        self.seal = seal;
        self.settle_layout();
    }

    /// How a new destination is to be sealed.
    pub fn seal_wish(&self) -> Option<&SealWish> {
        self.seal.as_ref()
    }

    /// Checks that the destination has the layout that the caller wants.
    ///
    /// # Errors
    /// [`Error::Usage`] if it has another one.
    pub fn layout_fits(&self) -> Result<()> {
        if let Some(wish) = self.seal.as_ref().filter(|_| self.head.is_none()) {
            enough(wish)?;
        }
        if self.seal.is_some() && self.head.as_ref().is_some_and(|head| !head.format.sealed) {
            return Err(Error::Usage(format!(
                "{}: this destination exists and is not sealed; nothing was sent; begin a new one beside it",
                self.backend.location()
            )));
        }
        let Some(wanted) = self.wanted.filter(|wanted| *wanted != self.layout()) else { return Ok(()) };
        let (url, there) = (self.backend.location(), self.layout());
        Err(Error::Usage(format!(
            "{url}: this destination is {}, not {}; the layout of a destination never changes, so begin a new one beside it",
            there.name(),
            wanted.name()
        )))
    }

    /// Checks that a destination that was sealed still is, and is the same one. Otherwise what is written next would lie
    /// there in the clear.
    pub(super) fn not_downgraded(&self, format: &Format) -> Result<()> {
        let known = self.head.as_ref().map(|head| &head.format).filter(|known| known.sealed);
        let was_sealed = known.is_some() || self.records.keys().is_some();
        if was_sealed && (!format.sealed || known.is_some_and(|known| known.id != format.id)) {
            return Err(no_longer_sealed(&self.records));
        }
        Ok(())
    }

    /// Checks that the newest snapshot of a sealed destination follows the one that this machine remembers. A store that
    /// hides newer snapshots, or offers another history, is noticed here.
    ///
    /// # Errors
    /// [`Error::Refused`] if it does not follow.
    pub fn not_rolled_back(&self, newest: &Snapshot, hash: &Hash) -> Result<()> {
        let sealed = self.head.as_ref().is_some_and(|head| head.format.sealed);
        match self.remembered().filter(|_| sealed) {
            Some(seen) => seen.check(&self.backend.location().to_string(), newest, hash),
            None => Ok(()),
        }
    }

    /// The newest snapshot that this machine has seen, if the destination is packed: a mirror may be copied, moved and put
    /// back by its owner.
    pub(super) fn remembered(&self) -> Option<Remembered> {
        let head = self.head.as_ref().filter(|head| !head.format.layout.is_mirror())?;
        let (snapshot, hash) = head.snapshot.as_ref()?;
        let etag = head.list.last().filter(|last| last.number == snapshot.number).and_then(|last| last.etag.clone());
        Some(Remembered { number: snapshot.number, hash: *hash, etag, file: self.dir.join("head.json") })
    }
}

fn no_longer_sealed(records: &Records) -> Error {
    let url = records.url(Format::KEY);
    Error::damaged(url, "it is not that of the sealed destination which this machine knows; nothing was written")
}
