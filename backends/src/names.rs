//! Names of files as keys and as text, for the stores that are trees of files.
//!
//! Owns which paths can be used, which names a key can express, and how messages show a name. Keys are the paths
//! themselves, without escapes.

use object_store::path::Path;

/// The path of an object below the root of its tree.
pub(crate) fn key(path: &Path) -> &[u8] {
    path.as_ref().as_bytes()
}

/// A raw name as a key, if the key has exactly the same bytes.
pub(crate) fn parse(raw: &[u8]) -> Option<Path> {
    let text = std::str::from_utf8(raw).ok()?;
    Path::parse(text).ok().filter(|path| path.as_ref() == text)
}

/// A name as text. Bytes that are not UTF-8 are replaced and control characters are escaped, so that a name cannot
/// forge lines in a log or control a terminal.
pub(crate) fn printable(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for c in String::from_utf8_lossy(name).chars() {
        match c.is_control() {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

/// Checks a path. The error says what is wrong with it.
pub(crate) fn check(path: &[u8]) -> std::result::Result<(), &'static str> {
    if path.contains(&0) {
        return Err("a name cannot hold a NUL byte");
    }
    for name in path.split(|b| *b == b'/') {
        match name {
            b"" => return Err("an empty path or component cannot be used here"),
            b"." | b".." => return Err("`.` and `..` cannot be used in a path here"),
            _ => {}
        }
    }
    Ok(())
}

/// The parent (empty for the root) and the last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}
