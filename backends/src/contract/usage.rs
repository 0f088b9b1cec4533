//! The sums of a listing: objects and bytes, by state, by storage class, by name.
//!
//! Owns the sums ([`Usage`]) and the one pass over a listing that continues without what a server or the credentials'
//! rights hide ([`survey`]). The caller decides which objects are offsite's own. Invariants: memory does not grow with
//! the number of objects; what could not be listed is in [`Gaps`], never counted as none; a listing that breaks off is
//! an error, never a smaller figure.

use std::collections::BTreeMap;

use futures::TryStreamExt;

use crate::contract::backend::Backend;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::listing::{Depth, Listed, Scope, State};

/// A number of objects and their size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Number of objects.
    pub objects: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

impl Sum {
    /// Adds one object of so many bytes.
    pub fn add(&mut self, bytes: u64) {
        self.join(Self { objects: 1, bytes });
    }

    /// Adds all objects of another sum. Both figures saturate.
    pub fn join(&mut self, other: Self) {
        self.objects = self.objects.saturating_add(other.objects);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    /// The rest after a part is subtracted; never below zero.
    #[must_use]
    pub fn without(self, part: Self) -> Self {
        Self { objects: self.objects.saturating_sub(part.objects), bytes: self.bytes.saturating_sub(part.bytes) }
    }
}

/// What takes up space at a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// What a reader sees, offsite's own objects included.
    pub current: Sum,
    /// Versions that were replaced or deleted.
    pub old: Sum,
    /// Number of delete markers.
    pub markers: u64,
    /// Uploads that have not ended, with their bytes as far as the listing has them.
    pub unfinished: Sum,
    /// Of the current ones: offsite's own records.
    pub records: Sum,
    /// Of the current ones: kept contents, which were replaced or deleted.
    pub kept: Sum,
    /// Current and old ones by storage class, as far as the listing has it.
    pub classes: BTreeMap<String, Sum>,
    /// Current ones by a name that the caller chooses.
    pub names: Names,
}

impl Usage {
    /// Adds one item to the sums of its state and class.
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

    /// Adds the sums of another usage, except `records`, `kept` and `names`.
    pub fn join(&mut self, other: &Self) {
        self.current.join(other.current);
        self.old.join(other.old);
        self.markers += other.markers;
        self.unfinished.join(other.unfinished);
        for (class, sum) in &other.classes {
            self.classes.entry(class.clone()).or_default().join(*sum);
        }
    }

    /// Bytes that a store bills: current, old and unfinished ones.
    pub fn bytes(&self) -> u64 {
        self.current.bytes.saturating_add(self.old.bytes).saturating_add(self.unfinished.bytes)
    }

    /// Whether there is no object, version, marker or upload at all.
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
    /// Number of names that have a sum of their own at the end.
    pub const MOST: usize = 1000;

    /// Adds a sum to that of a name.
    pub fn add(&mut self, name: &[u8], sum: Sum) {
        if let Some(there) = self.named.get_mut(name) {
            return there.join(sum);
        }
        self.named.insert(name.to_vec(), sum);
        if self.named.len() >= 2 * Self::MOST {
            self.cut();
        }
    }

    /// The largest sums by bytes, in the order of their names, and the sum of all others.
    pub fn largest(mut self) -> (BTreeMap<Vec<u8>, Sum>, Sum) {
        self.cut();
        (self.named, self.others)
    }

    /// Adds all names of another value.
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

/// What a survey could not see, and why; `None` if it saw everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Old versions and delete markers.
    pub versions: Option<String>,
    /// Unfinished uploads.
    pub uploads: Option<String>,
}

/// Beginning of the message of an error at the end of a listing that lacks only unfinished uploads.
pub const NO_UPLOADS: &str = "unfinished uploads cannot be listed";

/// Hands each item of the listing to `take`, in the order of the store. If the server has no listing of versions or
/// uploads, or the credentials may not use it, the survey continues without and says so. Costs what the listings cost,
/// and one request more if one was refused.
///
/// # Errors
/// Errors of the listing of current objects, any error in the middle of a listing, and those of `take`.
///
/// # Examples
///
/// ```
/// use offsite_backends::usage::survey;
/// use offsite_backends::{Gaps, Scope, Usage};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # std::fs::write(dir.path().join("index.html"), "hello")?;
/// # std::fs::write(dir.path().join("robots.txt"), "")?;
/// let backend = offsite_backends::open(&dir.path().display().to_string()).await?;
/// let mut usage = Usage::default();
/// let gaps = survey(backend.as_ref(), Scope::Prefix, |listed| {
///     usage.add(listed);
///     Ok(())
/// })
/// .await?;
/// assert_eq!((usage.current.objects, usage.bytes(), gaps), (2, 5, Gaps::default()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
