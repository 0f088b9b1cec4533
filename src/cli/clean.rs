//! The filter for foreign text: names, answers of servers, records at destinations.
//!
//! Owns what a terminal never gets: control characters, marks that change the writing direction, and foreign line
//! breaks. A foreign text passes [`clean`], which also cuts it. All output then passes [`tame`], which leaves line
//! breaks, because only offsite's own are left. Lists that the user asked for (`ls`, `diff`) are not cut, so their
//! paths are exact.

use std::borrow::Cow;

use offsite::model::RelPath;

/// Longest foreign text, in characters.
const LONGEST: usize = 2000;

/// Longest line of output, in characters. Two paths of maximum length fit.
const LINE: usize = 16_000;

/// The text as one line that is safe to print and not too long.
pub fn clean(text: &str) -> String {
    RelPath::from(cut(text, LONGEST).as_ref()).display()
}

fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((at, _)) => Cow::Owned(format!("{}…", &text[..at])),
        None => Cow::Borrowed(text),
    }
}

/// offsite's own lines, safe to print.
pub fn tame(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        out.push_str(&RelPath::from(cut(line, LINE).as_ref()).display());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        let foreign = "a\u{1b}[31mb\u{7}c\u{9b}2Jd\u{202e}e\nf\r\u{85}g\u{2028}h\u{61c}\u{200f}";
        let cleaned = clean(foreign);
        assert!(!cleaned.chars().any(|c| c.is_control() || "\u{202e}\u{2028}\u{61c}\u{200f}".contains(c)), "{cleaned}");
        assert_eq!(tame("a\n\u{1b}b\n"), "a\n\\u{1b}b\n");
        assert_eq!(clean(&"x".repeat(LONGEST * 3)).chars().count(), LONGEST + 1);
        assert_eq!(clean("Grüße 日本"), "Grüße 日本");
    }
}
