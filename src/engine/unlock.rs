//! The layout and the seal of a destination: what the caller wants, what is there, and the keys that open it.
//!
//! Owns the checks that a sealed destination is the one that this machine knows. Invariant: nothing is written to a
//! destination that was sealed and does not say so any more.

use std::sync::Arc;

use super::destination::{Destination, Head};
use super::keys::files::open_key_files;
use super::keys::ring::KeyRing;
use super::keys::wish::{SealWish, enough};
use crate::error::{Error, Result};
use crate::manifest::{Format, Records};
use crate::model::{Hash, Layout, Snapshot};
use crate::seal::SealKeys;

impl Destination {
    /// Unlocks a sealed destination: with the identities of the user, or else with the writer key of this machine. Sends
    /// no request if this machine knows that the destination is not sealed, or if there is no key at all.
    ///
    /// # Errors
    /// [`Error::Usage`] if the destination is sealed and no key opens it.
    pub async fn unlock(&mut self, keys: &KeyRing) -> Result<()> {
        let format = match &self.head {
            Some(head) => Some(head.format.clone()),
            None if keys.is_empty() => None,
            None => self.records.format().await?,
        };
        let Some(format) = format else { return Ok(()) };
        let url = self.backend.location().to_string();
        // Only for a sealed destination is there a writer key. It decides, and not what the destination says of itself.
        let writer = if format.sealed || self.head.is_none() { keys.writer(&url, &format.id)? } else { None };
        if !format.sealed {
            return match writer {
                Some(_) => Err(no_longer_sealed(&self.records)),
                None => Ok(()),
            };
        }
        let written = writer.as_ref().map(SealKeys::of_writer);
        self.writes = written.is_some();
        let found = match keys.identities.is_empty() {
            false => {
                let opened = SealKeys::of_sets(&open_key_files(&self.backend, &format.id, keys).await?);
                // Anyone who may write there can add a key file. So what this machine seals, it seals to its writer key.
                match (opened, written) {
                    (Some(opened), Some(written)) => Some(SealKeys { contents: opened.contents, ..written }),
                    (opened, _) => opened,
                }
            }
            true => written,
        };
        let none = || {
            Error::Usage(format!(
                "{url}: this destination is sealed, and this machine has no key for it; give --identity FILE to read it, or keep a \
                 writer key here (`offsite key writer`)"
            ))
        };
        self.install(found.ok_or_else(none)?, format.id);
        Ok(())
    }

    /// Uses these keys from now on. `id` is that of the destination.
    pub fn install(&mut self, keys: SealKeys, id: String) {
        self.below.use_objects_only();
        self.records = Records::sealed(Arc::clone(&self.below), Arc::new(keys), id);
        self.backend = Arc::clone(self.records.backend());
    }

    /// Checks that this machine may seal contents: it has the writer key of a sealed destination. The key files there do
    /// not suffice, because anyone who may write to the destination can add one.
    ///
    /// # Errors
    /// [`Error::Usage`] if the destination is sealed and this machine has no writer key for it.
    pub fn may_write(&self) -> Result<()> {
        if self.records.keys().is_none() || self.writes {
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
        let Some(Head { format, snapshot: Some((known, known_hash)), .. }) = &self.head else { return Ok(()) };
        let follows = match newest.number.cmp(&known.number) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => hash == known_hash,
            std::cmp::Ordering::Greater => match newest.trail.iter().find(|(number, _)| *number == known.number) {
                Some((_, named)) => named == known_hash,
                // The trail is full and begins later: it says nothing about that snapshot.
                None => newest.trail.first().is_some_and(|(first, _)| *first > known.number),
            },
        };
        if !format.sealed || follows {
            return Ok(());
        }
        Err(Error::Refused(vec![format!(
            "{}: its newest snapshot {} does not follow snapshot {}, which this machine has seen; the store may offer an older state; \
             if you went back to that state yourself, delete {} and run again",
            self.backend.location(),
            newest.number,
            known.number,
            self.dir.join("head.json").display()
        )]))
    }
}

fn no_longer_sealed(records: &Records) -> Error {
    let url = records.url(Format::KEY);
    Error::damaged(url, "it is not that of the sealed destination which this machine knows; nothing was written")
}
