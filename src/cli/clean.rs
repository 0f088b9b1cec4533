//! The door for text that somebody else chose: names, answers of servers, records at destinations.
//!
//! Owns what a terminal never gets: control characters, marks that turn the direction of writing, and
//! lines of somebody else's making. A foreign text goes through [`clean`], which also cuts it; whatever is
//! printed goes through [`tame`] once more, which leaves line breaks, since those are ours by then. Lists that were
//! asked for (`ls`, `diff`) are not cut: a path there is what it is.

use std::borrow::Cow;

use offsite::model::RelPath;

/// No foreign text is longer than this, in characters.
const LONGEST: usize = 2000;

/// Nor is a line of ours with foreign names in it; two paths of the longest kind have room.
const LINE: usize = 16_000;

/// One line, safe to print, and not too long.
pub fn clean(text: &str) -> String {
    RelPath::from(cut(text, LONGEST).as_ref()).display()
}

fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((at, _)) => Cow::Owned(format!("{}…", &text[..at])),
        None => Cow::Borrowed(text),
    }
}

/// Lines of ours, safe to print.
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
