//! A path of a manifest as a user names it.
//!
//! Owns that `docs` and `docs/` are the same: the entry of that name, of any kind, and everything below it if it is a
//! directory. It knows which pages can hold these, from the first path of a page and of the next one.

use std::ops::ControlFlow;

use crate::error::Result;
use crate::manifest::PageSource;
use crate::model::{Entry, PageRef, RelPath, Snapshot};

/// A place in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntrySpot {
    /// Without a slash; empty for the top.
    bare: Vec<u8>,
    /// As a directory, with its slash; empty for the top.
    dir: Vec<u8>,
    /// The first path after everything below the directory; none for the top.
    after: Option<Vec<u8>>,
}

impl EntrySpot {
    /// From the text of a user, without a slash at the end and `./` at the start.
    pub fn new(text: &str) -> Self {
        let bare = text.trim_end_matches('/');
        let bare = bare.strip_prefix("./").unwrap_or(bare);
        if bare.is_empty() || bare == "." {
            return Self { bare: Vec::new(), dir: Vec::new(), after: None };
        }
        let with = |end: u8| [bare.as_bytes(), &[end]].concat();
        Self { bare: bare.into(), dir: with(b'/'), after: Some(with(b'/' + 1)) }
    }

    /// Whether it is the top of the tree, which has no entry.
    pub fn is_top(&self) -> bool {
        self.bare.is_empty()
    }

    /// Whether `path` is its own entry.
    pub fn is(&self, path: &RelPath) -> bool {
        !self.is_top() && path.bare() == self.bare
    }

    /// The same for the bytes of a path.
    pub fn is_path(&self, path: &[u8]) -> bool {
        !self.is_top() && path.strip_suffix(b"/").unwrap_or(path) == self.bare
    }

    /// The rest of a path below it: empty for the directory itself, none for a path outside of it.
    pub fn below<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        path.strip_prefix(&self.dir[..])
    }

    /// The child that contains or is a path below it, with a slash if it is a directory.
    pub fn child<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let rest = self.below(path).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|b| *b == b'/').map_or(rest.len(), |slash| slash + 1);
        Some(&path[..path.len() - rest.len() + length])
    }

    /// Whether a page from `first` up to `end` can hold its own entry.
    pub fn own_page(&self, first: &[u8], end: Option<&[u8]>) -> bool {
        let holds = |path: &[u8]| first <= path && end.is_none_or(|end| path < end);
        holds(&self.bare) || holds(&self.dir)
    }

    /// Whether a page from `first` up to `end` can hold its own entry or one below it.
    pub fn any_page(&self, first: &[u8], end: Option<&[u8]>) -> bool {
        let starts_before_its_end = self.after.as_ref().is_none_or(|after| first < after.as_slice());
        let ends_after_its_start = end.is_none_or(|end| end > self.dir.as_slice());
        starts_before_its_end && ends_after_its_start || self.own_page(first, end)
    }
}

/// The pages that can hold the entry of a spot.
pub async fn own_pages(source: &PageSource, snapshot: &Snapshot, spot: &EntrySpot) -> Result<Vec<PageRef>> {
    let (leaves, _, lost) = source.leaves(snapshot, |first, end| spot.own_page(first, end)).await?;
    match lost.into_iter().next() {
        Some(lost) => Err(lost.error),
        None => Ok(leaves),
    }
}

/// The entry of a spot, from the pages that can hold it.
pub async fn find(source: &PageSource, leaves: Vec<PageRef>, spot: &EntrySpot) -> Result<Option<Entry>> {
    let mut found = None;
    source
        .read(leaves, |leaf| {
            found = leaf.map_err(|lost| lost.error)?.entries.into_iter().find(|entry| spot.is(&entry.path));
            Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_makes_no_difference() {
        assert_eq!(EntrySpot::new("docs"), EntrySpot::new("docs/"));
        assert_eq!(EntrySpot::new("./docs"), EntrySpot::new("docs"));
        for top in ["", "/", ".", "./"] {
            assert!(EntrySpot::new(top).is_top(), "{top:?}");
        }
        assert!(EntrySpot::new("docs").is(&"docs/".into()) && EntrySpot::new("docs").is(&"docs".into()));
        assert!(!EntrySpot::new("docs").is(&"docs2".into()));
    }

    #[test]
    fn children() {
        let spot = EntrySpot::new("a");
        assert_eq!(spot.child(b"a/b"), Some(&b"a/b"[..]));
        assert_eq!(spot.child(b"a/b/c/d"), Some(&b"a/b/"[..]));
        assert_eq!(spot.child(b"a/"), None);
        assert_eq!(spot.child(b"ab/c"), None);
        assert_eq!(EntrySpot::new("").child(b"x/y"), Some(&b"x/"[..]));
    }

    #[test]
    fn pages() {
        let spot = EntrySpot::new("b");
        // "b" itself sorts before "b-x", and paths below it sort after that.
        assert!(spot.own_page(b"a", Some(b"b-x")));
        assert!(spot.own_page(b"b-x", Some(b"b/x")));
        assert!(!spot.own_page(b"b-a", Some(b"b-x")));
        assert!(!spot.any_page(b"b-a", Some(b"b-x")));
        assert!(spot.any_page(b"b/c", Some(b"b/d")));
        assert!(spot.any_page(b"b/c", None));
        assert!(!spot.any_page(b"b0", None));
        assert!(!spot.any_page(b"a", Some(b"b")));
        assert!(EntrySpot::new("").any_page(b"zzz", None));
    }
}
