//! The keys of page objects that a snapshot of a sealed destination has.
//!
//! Owns which of them a writer notes, and that a reader uses them: an object whose key is known needs no request for its
//! header. Invariant: a snapshot has keys only of objects that are sealed to the same key as itself, so that a recipient of
//! a rotation alone does not get older ones.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use super::records::{Records, object_path};
use super::sealed_store::{KEYS, sealed_path};
use crate::model::{Hash, PageKeys, Snapshot};
use crate::seal::PayloadKey;

impl Records {
    /// The keys of these page objects, as far as they are known: those that this run wrote, and those of the snapshot
    /// before. `None` if the destination is not sealed, or if none is known.
    pub fn page_keys(&self, objects: &[Hash], before: Option<&PageKeys>) -> Option<PageKeys> {
        let (names, (_, written)) = (Hash::of(&self.naming_key()?), self.opened.as_ref()?);
        let opened = written.lock().unwrap_or_else(PoisonError::into_inner);
        let before = before.filter(|before| before.names == names).map_or(&[][..], |before| &before.keys);
        let key = |object: &Hash| {
            let written = object_path(Self::pages_object_key(object).as_bytes()).ok().and_then(|path| opened.get(&sealed_path(&path)));
            let known = before.iter().find(|(known, _)| known == object).map(|(_, key)| *key);
            Some((*object, written.map(|key| Hash(*key.as_bytes())).or(known)?))
        };
        let keys: Vec<(Hash, Hash)> = objects.iter().filter_map(key).collect();
        (!keys.is_empty()).then_some(PageKeys { names, keys })
    }

    /// Reads the header of each page object from now on, so that a damaged one is noticed: `age` needs it.
    pub fn read_headers(&self) {
        self.reads_headers.store(true, Relaxed);
        if let Some((known, _)) = &self.opened {
            known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// Uses the keys that a snapshot has.
    pub(super) fn learn(&self, snapshot: &Snapshot) {
        let (Some((known, _)), Some(opens)) = (&self.opened, &snapshot.opens) else { return };
        if self.reads_headers.load(Relaxed) {
            return;
        }
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        for (object, key) in &opens.keys {
            let Ok(path) = object_path(Self::pages_object_key(object).as_bytes()) else { continue };
            if known.len() < KEYS {
                known.entry(sealed_path(&path)).or_insert_with(|| PayloadKey::new(key.0));
            }
        }
    }
}
