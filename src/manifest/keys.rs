//! Which key a path has at a destination.
//!
//! Owns the rule: a name is its own key wherever the store keeps such a key, any other path lies under
//! `.offsite/odd/<BLAKE3 of the path>`. Kept versions lie under `.offsite/kept/<since>/<key>`.
//! Keys are relative to the destination's prefix and depend on nothing but path and rules.

use object_store::path::Path;

pub use crate::model::KeyRules;
use crate::model::{Content, Entry, Hash};

/// What offsite keeps for itself.
pub const OWN: &[u8] = b".offsite";

impl KeyRules {
    /// For a real directory tree.
    pub fn any() -> Self {
        Self { any_name: true, max_key: usize::MAX, max_segment: usize::MAX, changed: String::new(), trims: false, edges: false }
    }

    fn fits(&self, key: &[u8]) -> bool {
        if self.any_name {
            return true;
        }
        let Ok(text) = std::str::from_utf8(key) else { return false };
        text.len() <= self.max_key
            && text.split('/').all(|part| part.len() <= self.max_segment && !(self.trims && trimmed(part) || self.edges && edged(part)))
            && !text.chars().any(|c| self.changed.contains(c))
            && Path::parse(text).is_ok_and(|path| path.as_ref() == text)
    }

    /// The key of a file's current content; `None` means the path itself.
    pub fn odd_key(&self, path: &[u8]) -> Option<String> {
        let own = path == OWN || path.starts_with(b".offsite/");
        (own || !self.fits(path)).then(|| format!(".offsite/odd/{}", Hash::of(path)))
    }

    /// Where a content goes when it is replaced or removed.
    pub fn kept_key(&self, path: &[u8], content: &Content) -> Vec<u8> {
        let prefix = format!(".offsite/kept/{:012}/", content.since);
        let key = [prefix.as_bytes(), content.key.as_ref().map_or(path, |k| k.as_bytes())].concat();
        if self.fits(&key) { key } else { format!("{prefix}.offsite/odd/{}", Hash::of(path)).into_bytes() }
    }

    /// Where the content of an entry lies while it is current.
    pub fn current_key(entry: &Entry) -> Vec<u8> {
        match entry.content.as_ref().and_then(|c| c.key.as_ref()) {
            Some(key) => key.clone().into_bytes(),
            None => entry.path.bare().to_vec(),
        }
    }
}

fn trimmed(part: &str) -> bool {
    part.starts_with([' ', '.']) && part != ".offsite" || part.ends_with([' ', '.'])
}

fn edged(part: &str) -> bool {
    part.trim() != part || part.ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3() -> KeyRules {
        KeyRules { any_name: false, max_key: 900, max_segment: 1024, changed: "\\".into(), trims: false, edges: false }
    }

    #[test]
    fn plain_names_are_their_own_keys() {
        for path in ["a", "a/b#c", "100%", "a%20b", " lead", "tail ", "q?*\"'<>|", "ä/ö", "...", ".offsitex"] {
            assert_eq!(s3().odd_key(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn other_names_are_odd() {
        let long = "x".repeat(901);
        for path in ["a\nb", "back\\slash", ".offsite/x", ".offsite", &long] {
            assert!(s3().odd_key(path.as_bytes()).is_some(), "{path}");
        }
        assert!(s3().odd_key(b"\xff").is_some());
        assert_eq!(KeyRules::any().odd_key(b"\xff\n\\"), None);
        assert!(KeyRules::any().odd_key(b".offsite/x").is_some());
    }

    #[test]
    fn a_dot_at_the_first_is_kept_where_only_edges_are_changed() {
        let rules = KeyRules { edges: true, ..s3() };
        for path in [".htaccess", "a/.well-known/b", "a b/c"] {
            assert_eq!(rules.odd_key(path.as_bytes()), None, "{path}");
        }
        for path in ["a.", "d./e", " a", "a ", "d /e", "\u{a0}a"] {
            assert!(rules.odd_key(path.as_bytes()).is_some(), "{path:?}");
        }
    }

    #[test]
    fn a_kept_key_that_would_be_too_long_is_odd() {
        let path = "x".repeat(890);
        let content = Content { hash: Hash([0; 32]), since: 7, key: None, etag: None, version: None };
        let kept = String::from_utf8(s3().kept_key(path.as_bytes(), &content)).unwrap();
        assert!(kept.starts_with(".offsite/kept/000000000007/.offsite/odd/"), "{kept}");
    }
}
