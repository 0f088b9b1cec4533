//! A path inside a tree: raw bytes, relative. The path of a directory ends in `/`.
//!
//! Owns the order of all sorted data (plain byte order), the JSON form and the printable form. In JSON a path that is
//! UTF-8 is a string, and any other path is `{"b64": "…"}`.

use std::borrow::Borrow;
use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes of a name, a path or a link target. The order is that of the bytes.
///
/// # Examples
///
/// ```
/// use offsite::model::RelPath;
///
/// let path = RelPath::from("photos/2025/sea.jpg");
/// assert_eq!((path.parent(), path.name()), (&b"photos/2025/"[..], &b"sea.jpg"[..]));
/// assert!(RelPath::from("photos/").is_dir());
/// assert!(!RelPath::from("../etc/passwd").is_sound());
/// // A name can have any bytes. People see them escaped.
/// assert_eq!(RelPath::from(&b"caf\xe9"[..]).display(), r"caf\xe9");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RelPath(pub Vec<u8>);

impl RelPath {
    /// Takes any bytes. [`Self::is_sound`] says whether they can be a path of a tree.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The raw bytes, with the slash that marks a directory.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it names a directory.
    pub fn is_dir(&self) -> bool {
        self.0.last() == Some(&b'/')
    }

    /// The path without the slash that marks a directory.
    pub fn bare(&self) -> &[u8] {
        self.0.strip_suffix(b"/").unwrap_or(&self.0)
    }

    /// The parent directory, with a slash. Empty at the top of the tree.
    pub fn parent(&self) -> &[u8] {
        parent(&self.0)
    }

    /// The last component, without a slash.
    pub fn name(&self) -> &[u8] {
        let bare = self.bare();
        bare.iter().rposition(|b| *b == b'/').map_or(bare, |i| &bare[i + 1..])
    }

    /// Whether it can be a path of a tree: relative, without an empty, `.` or `..` component, without NUL.
    pub fn is_sound(&self) -> bool {
        let bare = self.bare();
        !bare.is_empty() && !bare.contains(&0) && bare.split(|b| *b == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
    }

    /// The path for people. Control characters, marks of the writing direction and bytes that are not UTF-8 are
    /// escaped.
    pub fn display(&self) -> String {
        printable(&self.0)
    }
}

/// The parent directory of a path, with a slash. Empty at the top of the tree.
fn parent(path: &[u8]) -> &[u8] {
    let bare = path.strip_suffix(b"/").unwrap_or(path);
    bare.iter().rposition(|b| *b == b'/').map_or(b"", |i| &bare[..=i])
}

fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                c if c.is_control() || turns(c) => {
                    let _ = write!(out, "\\u{{{:x}}}", c as u32);
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Marks that change the writing direction, and line separators that are not control characters.
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl Borrow<[u8]> for RelPath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for RelPath {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for RelPath {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<&str> for RelPath {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display())
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.display())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Escaped<'a> {
    b64: std::borrow::Cow<'a, str>,
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => s.serialize_str(text),
            Err(_) => Escaped { b64: STANDARD.encode(&self.0).into() }.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = RelPath;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or {\"b64\": …}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<RelPath, E> {
                Ok(RelPath(text.as_bytes().to_vec()))
            }
            fn visit_string<E: de::Error>(self, text: String) -> Result<RelPath, E> {
                Ok(RelPath(text.into_bytes()))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<RelPath, A::Error> {
                let escaped = Escaped::deserialize(de::value::MapAccessDeserializer::new(map))?;
                STANDARD.decode(escaped.b64.as_bytes()).map(RelPath).map_err(de::Error::custom)
            }
        }
        d.deserialize_any(Visitor)
    }
}

impl schemars::JsonSchema for RelPath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Path".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "a path relative to the tree, a directory's ending in '/'; bytes that are not UTF-8 as base64",
            "oneOf": [{"type": "string"}, {"type": "object", "properties": {"b64": {"type": "string"}}, "required": ["b64"]}]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soundness() {
        for good in ["a", "a/b", "a/", " ", "...", "a\nb"] {
            assert!(RelPath::from(good).is_sound(), "{good:?}");
        }
        for bad in ["", "/", "/a", "a//b", "../a", "a/..", ".", "a/./b", "a\0b", "a//"] {
            assert!(!RelPath::from(bad).is_sound(), "{bad:?}");
        }
    }

    #[test]
    fn names_and_parents() {
        let path = RelPath::from("a/b/c/");
        assert_eq!((path.parent(), path.name(), path.bare()), (&b"a/b/"[..], &b"c"[..], &b"a/b/c"[..]));
        assert_eq!(RelPath::from("x").parent(), b"");
    }

    #[test]
    fn a_terminal_is_not_steered() {
        assert_eq!(RelPath::new(b"a\x1b[2J\xff\n".to_vec()).display(), "a\\u{1b}[2J\\xff\\n");
    }
}
