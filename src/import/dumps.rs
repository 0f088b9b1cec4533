//! Commands that dump a database, as `dumps` of a job.
//!
//! Owns the notation of a command without secrets. Invariant: a password becomes the variable that the program itself
//! reads, never an argument.

use super::notes::Notes;
use super::tree::Node;

/// Programs that compress a stream, and the command that decompresses its output.
const PACKERS: [(&str, &str); 9] = [
    ("gzip", "gunzip"),
    ("pigz", "gunzip"),
    ("bzip2", "bunzip2"),
    ("pbzip2", "bunzip2"),
    ("lbzip2", "bunzip2"),
    ("xz", "unxz"),
    ("lzma", "unlzma"),
    ("compress", "uncompress"),
    ("lz4", "unlz4"),
];

/// One word, quoted for the shell. The shell still expands `$NAME`.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let escaped: String = word.chars().flat_map(|c| if "\"\\`".contains(c) { vec!['\\', c] } else { vec![c] }).collect();
    format!("\"{}\"", escaped.replace("$$", "\\$"))
}

/// The words of a command as a line for the shell.
pub fn line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// `dumps` with one dump. The name of a compressed one ends with `.zst`.
pub fn dump(name: &str, command: String, compress: bool, min_size: Option<String>, max_shrink: Option<String>) -> Node {
    if !compress && min_size.is_none() && max_shrink.is_none() {
        return Node::map().with(name, command);
    }
    let mut how = Node::map().with("command", command);
    if compress {
        how.put("compress", "zstd");
    }
    for (key, value) in [("min_size", min_size), ("max_shrink", max_shrink)] {
        if let Some(value) = value {
            how.put(key, value);
        }
    }
    let packed = if compress && !name.ends_with(".zst") { format!("{name}.zst") } else { name.to_owned() };
    Node::map().with(&packed, how)
}

/// Adds a note that zstd now compresses a dump in place of `packer`, so commands that restore it must change.
pub fn repacked(packer: &str, name: &str, at: &str, notes: &mut Notes) {
    let program = packer.rsplit('/').next().unwrap_or(packer);
    let Some((program, unpacker)) = PACKERS.iter().find(|(known, _)| *known == program) else { return };
    notes.different(
        at,
        format!(
            "{program} becomes zstd: the dump is `{name}`, and a command that restores it must call `zstd -dc` instead of `{unpacker}`"
        ),
    );
}

/// The variable in place of a word that has a password in a URL or in an assignment. None if the word has no password.
pub fn without_secret(word: &str) -> Option<String> {
    if offsite_backends::error::redact(word) != word || word.contains("password=") {
        let (flag, _) = word.split_once('=').filter(|(flag, _)| flag.starts_with('-')).unwrap_or(("", ""));
        return Some(if flag.is_empty() { "$DATABASE_URL".to_owned() } else { format!("{flag}=$DATABASE_URL") });
    }
    None
}
