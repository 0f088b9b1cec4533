//! The owner's side: key files sealed to recipients that users already have, or to a passphrase.
//!
//! Owns the forms of recipients, with the `age` crate behind it.
//! Invariant: a recipient that cannot be used is an error, never passed over, because a restore may hang on it.

use std::fmt;
use std::io::Write;
use std::str::FromStr;
use std::sync::Arc;

use age::secrecy::{ExposeSecret, SecretString};
use age::ssh::ParseRecipientKeyError;
use age::{EncryptError, plugin};

use super::ask::{Ask, Bridge, plain};
use super::error::{KeyText, SealError};
use super::header::stanza_types;
use super::lines::Lines;
use super::native::Recipient;

/// The scrypt work factor of a new file: one second and 256 MiB, as `age -p` takes it.
const WORK: u8 = 18;
const FORMS: &str = "`age1…`, `ssh-ed25519 AAAA…`, `ssh-rsa AAAA…` or a plugin's recipient like `age1yubikey1…`";

/// Somebody whom a key file is sealed to.
#[derive(Clone)]
pub struct OwnerRecipient(Form);

#[derive(Clone)]
enum Form {
    Native(age::x25519::Recipient),
    Tag(age::tag::Recipient),
    TagPq(Box<age::tagpq::Recipient>),
    Ssh(Box<age::ssh::Recipient>),
    Plugin(plugin::Recipient),
}

impl FromStr for OwnerRecipient {
    type Err = SealError;

    /// Accepts what `age -r` accepts. Text after an SSH key is its comment.
    fn from_str(text: &str) -> Result<Self, SealError> {
        let wrong = |expected: &str| Err(SealError::Recipient(expected.to_owned()));
        // The `age` crate ends the program when it seals to a point of low order, so native ones are parsed here first.
        if text.parse::<Recipient>().is_ok()
            && let Ok(native) = text.parse()
        {
            return Ok(Self(Form::Native(native)));
        }
        if let Ok(tag) = text.parse() {
            return Ok(Self(Form::Tag(tag)));
        }
        if let Ok(tag) = text.parse() {
            return Ok(Self(Form::TagPq(Box::new(tag))));
        }
        match text.parse::<age::ssh::Recipient>() {
            Ok(ssh) => return Ok(Self(Form::Ssh(Box::new(ssh)))),
            Err(ParseRecipientKeyError::RsaModulusTooLarge) => return wrong("an ssh-rsa key of at most 4096 bits"),
            Err(ParseRecipientKeyError::RsaModulusTooSmall) => return wrong("an ssh-rsa key of at least 2048 bits"),
            Err(ParseRecipientKeyError::Unsupported(kind)) => return Err(SealError::SshKind(plain(&kind))),
            Err(_) => {}
        }
        if let Ok(plugin) = text.parse::<plugin::Recipient>() {
            return Ok(Self(Form::Plugin(plugin)));
        }
        match text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("AGE-") || start == "----") {
            true => wrong("a public key, not a private one; `age-keygen -y` prints it"),
            false => wrong(FORMS),
        }
    }
}

impl fmt::Display for OwnerRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Native(recipient) => recipient.fmt(f),
            Form::Tag(recipient) => recipient.fmt(f),
            Form::TagPq(recipient) => recipient.fmt(f),
            Form::Ssh(recipient) => recipient.fmt(f),
            Form::Plugin(recipient) => recipient.fmt(f),
        }
    }
}

impl fmt::Debug for OwnerRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnerRecipient({self})")
    }
}

/// Reads a recipients file as `age -R` takes it: one recipient a line, with comments and blank lines.
///
/// # Errors
/// [`SealError::Line`] names the line and what was expected there; [`SealError::NoRecipients`].
pub fn recipients_file(text: &str) -> Result<Vec<OwnerRecipient>, SealError> {
    let mut lines = Lines::new(KeyText::Recipients, text)?;
    let mut recipients = Vec::new();
    while let Some(line) = lines.next_line() {
        if !line.starts_with('#') {
            recipients.push(line.parse().map_err(|error| match error {
                SealError::Recipient(expected) => lines.wrong(&expected),
                SealError::SshKind(kind) => lines.wrong(&format!("ssh-ed25519 or ssh-rsa, not {kind}")),
                error => error,
            })?);
        }
    }
    if recipients.is_empty() { Err(SealError::NoRecipients) } else { Ok(recipients) }
}

