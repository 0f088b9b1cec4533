//! The key file of a destination: everything that opens it, as an age identities file.
//!
//! Owns its text form. `age -i` takes it as it is, because it passes over comments.
//! Invariants: both identities differ; a text that is parsed has exactly the lines that are printed.

use std::fmt;

use zeroize::Zeroizing;

use super::error::{KeyText, SealError};
use super::lines::{Lines, hex64, is_destination, number};
use super::native::{Identity, fill_random};

const FIRST: &str = "`# offsite keys 1 of <id of the destination>, 2026-11-28`";
const CUT: &str = "`# cut: ` and 16 hexadecimal digits in lower case";
const IDENTITY: &str = "an identity like `AGE-SECRET-KEY-1…` with 74 characters";

/// All secrets of a destination, as one key file has them. A rotation makes another one.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySet {
    /// The `id` of the destination.
    pub destination: String,
    /// The number of the key file, from 1. The newest one has the highest.
    pub number: u64,
    /// The day it was made, as `2026-11-28`. It is for people.
    pub made: String,
    /// Opens what the files contain.
    pub contents: Identity,
    /// Opens the names of files and everything else that a writer must read again.
    pub names: Identity,
    /// The seed of the chunker.
    pub cut: u64,
}

impl KeySet {
    /// The first keys of a destination.
    ///
    /// # Errors
    /// [`SealError::NoRandom`]; [`SealError::Line`] if `destination` or `made` cannot stand in a key file.
    pub fn new(destination: &str, made: &str) -> Result<Self, SealError> {
        let mut seed = [0; 8];
        fill_random(&mut seed)?;
        Self::with(destination, 1, made, u64::from_le_bytes(seed))
    }

    /// The next keys of the same destination. The chunker's seed stays, or all contents would be cut and sent again.
    ///
    /// # Errors
    /// As [`KeySet::new`].
    pub fn rotated(&self, made: &str) -> Result<Self, SealError> {
        Self::with(&self.destination, self.number + 1, made, self.cut)
    }

    fn with(destination: &str, number: u64, made: &str, cut: u64) -> Result<Self, SealError> {
        if !is_destination(destination) || !is_day(made) {
            return Err(SealError::line(KeyText::KeyFile, 1, FIRST));
        }
        let (contents, names) = (Identity::random()?, Identity::random()?);
        Ok(Self { destination: destination.to_owned(), number, made: made.to_owned(), contents, names, cut })
    }

    /// The text of the key file. It is the secret itself.
    pub fn print(&self) -> Zeroizing<String> {
        // Long enough from the start, so that no shorter copy is left in memory.
        let mut text = Zeroizing::new(String::with_capacity(512));
        text.push_str(&format!("# offsite keys {} of {}, {}\n# contents\n", self.number, self.destination, self.made));
        text.push_str(&self.contents.reveal());
        text.push_str("\n# names\n");
        text.push_str(&self.names.reveal());
        text.push_str(&format!("\n# cut: {:016x}\n", self.cut));
        text
    }

    /// # Errors
    /// [`SealError::Line`] names the line and what was expected there. Blank lines are passed over, everything else is not.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let mut lines = Lines::new(KeyText::KeyFile, text)?;
        let (number, destination, made) = first(lines.after("# offsite keys ", FIRST)?).ok_or_else(|| lines.wrong(FIRST))?;
        let contents = identity(&mut lines, "# contents")?;
        let names = identity(&mut lines, "# names")?;
        if names == contents {
            return Err(lines.wrong("another identity than that of the contents"));
        }
        let cut = hex64(lines.after("# cut: ", CUT)?).ok_or_else(|| lines.wrong(CUT))?;
        lines.end()?;
        Ok(Self { destination: destination.to_owned(), number, made: made.to_owned(), contents, names, cut })
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({} of {})", self.number, self.destination)
    }
}

fn first(line: &str) -> Option<(u64, &str, &str)> {
    let (before, made) = line.split_once(", ")?;
    let (index, destination) = before.split_once(" of ")?;
    let number = number(index).filter(|number| *number > 0)?;
    (is_destination(destination) && is_day(made)).then_some((number, destination, made))
}

fn identity(lines: &mut Lines<'_>, title: &str) -> Result<Identity, SealError> {
    let expected = format!("`{title}`");
    if !lines.after(title, &expected)?.is_empty() {
        return Err(lines.wrong(&expected));
    }
    lines.after("", IDENTITY)?.parse().map_err(|_| lines.wrong(IDENTITY))
}

/// Whether `day` looks like `2026-11-28`.
fn is_day(day: &str) -> bool {
    day.len() == 10 && day.bytes().enumerate().all(|(i, byte)| if i == 4 || i == 7 { byte == b'-' } else { byte.is_ascii_digit() })
}
