//! What a listing adds up to: objects and bytes, by state, by storage class, by name.
//!
//! Owns the sums ([`Usage`]) and the one pass over a listing that goes on without what a server or a
//! key's rights keep back ([`survey`]). Which objects are offsite's own is the caller's to say.
//! Invariants: memory does not grow with the number of objects; what could not be listed is said in
//! [`Gaps`], never counted as none; a listing that breaks off is an error, never a smaller figure.

use std::collections::BTreeMap;

use futures::TryStreamExt;

use crate::contract::backend::Backend;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::listing::{Depth, Listed, Scope, State};

/// Objects and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    pub objects: u64,
    pub bytes: u64,
}

impl Sum {
    pub fn add(&mut self, bytes: u64) {
        self.join(Self { objects: 1, bytes });
    }

    pub fn join(&mut self, other: Self) {
        self.objects = self.objects.saturating_add(other.objects);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    /// What is left without a part of it.
    #[must_use]
    pub fn without(self, part: Self) -> Self {
        Self { objects: self.objects.saturating_sub(part.objects), bytes: self.bytes.saturating_sub(part.bytes) }
    }
}

/// What takes up room at a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// What a reader sees, offsite's own objects included.
    pub current: Sum,
    /// Versions that were replaced or removed.
    pub old: Sum,
    /// Delete markers.
    pub markers: u64,
    /// Uploads that have not ended; their bytes as far as the listing says them.
    pub unfinished: Sum,
    /// Of the current ones: what offsite writes down for itself.
    pub records: Sum,
    /// Of the current ones: contents that were replaced or removed and are kept as objects.
    pub kept: Sum,
    /// Current and old ones by storage class, where the listing says it.
    pub classes: BTreeMap<String, Sum>,
    /// Current ones by a name that the caller chooses.
    pub names: Names,
}

impl Usage {
    /// Adds one thing to the sums of its state and class.
    pub fn add(&mut self, listed: &Listed) {
        match listed.state {
            State::Current => self.current.add(listed.size),
            State::Old => self.old.add(listed.size),
            State::Marker => self.markers += 1,
            State::Unfinished => self.unfinished.add(listed.size),
        }
        if let (Some(class), State::Current | State::Old) = (&listed.class, listed.state) {
            match self.classes.get_mut(class) {
                Some(sum) => sum.add(listed.size),
                None => drop(self.classes.insert(class.clone(), Sum { objects: 1, bytes: listed.size })),
            }
        }
    }

    /// Adds everything of another place but its names, and what is offsite's own there.
    pub fn join(&mut self, other: &Self) {
        self.current.join(other.current);
        self.old.join(other.old);
        self.markers += other.markers;
        self.unfinished.join(other.unfinished);
        for (class, sum) in &other.classes {
            self.classes.entry(class.clone()).or_default().join(*sum);
        }
    }

    /// Bytes that a store bills.
    pub fn bytes(&self) -> u64 {
        self.current.bytes.saturating_add(self.old.bytes).saturating_add(self.unfinished.bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.current.objects + self.old.objects + self.markers + self.unfinished.objects == 0
    }
}

/// Sums by name: the largest [`Names::MOST`] of them, and all others as one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    named: BTreeMap<Vec<u8>, Sum>,
    others: Sum,
}

impl Names {
    /// So many names have a sum of their own at the end.
    pub const MOST: usize = 1000;

    pub fn add(&mut self, name: &[u8], sum: Sum) {
        if let Some(there) = self.named.get_mut(name) {
            return there.join(sum);
        }
        self.named.insert(name.to_vec(), sum);
        if self.named.len() >= 2 * Self::MOST {
            self.cut();
        }
    }

    /// The largest by bytes, in the order of their names, and the sum of all others.
    pub fn largest(mut self) -> (BTreeMap<Vec<u8>, Sum>, Sum) {
        self.cut();
        (self.named, self.others)
    }

    /// Adds all of another place.
    pub fn join(&mut self, other: &Self) {
        other.named.iter().for_each(|(name, sum)| self.add(name, *sum));
        self.others.join(other.others);
    }

    fn cut(&mut self) {
        if self.named.len() <= Self::MOST {
            return;
        }
        let mut all: Vec<(Vec<u8>, Sum)> = std::mem::take(&mut self.named).into_iter().collect();
        all.sort_by(|(a, x), (b, y)| (y.bytes, y.objects).cmp(&(x.bytes, x.objects)).then(a.cmp(b)));
        all.split_off(Self::MOST).into_iter().for_each(|(_, sum)| self.others.join(sum));
        self.named = all.into_iter().collect();
    }
}

/// What a survey could not see, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Old versions and delete markers.
    pub versions: Option<String>,
    /// Unfinished uploads.
    pub uploads: Option<String>,
}

/// How the message begins of an error at the end of a listing that lacks nothing but unfinished uploads.
pub const NO_UPLOADS: &str = "unfinished uploads cannot be listed";

/// Hands everything that lies there to `take`, in the order in which the store lists it. Where the
/// server has no listing of versions or of uploads, or the key may not ask for them, goes on without
/// and says so. Costs what the listings cost, and one request more where one was refused.
///
/// # Errors
/// Those of the listing of what a reader sees, and any that comes in the middle; `take`'s own.
pub async fn survey(backend: &dyn Backend, scope: Scope, mut take: impl FnMut(&Listed) -> Result<()> + Send) -> Result<Gaps> {
    let refused = |error: &Error| matches!(error.kind, ErrorKind::Unsupported | ErrorKind::Denied);
    let mut everything = backend.list(scope, Depth::Everything);
    let mut begun = false;
    loop {
        match everything.try_next().await {
            Ok(None) => return Ok(Gaps::default()),
            Ok(Some(listed)) => take(&listed)?,
            Err(error) if refused(&error) && error.message.starts_with(NO_UPLOADS) => {
                return Ok(Gaps { versions: None, uploads: Some(error.message) });
            }
            Err(error) if refused(&error) && !begun => {
                let mut current = backend.list(scope, Depth::Current);
                while let Some(listed) = current.try_next().await? {
                    take(&listed)?;
                }
                return Ok(Gaps { versions: Some(error.message.clone()), uploads: Some(error.message) });
            }
            Err(error) => return Err(error),
        }
        begun = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_few_and_their_sum_is_whole() {
        let mut names = Names::default();
        for i in 0..10_000_u64 {
            names.add(format!("{i:05}").as_bytes(), Sum { objects: 1, bytes: i });
        }
        assert!(names.named.len() < 2 * Names::MOST);
        let (largest, others) = names.largest();
        assert_eq!((largest.len(), others.objects), (Names::MOST, 9000));
        assert_eq!(others.bytes + largest.values().map(|sum| sum.bytes).sum::<u64>(), 9999 * 10_000 / 2);
        assert!(largest.contains_key(&b"09999"[..]) && largest.contains_key(&b"09000"[..]));
    }
}
