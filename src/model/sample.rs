//! The first elements of a list, and the length of the list.
//!
//! Owns lists that records and documents show to people. They stay short whatever happens, and a total gives the full
//! length. The whole list of a snapshot is in pages of its own. Reading a longer list keeps no more of it than this.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use super::bounds;
use super::path::RelPath;
use super::problem::Problem;

/// An element whose size counts against the bound of a sample.
pub trait Weight {
    /// Bytes of its texts.
    fn weight(&self) -> usize;
}

impl Weight for RelPath {
    fn weight(&self) -> usize {
        self.as_bytes().len()
    }
}

impl Weight for Problem {
    fn weight(&self) -> usize {
        self.path.as_bytes().len() + self.problem.len()
    }
}

/// The first elements of a list: at most [`bounds::SAMPLE`] elements with at most [`bounds::SAMPLE_BYTES`] bytes. In
/// JSON it is an array.
///
/// # Examples
///
/// ```
/// use offsite::model::{RelPath, Sample, bounds};
///
/// let mut sample: Sample<RelPath> = (0..5_000).map(|n| RelPath::from(format!("log/{n}").as_str())).collect();
/// sample.push(RelPath::from("log/last"));
/// assert_eq!((sample.first().len(), sample.total()), (bounds::SAMPLE, 5_001));
/// assert_eq!(sample.cut(), Some(5_001));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample<T> {
    first: Vec<T>,
    total: u64,
    bytes: usize,
}

impl<T> Default for Sample<T> {
    fn default() -> Self {
        Self { first: Vec::new(), total: 0, bytes: 0 }
    }
}

impl<T> Sample<T> {
    /// The elements that are kept, in order.
    pub fn first(&self) -> &[T] {
        &self.first
    }

    /// Number of elements of the whole list.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether the whole list is empty.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Whether no element is kept.
    pub fn names_none(&self) -> bool {
        self.first.is_empty()
    }

    /// The total, if the list is cut short.
    pub fn cut(&self) -> Option<u64> {
        (self.total > self.first.len() as u64).then_some(self.total)
    }

    /// Raises the total to at least this number.
    pub fn at_least(&mut self, total: u64) {
        self.total = self.total.max(total);
    }
}

impl<T: Weight> Sample<T> {
    /// Whether one more element could be kept.
    fn has_room(&self) -> bool {
        self.first.len() < bounds::SAMPLE && self.bytes < bounds::SAMPLE_BYTES && self.total == self.first.len() as u64
    }

    /// Counts an element, and keeps it if it fits.
    pub fn push(&mut self, value: T) {
        let weight = value.weight();
        if self.has_room() && self.bytes.saturating_add(weight) <= bounds::SAMPLE_BYTES {
            self.bytes += weight;
            self.first.push(value);
        }
        self.total += 1;
    }
}

impl<T: Weight> Sample<T> {
    /// Appends another sample. The totals add up.
    pub fn absorb(&mut self, other: Self) {
        let total = self.total.saturating_add(other.total);
        other.first.into_iter().for_each(|value| self.push(value));
        self.at_least(total);
    }
}

impl<T: Weight> Extend<T> for Sample<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        values.into_iter().for_each(|value| self.push(value));
    }
}

impl<T: Weight> FromIterator<T> for Sample<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut sample = Self::default();
        sample.extend(values);
        sample
    }
}

impl<T: Weight + Clone> Sample<T> {
    /// The sample of a complete list.
    pub fn of(list: &[T]) -> Self {
        let mut sample = Self::default();
        for value in list {
            if !sample.has_room() {
                break;
            }
            sample.push(value.clone());
        }
        sample.at_least(list.len() as u64);
        sample
    }
}

impl<T: Serialize> Serialize for Sample<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.first.serialize(s)
    }
}

impl<'de, T: Deserialize<'de> + Weight> Deserialize<'de> for Sample<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<fn() -> T>);
        impl<'de, T: Deserialize<'de> + Weight> Visitor<'de> for Elements<T> {
            type Value = Sample<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Sample<T>, A::Error> {
                let mut sample = Sample::default();
                while sample.has_room() {
                    let Some(value) = seq.next_element()? else { return Ok(sample) };
                    sample.push(value);
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    sample.total += 1;
                }
                Ok(sample)
            }
        }
        d.deserialize_seq(Elements(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(path: &str) -> Problem {
        Problem { path: path.into(), problem: "denied".into() }
    }

    #[test]
    fn a_million_are_a_thousand_and_a_number() {
        let all: Vec<Problem> = (0..1_000_000).map(|i| problem(&format!("d/{i}"))).collect();
        let sample = Sample::of(&all);
        assert_eq!((sample.first().len(), sample.total(), sample.cut()), (bounds::SAMPLE, 1_000_000, Some(1_000_000)));
        // A whole list that an older offsite wrote is read to the same sample.
        let read: Sample<Problem> = serde_json::from_slice(&serde_json::to_vec(&all).unwrap()).unwrap();
        assert_eq!(read, sample);
    }

    #[test]
    fn long_texts_fill_it_sooner() {
        let mut sample = Sample::default();
        for _ in 0..100 {
            sample.push(RelPath::from(&vec![b'\x01'; 32 << 10][..]));
        }
        assert!(sample.first().len() <= 32, "{}", sample.first().len());
        assert_eq!(sample.total(), 100);
        assert!(serde_json::to_vec(&sample).unwrap().len() < 8 << 20);
    }

    #[test]
    fn a_short_list_is_whole() {
        let sample = Sample::of(&[problem("a"), problem("b")]);
        assert_eq!((sample.cut(), serde_json::to_string(&sample).unwrap().matches("path").count()), (None, 2));
    }
}
