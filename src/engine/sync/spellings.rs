//! Names of a manifest that the disk of a pull's target takes for one.
//!
//! Owns the look at them while the manifest goes by: of names in one directory that fold to the same the first keeps
//! it, the others and all that lies below them clash. Memory holds hashes of the names in the directories that the
//! path at hand lies in.

use std::collections::HashMap;

use crate::model::fold_hash;

/// The names in one directory, by their folds.
struct Level {
    /// The directory, with a slash at its end; empty at the top.
    dir: Vec<u8>,
    names: HashMap<u64, u64>,
}

/// The names that went by.
#[derive(Default)]
pub struct Spellings(Vec<Level>);

impl Spellings {
    /// Whether a path, or a directory that it lies in, has another spelling of a name that went by. Asked with paths
    /// in the order of a manifest.
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
