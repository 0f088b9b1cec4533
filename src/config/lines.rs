//! The lines of the keys of a JSON text, and the keys that an object has twice.
//!
//! Owns nothing but the positions. The JSON parser decides first whether the text is JSON.
//! Invariant: a duplicate key is found at any depth, because JSON parsers accept it silently.

use std::collections::HashMap;

/// The lines of the keys of one text, by path: `["jobs", "files", "keep"]`.
#[derive(Debug, Default)]
pub struct LineIndex {
    at: HashMap<Vec<String>, usize>,
    /// The first key that its object has twice: its path, and its second line.
    pub twice: Option<(Vec<String>, usize)>,
}

impl LineIndex {
    /// Scans a text that a JSON parser accepted.
    pub fn of(text: &str) -> Self {
        let mut lines = Self::default();
        LineScanner { bytes: text.as_bytes(), at: 0, line: 1, lines: &mut lines }.value(&mut Vec::new());
        lines
    }

    /// The line of a path, or of the nearest object or array that contains it.
    pub fn line(&self, path: &[String]) -> usize {
        (0..=path.len()).rev().find_map(|n| self.at.get(&path[..n]).copied()).unwrap_or(1)
    }
}

/// Maximum nesting of arrays and objects. A config needs about ten.
const DEPTH: usize = 64;

/// The line at which the nesting exceeds `DEPTH`. None if it does not.
pub fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut line, mut in_text, mut escaped) = (0_usize, 1, false, false);
    for byte in text.bytes() {
        match byte {
            b'\n' => line += 1,
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH {
            return Some(line);
        }
    }
    None
}

struct LineScanner<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
    lines: &'a mut LineIndex,
}

impl LineScanner<'_> {
    /// The next byte that is not a space. 0 at the end.
    fn next(&mut self) -> u8 {
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'\n' => self.line += 1,
                b' ' | b'\t' | b'\r' => {}
                byte => return *byte,
            }
            self.at += 1;
        }
        0
    }

    fn value(&mut self, path: &mut Vec<String>) {
        match self.next() {
            b'{' => self.object(path),
            b'[' => self.array(path),
            b'"' => drop(self.text()),
            _ => {
                while self.bytes.get(self.at).is_some_and(|b| !b",]} \t\r\n".contains(b)) {
                    self.at += 1;
                }
            }
        }
    }

    fn object(&mut self, path: &mut Vec<String>) {
        self.at += 1;
        loop {
            match self.next() {
                b'"' => {}
                b',' => {
                    self.at += 1;
                    continue;
                }
                _ => break,
            }
            let line = self.line;
            path.push(self.text());
            if self.lines.at.insert(path.clone(), line).is_some() && self.lines.twice.is_none() {
                self.lines.twice = Some((path.clone(), line));
            }
            if self.next() == b':' {
                self.at += 1;
            }
            self.value(path);
            path.pop();
        }
        self.at += 1;
    }

    fn array(&mut self, path: &mut Vec<String>) {
        self.at += 1;
        let mut index = 0;
        loop {
            match self.next() {
                b']' | 0 => break,
                b',' => self.at += 1,
                _ => {
                    path.push(index.to_string());
                    index += 1;
                    self.lines.at.insert(path.clone(), self.line);
                    let before = self.at;
                    self.value(path);
                    path.pop();
                    if self.at == before {
                        break;
                    }
                }
            }
        }
        self.at += 1;
    }

    /// A string, unescaped by the JSON parser.
    fn text(&mut self) -> String {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.bytes.get(self.at) {
            self.at += match byte {
                b'\\' => 2,
                b'"' => break,
                _ => 1,
            };
        }
        self.at = (self.at + 1).min(self.bytes.len());
        serde_json::from_slice(&self.bytes[start..self.at]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn keys_have_their_lines() {
        let lines = LineIndex::of("{\n \"a\": 1,\n \"b\": { \"c\\n\": [\n  true,\n  { \"d\": \"}\" } ] },\n \"e\": null\n}");
        assert_eq!(["a", "b", "b.c\n.1.d", "e"].map(|p| lines.line(&path(p))), [2, 3, 5, 6]);
        assert_eq!((lines.line(&path("b.nowhere")), lines.line(&path("nowhere"))), (3, 1));
        assert_eq!(lines.twice, None);
    }

    #[test]
    fn depth_is_counted_outside_of_texts() {
        let deep = |n: usize| format!("\n{}\"[{{\\\"[\"{}", "[".repeat(n), "]".repeat(n));
        assert_eq!([DEPTH, DEPTH + 1].map(|n| too_deep(&deep(n))), [None, Some(2)]);
        let flat = format!("[{}]", vec!["\"[\", []"; 100].join(","));
        assert_eq!(too_deep(&flat), None);
    }

    #[test]
    fn a_key_that_stands_twice_is_found_however_it_is_written() {
        let lines = LineIndex::of("{\"x\": {\"a\": 1,\n\"b\": 2,\n\"\\u0061\": 3}}");
        assert_eq!(lines.twice, Some((path("x.a"), 3)));
        assert_eq!(LineIndex::of("{\"x\": {\"a\": 1}, \"y\": {\"a\": 1}}").twice, None);
    }
}