/// Seals the text of a key file, so that each of `recipients` opens it. A plugin may ask and speak through `ask`.
///
/// # Errors
/// [`SealError::NoRecipients`], and what plugins say.
pub fn seal_keys(recipients: &[OwnerRecipient], text: &str, ask: Arc<dyn Ask>) -> Result<Vec<u8>, SealError> {
    let mut boxed: Vec<Box<dyn age::Recipient>> = Vec::new();
    let mut plugins: Vec<plugin::Recipient> = Vec::new();
    for OwnerRecipient(form) in recipients {
        match form.clone() {
            Form::Native(recipient) => boxed.push(Box::new(recipient)),
            Form::Tag(recipient) => boxed.push(Box::new(recipient)),
            Form::TagPq(recipient) => boxed.push(recipient),
            Form::Ssh(recipient) => boxed.push(recipient),
            Form::Plugin(recipient) => plugins.push(recipient),
        }
    }
    let mut names: Vec<&str> = plugins.iter().map(plugin::Recipient::plugin).collect();
    names.sort_unstable();
    names.dedup();
    let bridge = Bridge::new(ask);
    for name in names {
        let plugin = plugin::RecipientPluginV1::new(name, &plugins, &[], bridge.clone());
        boxed.push(Box::new(plugin.map_err(no_plugin)?));
    }
    encrypt(boxed.iter().map(AsRef::as_ref), text).map_err(|error| match error {
        SealError::Plugin(_) if bridge.take_refused() => SealError::NoPassphrase,
        error => error,
    })
}

/// Seals the text of a key file with a passphrase. Nothing else can open that file.
///
/// It takes about a second and 256 MiB of memory.
///
/// # Errors
/// [`SealError::EmptyPassphrase`].
pub fn seal_keys_with_passphrase(passphrase: SecretString, text: &str) -> Result<Vec<u8>, SealError> {
    if passphrase.expose_secret().is_empty() {
        return Err(SealError::EmptyPassphrase);
    }
    let mut recipient = age::scrypt::Recipient::new(passphrase);
    recipient.set_work_factor(WORK);
    encrypt([&recipient as &dyn age::Recipient].into_iter(), text)
}

/// What opens a key file, as the types of its stanzas: `X25519`, `ssh-ed25519`, `ssh-rsa`, `scrypt`, or a plugin's own. This
/// needs no key.
///
/// # Errors
/// What is wrong with the header.
pub fn stanza_kinds(file: &[u8]) -> Result<Vec<String>, SealError> {
    let mut kinds = stanza_types(file)?;
    // The `age` crate adds a stanza that is for nobody, to keep readers tolerant.
    kinds.retain(|kind| !kind.ends_with("grease"));
    Ok(kinds)
}

fn encrypt<'a>(recipients: impl Iterator<Item = &'a dyn age::Recipient>, text: &str) -> Result<Vec<u8>, SealError> {
    let mut out = Vec::new();
    let mut writer = age::Encryptor::with_recipients(recipients).map_err(encrypt_error)?.wrap_output(&mut out)?;
    writer.write_all(text.as_bytes())?;
    writer.finish()?;
    Ok(out)
}

fn encrypt_error(error: EncryptError) -> SealError {
    match error {
        EncryptError::MissingRecipients => SealError::NoRecipients,
        EncryptError::IncompatibleRecipients { .. }
        | EncryptError::InvalidRecipientLabels(_)
        | EncryptError::MixedRecipientAndPassphrase => SealError::MixedRecipients,
        EncryptError::PluginResolve(error) => no_plugin(error),
        EncryptError::Io(error) => io_error(error),
        error @ EncryptError::Plugin(_) => SealError::Plugin(plain(&error.to_string())),
        _ => SealError::Cipher,
    }
}

/// An error of a plugin's process. The `age` crate's own texts say what to do about it.
pub(super) fn io_error(error: std::io::Error) -> SealError {
    match error.kind() {
        std::io::ErrorKind::ConnectionAborted => SealError::Plugin(plain(&error.to_string())),
        _ => SealError::Io(error),
    }
}

pub(super) fn no_plugin(error: plugin::ResolveError) -> SealError {
    match error {
        plugin::ResolveError::MissingPlugin { binary_name } => SealError::NoPlugin(binary_name),
        error => SealError::Plugin(plain(&error.to_string())),
    }
}
