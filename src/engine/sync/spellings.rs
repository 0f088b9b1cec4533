//! Names of a manifest that the disk of a restore's target takes for one name.
//!
//! Owns finding them while the manifest is read in order. If several names in one directory fold to the same name, the
//! first one keeps it. The others, and everything below them, clash. Memory holds only hashes of names, for the
//! directories above the current path.

use std::collections::HashMap;

use crate::model::fold_hash;

/// The names in one directory.
struct Level {
    /// The directory, with a slash at the end. Empty for the top.
    dir: Vec<u8>,
    /// The hash of the exact name, by the hash of the folded name.
    names: HashMap<u64, u64>,
}

/// The names read so far in the directories above the current path.
#[derive(Default)]
pub struct Spellings(Vec<Level>);

impl Spellings {
    /// Whether a path, or a directory above it, is another spelling of an earlier name. The caller must pass paths in
    /// the order of a manifest.
    pub fn clash(&mut self, path: &[u8]) -> bool {
        let bare = path.strip_suffix(b"/").unwrap_or(path);
        while self.0.pop_if(|level| !path.starts_with(&level.dir)).is_some() {}
        let known = self.0.last().map_or(0, |level| level.dir.len());
        if self.0.is_empty() {
            self.0.push(Level { dir: Vec::new(), names: HashMap::new() });
        }
        let mut start = known;
        loop {
            let end = bare[start..].iter().position(|byte| *byte == b'/').map_or(bare.len(), |at| start + at);
            let name = &bare[start..end];
            let Some(level) = self.0.last_mut() else { return false };
            let exact = exact_hash(name);
            if *level.names.entry(fold_hash(name)).or_insert(exact) != exact {
                return true;
            }
            if end == bare.len() {
                return false;
            }
            start = end + 1;
            self.0.push(Level { dir: bare[..start].to_vec(), names: HashMap::new() });
        }
    }
}

fn exact_hash(name: &[u8]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(name).as_bytes()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_spelling_and_what_lies_below_it_clash() {
        let mut seen = Spellings::default();
        let paths =
            ["A", "Dir/", "Dir/f", "Dir/sub/", "Dir/sub/x", "a", "dir/", "dir/f", "dir/g", "dir/sub/x", "e/F", "e/f", "g", "h/", "h/g"];
        let clashing: Vec<&str> = paths.into_iter().filter(|path| seen.clash(path.as_bytes())).collect();
        assert_eq!(clashing, ["a", "dir/", "dir/f", "dir/g", "dir/sub/x", "e/f"]);
    }

    #[test]
    fn a_file_and_a_directory_of_one_spelling_clash() {
        let mut seen = Spellings::default();
        assert!(!seen.clash(b"Name"));
        assert!(seen.clash(b"name/") && seen.clash(b"name/x"));
    }
}
