//! Questions to the owner while keys are opened: passphrases, and what age plugins say.
//!
//! Owns the trait that the caller implements, and its way into the `age` crate.
//! Invariant: the owner is asked only for a key that a file is really sealed to, except for encrypted identities files, of
//! which that cannot be known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use age::secrecy::SecretString;

/// Asks the owner. Plugins call it from other threads.
pub trait Ask: Send + Sync {
    /// A passphrase, or a PIN for a plugin. `None` if nobody can be asked.
    fn passphrase(&self, what: &str) -> Option<SecretString>;

    /// Shows a message of a plugin, for example that a key must be touched.
    fn message(&self, text: &str);

    /// A question of a plugin with two answers, for example whether a key was plugged in. `None` if nobody can be asked.
    fn confirm(&self, _text: &str, _yes: &str, _no: Option<&str>) -> Option<bool> {
        None
    }

    /// A text that is no secret, for a plugin. `None` if nobody can be asked.
    fn text(&self, _what: &str) -> Option<String> {
        None
    }

    /// Whether somebody can be asked.
    fn can_ask(&self) -> bool {
        true
    }
}

/// Gives a passphrase: from the owner, or from a command of the owner. It may block.
pub trait PassphraseSource: Send + Sync {
    /// The passphrase of `what`.
    ///
    /// # Errors
    /// Why there is none, for a message. It shows no secret.
    fn passphrase(&self, what: &str) -> Result<SecretString, String>;
}

/// A passphrase that is known already.
impl PassphraseSource for SecretString {
    fn passphrase(&self, _: &str) -> Result<SecretString, String> {
        Ok(self.clone())
    }
}

/// An [`Ask`] as the `age` crate wants it. It remembers whether a passphrase was not given.
#[derive(Clone)]
pub(super) struct Bridge {
    ask: Arc<dyn Ask>,
    refused: Arc<AtomicBool>,
}

impl Bridge {
    pub(super) fn new(ask: Arc<dyn Ask>) -> Self {
        Self { ask, refused: Arc::default() }
    }

    /// Whether a passphrase was not given since the last call.
    pub(super) fn take_refused(&self) -> bool {
        self.refused.swap(false, Ordering::Relaxed)
    }
}

impl age::Callbacks for Bridge {
    fn display_message(&self, message: &str) {
        self.ask.message(&plain(message));
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        self.ask.confirm(&plain(message), &plain(yes), no.map(plain).as_deref())
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        self.ask.text(&plain(description))
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        let given = self.ask.passphrase(&plain(description));
        self.refused.fetch_or(given.is_none(), Ordering::Relaxed);
        given
    }
}

/// A text of the `age` crate or a plugin in one line, without control characters and marks of direction.
pub(super) fn plain(text: &str) -> String {
    let direction = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let text: String = text.chars().filter(|c| !direction(*c)).map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.trim().to_owned()
}
