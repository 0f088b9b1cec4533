//! The key of a path at a destination.
//!
//! Owns the rule: a name is its own key if the store can have such a key. The content of any other path is stored at
//! `.offsite/odd/<BLAKE3 of the path>`. Kept contents are at `.offsite/kept/<since>/<key>`.
//! Keys are relative to the destination's prefix and depend only on path and rules.

use object_store::path::Path;

pub use crate::model::KeyRules;
use crate::model::{Content, DiskRules, Entry, Hash, folded};

/// The name below which offsite keeps its own objects.
pub const OWN: &[u8] = b".offsite";

impl KeyRules {
    /// The rules of a real directory tree, which can have any name.
    pub fn any() -> Self {
        Self {
            any_name: true,
            max_key: usize::MAX,
            max_segment: usize::MAX,
            changed: String::new(),
            trims: false,
            edges: false,
            disk: None,
        }
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
        let own = path == OWN || path.starts_with(b".offsite/") || self.folds() && folded(top(path)) == OWN;
        let disk_takes = || self.disk.as_ref().is_none_or(|disk| disk.takes(path));
        (own || !self.fits(path) || !disk_takes()).then(|| odd(path))
    }

    /// [`Self::odd_key`] for an entry to write. It is also odd if the store takes its name for that of another entry.
    pub fn key_for(&self, entry: &Entry) -> Option<String> {
        if entry.odd { Some(odd(entry.path.bare())) } else { self.odd_key(entry.path.bare()) }
    }

    /// Whether the disk takes some different names for one file.
    pub fn folds(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.folds)
    }

    /// Whether the disk can have symlinks.
    pub fn links(&self) -> bool {
        !self.disk.as_ref().is_some_and(|disk| disk.no_links)
    }

    /// The key of a kept content.
    pub fn kept_key(&self, path: &[u8], content: &Content) -> Vec<u8> {
        let prefix = format!(".offsite/kept/{:012}/", content.since);
        let key = [prefix.as_bytes(), content.key.as_ref().map_or(path, |k| k.as_bytes())].concat();
        if self.fits(&key) { key } else { format!("{prefix}.offsite/odd/{}", Hash::of(path)).into_bytes() }
    }

    /// The key of an entry's current content.
    pub fn current_key(entry: &Entry) -> Vec<u8> {
        match entry.content.as_ref().and_then(|c| c.key.as_ref()) {
            Some(key) => key.clone().into_bytes(),
            None => entry.path.bare().to_vec(),
        }
    }
}

/// The first part of a path.
fn top(path: &[u8]) -> &[u8] {
    path.split(|byte| *byte == b'/').next().unwrap_or_default()
}

fn odd(path: &[u8]) -> String {
    format!(".offsite/odd/{}", Hash::of(path))
}

impl DiskRules {
    /// Whether the disk can have every name of this path unchanged.
    fn takes(&self, path: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(path) else { return !self.text && self.refused.is_empty() };
        !text.chars().any(|c| self.refused.contains(c)) && text.split('/').all(|part| self.takes_part(part))
    }

    fn takes_part(&self, part: &str) -> bool {
        !(self.ends && part.ends_with(['.', ' ']) || self.devices && is_device(part) || self.aliases && is_short(part))
    }
}

/// Whether Windows takes the name for a device. It ignores the ending.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |name: &str| stem.strip_prefix(name).is_some_and(|rest| rest.len() == 1 && rest.as_bytes()[0].is_ascii_digit());
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

/// Whether FAT and NTFS may give another file this short name besides its own: `LETTER~1.TXT`.
fn is_short(part: &str) -> bool {
    let (stem, ending) = part.rsplit_once('.').unwrap_or((part, ""));
    let number = stem.rsplit_once('~').map_or("", |(_, number)| number);
    stem.len() <= 8 && ending.len() <= 3 && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
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
        KeyRules { any_name: false, max_key: 900, max_segment: 1024, changed: "\\".into(), trims: false, edges: false, disk: None }
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
    fn what_a_disk_does_not_take_is_odd() {
        let disk =
            DiskRules { folds: true, aliases: true, refused: ":?\u{1}".into(), ends: true, devices: true, text: true, no_links: true };
        let rules = KeyRules { disk: Some(disk), ..KeyRules::any() };
        for path in ["a", "Dir/b c", ".hidden", "console", "com10.txt", "a~b", "LONGER-THAN~1.TXT", "ä"] {
            assert_eq!(rules.odd_key(path.as_bytes()), None, "{path}");
        }
        for path in [
            ".OFFSITE",
            ".Offsite/lease.json",
            "a:b",
            "co:lon/in",
            "q?",
            "\u{1}",
            "end.",
            "end /in",
            "con",
            "Nul.txt",
            "lpt1",
            "LETTER~1.TXT",
        ] {
            assert!(rules.odd_key(path.as_bytes()).is_some(), "{path}");
        }
        assert!(rules.odd_key(b"\xff").is_some());
        let probed = KeyRules { disk: Some(DiskRules::default()), ..KeyRules::any() };
        for path in [&b"a:b"[..], b"\xff", b"con", b"end."] {
            assert_eq!(probed.odd_key(path), None);
        }
    }

    #[test]
    fn a_kept_key_that_would_be_too_long_is_odd() {
        let path = "x".repeat(890);
        let content = Content::new(Hash([0; 32]), 7);
        let kept = String::from_utf8(s3().kept_key(path.as_bytes(), &content)).unwrap();
        assert!(kept.starts_with(".offsite/kept/000000000007/.offsite/odd/"), "{kept}");
    }
}
