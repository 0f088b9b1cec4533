//! Names that some disks take for one.
//!
//! Owns the fold: names that differ only in case, in Unicode's normal form or in invisible characters have the same
//! fold. The fold is coarser than that of any one disk. Two names with different folds are two files on every disk, and
//! two names with the same fold may be one file.

use icu_normalizer::DecomposingNormalizer;

/// The fold of a name or path. Slashes stay.
pub fn folded(name: &[u8]) -> Vec<u8> {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let text = String::from_utf8_lossy(name);
    let form = DecomposingNormalizer::new_nfd();
    let plain = |text: &str| -> String {
        let lower: String = text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
        form.normalize(&lower).into_owned()
    };
    // Twice: some capitals decompose into letters that have capitals of their own.
    let folded = plain(&plain(&form.normalize(&text)));
    folded.chars().filter(|c| !is_unseen(*c)).collect::<String>().into_bytes()
}

/// The first 8 bytes of the BLAKE3 of the fold. Two names with different folds may have the same hash and then count as
/// one name.
pub fn fold_hash(name: &[u8]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(&folded(name)).as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// Characters that a folding disk ignores (Unicode's `Default_Ignorable_Code_Point`).
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Finds the names that have a twin in the list: another name with the same fold. Returns their indices in the list, in
/// any order.
pub fn twins<'a>(names: impl Iterator<Item = &'a [u8]>) -> Vec<usize> {
    // Hashes instead of folds: a directory of millions of names must not be in memory twice.
    let mut all: Vec<(u64, usize)> = names.enumerate().map(|(at, name)| (fold_hash(name), at)).collect();
    all.sort_unstable();
    all.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1).flatten().map(|(_, at)| *at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_some_disk_takes_for_one_has_one_fold() {
        let same = [
            ("README", "readme"),
            ("Dir/a", "dir/A"),
            ("caf\u{e9}", "cafe\u{301}"),
            ("CAF\u{c9}", "cafe\u{301}"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{3c3}", "\u{3c2}"),
            ("\u{212b}ngstrom", "\u{e5}NGSTROM"),
            ("\u{212a}", "k"),
            ("soft\u{ad}", "soft"),
            ("\u{1c4}", "\u{1c6}"),
        ];
        for (a, b) in same {
            assert_eq!(folded(a.as_bytes()), folded(b.as_bytes()), "{a} {b}");
        }
        for (a, b) in [("a", "b"), ("a/b", "ab"), ("e", "\u{e9}"), ("a.", "a")] {
            assert_ne!(folded(a.as_bytes()), folded(b.as_bytes()), "{a} {b}");
        }
    }

    #[test]
    fn twins_are_found_wherever_they_stand() {
        let names = ["A", "b", "c", "a", "B", "d"].map(str::as_bytes);
        let mut found = twins(names.into_iter());
        found.sort_unstable();
        assert_eq!(found, [0, 1, 3, 4]);
    }
}
