//! Questions to the user on the terminal: passphrases, and what age plugins say.
//!
//! Owns the terminal while it asks. A passphrase is read from the terminal itself, so a pipe as standard input cannot
//! answer, and it is not shown.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::sync::{Mutex, PoisonError};

use offsite::seal::{Ask, ExposeSecret, PassphraseSource, SecretString};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::screen::Screen;

/// Asks on the terminal of this process, while no bar is drawn.
#[derive(Clone)]
pub struct Terminal(pub Screen);

/// Asks for a new passphrase twice, once in a run.
pub struct NewPassphrase {
    terminal: Terminal,
    given: Mutex<Option<SecretString>>,
}

impl NewPassphrase {
    pub fn new(screen: &Screen) -> Self {
        Self { terminal: Terminal(screen.clone()), given: Mutex::default() }
    }
}

impl PassphraseSource for NewPassphrase {
    fn passphrase(&self, what: &str) -> Result<SecretString, String> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(given) = &*given {
            return Ok(given.clone());
        }
        let nobody = "a new passphrase is asked for on the terminal, and there is none; set `seal.passphrase_command` in the config";
        let first = self.terminal.passphrase(what).ok_or(nobody)?;
        if first.expose_secret().is_empty() {
            return Err("the passphrase is empty".into());
        }
        let again = self.terminal.passphrase("Once more").ok_or(nobody)?;
        if first.expose_secret() != again.expose_secret() {
            return Err("the two passphrases differ, so nothing was written".into());
        }
        *given = Some(first.clone());
        Ok(first)
    }
}

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
        self.0.bars.suspend(|| hidden(what))
    }

    fn message(&self, text: &str) {
        self.0.bars.suspend(|| {
            if let Some(mut tty) = open() {
                let _ = writeln!(tty, "{text}");
            }
        });
    }

    fn confirm(&self, text: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let choice = no.map_or_else(|| format!("[{yes}]"), |no| format!("[{yes}/{no}]"));
        let answer = self.text(&format!("{text} {choice}"))?;
        Some(no.is_none_or(|no| !answer.eq_ignore_ascii_case(no)))
    }

    fn can_ask(&self) -> bool {
        open().is_some()
    }

    fn text(&self, what: &str) -> Option<String> {
        self.0.bars.suspend(|| {
            let mut tty = open()?;
            write!(tty, "{what}: ").ok()?;
            line(&tty)
        })
    }
}

/// Reads one line that is not shown.
fn hidden(what: &str) -> Option<SecretString> {
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
