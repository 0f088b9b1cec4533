//! Text of somebody else's: a server's, a library's, a name. Made fit to be shown.
//!
//! Owns what is taken out (secrets, control characters, marks that turn the direction of writing) and where a text is cut.
//! Invariant: what comes out is one line of at most so many characters that drives no terminal, and it comes out as it
//! is when it goes in again.

use crate::contract::scrub::scrub;

/// Longest message, in characters: ours with their advice are shorter.
pub const MESSAGE: usize = 700;
/// Longest URL or path in front of one, in characters.
pub const PLACE: usize = 1100;
/// So much of a text is looked at, in bytes: looking for secrets in all of a long one takes time.
const LOOKED_AT: usize = 16 << 10;

/// A text as one line of at most `most` characters, without secrets and control characters; says how much was left out.
pub fn tidy(text: &str, most: usize) -> String {
    let looked_at = &text[..text.floor_char_boundary(LOOKED_AT)];
    cut(&plain(&scrub(looked_at)), most, text.len() - looked_at.len())
}

/// The same of a place, whose name may hold whatever it likes.
pub fn place(text: &str) -> String {
    tidy(text, PLACE)
}

/// Without what steers a terminal or turns the text around; breaks between lines become blanks.
fn plain(text: &str) -> String {
    if !text.chars().any(|c| breaks(c) || steers(c)) {
        return text.to_owned();
    }
    let lines = text.split(breaks).map(|line| line.replace(steers, "").trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn breaks(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Cut to `most` characters, saying that it was; `more` bytes were left out before.
fn cut(text: &str, most: usize, more: usize) -> String {
    match text.char_indices().nth(most) {
        None if more == 0 => text.to_owned(),
        None => format!("{text}… ({more} more bytes)"),
        Some((at, _)) if text.ends_with(" more bytes)") && text[at..].chars().count() < 40 => text.to_owned(),
        Some((at, _)) => format!("{}… ({} more bytes)", &text[..at], text.len() - at + more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_a_server_is_one_short_line() {
        let said = tidy("no\x1b[31m such\u{202e} key\r\n\r\n  at all\u{85}\u{7f}", MESSAGE);
        assert_eq!(said, "no[31m such key at all");
        let long = tidy(&"m\x1b[31m".repeat(4_000_000), MESSAGE);
        assert!(long.chars().count() < MESSAGE + 40 && long.ends_with(" more bytes)"), "{long}");
        assert!(!long.contains('\x1b'));
        assert_eq!(tidy(&long, MESSAGE), long, "it stays as it is");
        assert_eq!(tidy("disk full", MESSAGE), "disk full");
    }

    #[test]
    fn a_secret_does_not_survive_the_cut() {
        for at in [0, MESSAGE - 20, MESSAGE, LOOKED_AT - 30] {
            let said = tidy(&format!("{} https://me:hush@host/x Authorization: hush", "x".repeat(at)), MESSAGE);
            assert!(!said.contains("hush"), "{at}: {said}");
        }
    }

    #[test]
    fn a_place_keeps_its_name() {
        assert_eq!(place("s3://b/a\u{301} b?c=d"), "s3://b/a\u{301} b?c=d");
        assert!(place(&"x".repeat(5000)).chars().count() < PLACE + 40);
    }
}
