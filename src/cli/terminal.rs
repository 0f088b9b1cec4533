//! Questions to the user on the terminal: passphrases, and what age plugins say.
//!
//! Owns the terminal while it asks. A passphrase is read from the terminal itself, so a pipe as standard input cannot
//! answer, and it is not shown.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};

use offsite::seal::{Ask, SecretString};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Asks on the terminal of this process.
pub struct Terminal;

fn open() -> Option<File> {
    File::options().read(true).write(true).open("/dev/tty").ok()
}

/// Reads one line.
fn line(tty: &File) -> Option<String> {
    let mut text = String::new();
    BufReader::new(tty).read_line(&mut text).ok().filter(|read| *read > 0)?;
    Some(text.trim_end_matches(['\n', '\r']).to_owned())
}

impl Ask for Terminal {
    fn passphrase(&self, what: &str) -> Option<SecretString> {
        let mut tty = open()?;
        write!(tty, "{what}: ").ok()?;
        let before = tcgetattr(&tty).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&tty, OptionalActions::Flush, &hidden).ok()?;
        let text = line(&tty);
        let _ = tcsetattr(&tty, OptionalActions::Flush, &before);
        let _ = writeln!(tty);
        text.map(SecretString::from)
    }

    fn message(&self, text: &str) {
        if let Some(mut tty) = open() {
            let _ = writeln!(tty, "{text}");
        }
    }

    fn confirm(&self, text: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let mut tty = open()?;
        let choice = no.map_or_else(|| format!("[{yes}]"), |no| format!("[{yes}/{no}]"));
        write!(tty, "{text} {choice}: ").ok()?;
        let answer = line(&tty)?;
        Some(no.is_none_or(|no| !answer.eq_ignore_ascii_case(no)))
    }

    fn text(&self, what: &str) -> Option<String> {
        let mut tty = open()?;
        write!(tty, "{what}: ").ok()?;
        line(&tty)
    }
}
