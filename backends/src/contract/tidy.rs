//! Foreign text (of a server, of a library, a name), made fit to be shown.
//!
//! Owns what is removed (secrets, control characters, marks that change the direction of writing) and where a text is
//! cut. Invariants: the result is one line of limited length that cannot control a terminal; to tidy the result again
//! does not change it.

use crate::contract::redact::redact;

/// Longest message, in characters. Messages of offsite, hints included, are shorter.
pub const MESSAGE: usize = 700;
/// Longest URL or path in front of a message, in characters.
pub const PLACE: usize = 1100;
/// Only so many bytes of a text are used, because the search for secrets in a long text takes time.
const LOOKED_AT: usize = 16 << 10;

/// A text as one line of at most `most` characters, without secrets and control characters. A text that was cut ends
/// with `… (N more bytes)`.
pub fn tidy(text: &str, most: usize) -> String {
    let looked_at = &text[..text.floor_char_boundary(LOOKED_AT)];
    cut(&plain(&redact(looked_at)), most, text.len() - looked_at.len())
}

/// The same for a URL or path, at most [`PLACE`] characters.
pub fn place(text: &str) -> String {
    tidy(text, PLACE)
}

/// Removes characters that control a terminal or change the direction of writing. Line breaks become blanks.
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

/// Cuts a text to `most` characters and says that it was cut. `more` bytes were left out before.
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
