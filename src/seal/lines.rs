//! Strict reading of a text, line by line.
//!
//! Owns the bounds of such a text and how an error names its line.
//! Invariant: an error has the number of the line and what was expected there, and nothing of the line.

use std::iter::Enumerate;
use std::str::Lines as StrLines;

use super::error::{KeyText, SealError};

/// The longest key file, writer key, recipients file or identities file that is read.
pub(super) const TEXT_LIMIT: usize = 1 << 20;

/// The lines of a document that are not blank.
pub(super) struct Lines<'a> {
    document: KeyText,
    lines: Enumerate<StrLines<'a>>,
    /// The number of the last line that was read, from 1.
    number: usize,
}

impl<'a> Lines<'a> {
    /// # Errors
    /// [`SealError::TooLong`].
    pub(super) fn new(document: KeyText, text: &'a str) -> Result<Self, SealError> {
        match text.len() > TEXT_LIMIT {
            true => Err(SealError::TooLong { document, limit: TEXT_LIMIT }),
            false => Ok(Self { document, lines: text.lines().enumerate(), number: 0 }),
        }
    }

    /// The next line, without blanks around it.
    pub(super) fn next_line(&mut self) -> Option<&'a str> {
        for (index, line) in self.lines.by_ref() {
            self.number = index + 1;
            if !line.trim().is_empty() {
                return Some(line.trim());
            }
        }
        self.number += 1;
        None
    }

    /// What follows `prefix` in the next line, which must begin with it.
    pub(super) fn after(&mut self, prefix: &str, expected: &str) -> Result<&'a str, SealError> {
        let line = self.next_line();
        line.and_then(|line| line.strip_prefix(prefix)).ok_or_else(|| self.wrong(expected))
    }

    /// An error of the line that was read last.
    pub(super) fn wrong(&self, expected: &str) -> SealError {
        SealError::line(self.document, self.number, expected)
    }

    /// Fails if another line follows.
    pub(super) fn end(mut self) -> Result<(), SealError> {
        match self.next_line() {
            None => Ok(()),
            Some(_) => Err(self.wrong("the end of the text")),
        }
    }
}

/// A number in its one canonical form.
pub(super) fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// 16 hexadecimal digits in lower case.
pub(super) fn hex64(text: &str) -> Option<u64> {
    let number = u64::from_str_radix(text, 16).ok()?;
    (format!("{number:016x}") == text).then_some(number)
}

/// Whether `id` can be the id of a destination in a key file: letters, digits and `-`, at most 128 of them.
pub(super) fn is_destination(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
