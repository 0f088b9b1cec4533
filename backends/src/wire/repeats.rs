//! Listings that repeat themselves and would never end.
//!
//! Owns the two guards against them. [`RepeatedPages`] sees the pages of a listing that is read here; [`RepeatedRequests`] sees only the
//! requests of one that a library reads to its end. Invariant: no honest listing is stopped. Retries, empty pages on
//! the way, and two listings of one prefix at a time are no circles.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

/// Number of pages in a row that may be empty: some stores answer while they still search.
const EMPTY: u32 = 1000;
/// Number of times that one page of a listing may be requested: retries, and concurrent listings of the same prefix.
const ASKED: u32 = 24;
/// Most pages of one listing that a library reads.
const PAGES: u32 = 100_000;
/// Number of listings that are remembered. Nothing tells when a listing has ended.
const LISTINGS: usize = 1000;

/// The error for such a listing.
pub(crate) const CIRCLE: &str = "the server's listing repeats itself: it brings nothing new and says there is more";

/// The pages of one listing so far. Memory grows by some bytes a page.
#[derive(Default)]
pub(crate) struct RepeatedPages {
    seen: HashSet<u64>,
    empty: u32,
    hasher: RandomState,
}

impl RepeatedPages {
    /// Notes a page: its first item, and the token of the next page. Fails if the page brings nothing new.
    pub(crate) fn page(&mut self, first: Option<impl Hash>, next: Option<impl Hash>) -> Result<(), &'static str> {
        let Some(next) = next else { return Ok(()) };
        self.empty = if first.is_some() { 0 } else { self.empty + 1 };
        let fresh_place = self.seen.insert(self.hasher.hash_one((0, next)));
        let fresh_page = first.is_none_or(|first| self.seen.insert(self.hasher.hash_one((1, first))));
        if fresh_place && fresh_page && self.empty <= EMPTY { Ok(()) } else { Err(CIRCLE) }
    }
}

/// The listings that libraries read, by their queries.
#[derive(Debug, Default)]
pub(crate) struct RepeatedRequests {
    listings: Mutex<HashMap<u64, Listing>>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Listing {
    pages: u32,
    asked: HashMap<u64, u32>,
}

impl RepeatedRequests {
    /// Notes a request. Fails if it continues a listing that brings nothing new.
    pub(crate) fn ask(&self, path: &str, query: Option<&str>) -> Result<(), &'static str> {
        let Some(query) = query else { return Ok(()) };
        let (places, what): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| is_place(pair));
        let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        let which = self.hasher.hash_one((path, what));
        if places.iter().all(|pair| pair.ends_with('=')) {
            // The first page of a listing.
            listings.remove(&which);
            return Ok(());
        }
        if listings.len() >= LISTINGS {
            listings.clear();
        }
        let listing = listings.entry(which).or_default();
        listing.pages += 1;
        let asked = listing.asked.entry(self.hasher.hash_one(places)).or_default();
        *asked += 1;
        if *asked > ASKED || listing.pages > PAGES { Err(CIRCLE) } else { Ok(()) }
    }
}

/// Whether a pair of a query says where a listing continues.
fn is_place(pair: &str) -> bool {
    const NAMES: [&str; 7] =
        ["continuation-token", "marker", "key-marker", "upload-id-marker", "version-id-marker", "pageToken", "%24skiptoken"];
    pair.split_once('=').is_some_and(|(name, _)| NAMES.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_bring_nothing_new_are_a_circle() {
        let none = None::<&str>;
        let mut same = RepeatedPages::default();
        assert!(same.page(Some("a"), Some("t")).is_ok());
        assert!(same.page(Some("b"), Some("t")).is_err(), "the same place");
        let mut turns = RepeatedPages::default();
        assert!(turns.page(Some("a"), Some("1")).is_ok() && turns.page(Some("b"), Some("2")).is_ok());
        assert!(turns.page(Some("c"), Some("1")).is_err(), "two places in turn");
        let mut fresh = RepeatedPages::default();
        assert!(fresh.page(Some("a"), Some("1")).is_ok());
        assert!(fresh.page(Some("a"), Some("2")).is_err(), "the same page under another place");
        let mut empty = RepeatedPages::default();
        let pages = (0..5000).position(|n| empty.page(none, Some(n)).is_err());
        assert_eq!(pages, Some(EMPTY as usize));
        let mut honest = RepeatedPages::default();
        assert!((0..5000).all(|n| honest.page(Some(n), Some(n + 1)).is_ok() && honest.page(none, Some((n, 'x'))).is_ok()));
        assert!(honest.page(Some(0), none).is_ok(), "the last page has no next one");
    }

    #[test]
    fn requests_that_come_back_are_a_circle() {
        let ask = |circles: &RepeatedRequests, query: &str| circles.ask("/b", Some(query));
        let circles = RepeatedRequests::default();
        let pages = (0..1000).position(|_| ask(&circles, "list-type=2&prefix=a&continuation-token=same").is_err());
        assert_eq!(pages, Some(ASKED as usize));
        let circles = RepeatedRequests::default();
        assert!((0..1000).any(|n| ask(&circles, &format!("prefix=a&marker={}", n % 2)).is_err()), "two in turn");
        let circles = RepeatedRequests::default();
        for _ in 0..1000 {
            // A listing that is read repeatedly, and requests that are no listing.
            for query in ["prefix=a&marker=", "prefix=a&marker=1", "prefix=a&marker=2", "versionId=1", "prefix=b&marker=1&x"] {
                let fine = ask(&circles, query).is_ok();
                assert!(fine || query == "prefix=b&marker=1&x", "{query}");
            }
        }
        assert!(circles.ask("/b/key", None).is_ok());
    }
}
