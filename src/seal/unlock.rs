//! Opening of key files with what the owner has.
//!
//! Owns the kinds of identities files that `age -i` takes: native and plugin identities, SSH private keys, and identities
//! files that a passphrase encrypts.
//! Invariant: scrypt is not run with a work factor above [`WORK_LIMIT`]; an opened text is wiped when it is dropped.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use age::secrecy::SecretString;
use age::ssh::{EncryptedKey, UnsupportedKey};
use age::{Callbacks, DecryptError, plugin};
use age_core::format::{FileKey, Stanza};
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::ask::{Ask, Bridge, plain};
use super::error::{KeyText, SealError};
use super::lines::{Lines, TEXT_LIMIT};
use super::owner::{io_error, no_plugin, stanza_kinds};

/// The highest scrypt work factor that is accepted: 4 seconds and 1 GiB of memory.
pub(super) const WORK_LIMIT: u8 = 20;
const FORMS: &str = "an identity like `AGE-SECRET-KEY-1…` or `AGE-PLUGIN-NAME-1…`, or a comment";

/// What the owner opens key files with.
pub struct OwnerIdentities {
    identities: Vec<Box<dyn age::Identity>>,
    bridge: Bridge,
}

impl OwnerIdentities {
    /// None yet. Passphrases are asked for when a file is opened.
    pub fn new(ask: Arc<dyn Ask>) -> Self {
        Self { identities: Vec::new(), bridge: Bridge::new(ask) }
    }

    /// Adds what a file of any kind that `age -i` takes has.
    ///
    /// # Errors
    /// As [`OwnerIdentities::add`], and those of the file.
    pub fn add_file(&mut self, path: &Path) -> Result<(), SealError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(TEXT_LIMIT + 1));
        File::open(path)?.take(TEXT_LIMIT as u64 + 1).read_to_end(&mut bytes)?;
        self.add(&path.to_string_lossy(), &bytes)
    }

    /// Adds what the bytes of such a file have. Questions about it call it `name`.
    ///
    /// # Errors
    /// What cannot be used. [`SealError::Line`] names the line of an identities file, and never shows it.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), SealError> {
        if bytes.len() > TEXT_LIMIT {
            return Err(SealError::TooLong { document: KeyText::Identities, limit: TEXT_LIMIT });
        }
        let text = bytes.trim_ascii_start();
        match () {
            () if text.starts_with(b"age-encryption.org/") => self.add_encrypted(name, bytes),
            () if text.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") => self.add_encrypted(name, bytes),
            () if text.starts_with(b"-----BEGIN ") => self.add_ssh(name, text),
            () => self.add_lines(std::str::from_utf8(bytes).map_err(|_| SealError::NotText(KeyText::Identities))?),
        }
    }

    /// Adds a passphrase, which opens key files that are sealed with it.
    pub fn add_passphrase(&mut self, passphrase: SecretString) {
        let mut identity = age::scrypt::Identity::new(passphrase);
        identity.set_max_work_factor(WORK_LIMIT);
        self.identities.push(Box::new(identity));
    }

    fn add_lines(&mut self, text: &str) -> Result<(), SealError> {
        let before = self.identities.len();
        let mut plugins: Vec<plugin::Identity> = Vec::new();
        let mut lines = Lines::new(KeyText::Identities, text)?;
        while let Some(line) = lines.next_line() {
            if line.starts_with('#') {
                continue;
            }
            match (line.parse::<age::x25519::Identity>(), line.parse::<plugin::Identity>()) {
                (Ok(native), _) => self.identities.push(Box::new(native)),
                (_, Ok(plugin)) => plugins.push(plugin),
                _ => return Err(lines.wrong(FORMS)),
            }
        }
        if self.identities.len() == before && plugins.is_empty() {
            return Err(SealError::NoIdentity);
        }
        // One process for all identities of a plugin, so that the owner is asked once.
        while let Some(name) = plugins.first().map(|identity| identity.plugin().to_owned()) {
            let plugin = plugin::IdentityPluginV1::new(&name, &plugins, self.bridge.clone()).map_err(no_plugin)?;
            self.identities.push(Box::new(plugin));
            plugins.retain(|identity| identity.plugin() != name);
        }
        Ok(())
    }

    fn add_encrypted(&mut self, name: &str, bytes: &[u8]) -> Result<(), SealError> {
        let input = age::armor::ArmoredReader::new(Cursor::new(bytes.to_vec()));
        let identity = age::encrypted::Identity::from_buffer(input, Some(name.to_owned()), self.bridge.clone(), Some(WORK_LIMIT));
        let identity = identity.map_err(|error| decrypt_error(error, false))?.ok_or(SealError::NestedIdentity)?;
        self.identities.push(Box::new(identity));
        Ok(())
    }

    fn add_ssh(&mut self, name: &str, text: &[u8]) -> Result<(), SealError> {
        let identity = age::ssh::Identity::from_buffer(text, Some(name.to_owned())).map_err(|_| SealError::SshKey)?;
        let public = age::ssh::Recipient::try_from(identity.clone());
        match (identity, public) {
            (age::ssh::Identity::Unsupported(why), _) => return Err(unsupported(why)),
            (age::ssh::Identity::Encrypted(key), Ok(public)) => {
                self.identities.push(Box::new(LockedSshKey::new(key, &public, name, self.bridge.clone())));
            }
            (identity @ age::ssh::Identity::Unencrypted(_), _) => self.identities.push(Box::new(identity)),
            (age::ssh::Identity::Encrypted(_), Err(_)) => return Err(SealError::SshKey),
        }
        Ok(())
    }
}

/// Opens a key file with the first identity that can.
///
/// # Errors
/// [`SealError::NoKey`], [`SealError::WrongPassphrase`], [`SealError::NoPassphrase`], or what is wrong with the file.
pub fn open_keys(identities: &OwnerIdentities, file: &[u8]) -> Result<Zeroizing<String>, SealError> {
    if file.len() > TEXT_LIMIT {
        return Err(SealError::TooLong { document: KeyText::KeyFile, limit: TEXT_LIMIT });
    }
    let by_passphrase = stanza_kinds(file)? == ["scrypt"];
    identities.bridge.take_refused();
    let decryptor = age::Decryptor::new_buffered(file).map_err(|error| decrypt_error(error, by_passphrase))?;
    let opened = decryptor
        .decrypt(identities.identities.iter().map(AsRef::as_ref))
        .map_err(|error| if identities.bridge.take_refused() { SealError::NoPassphrase } else { decrypt_error(error, by_passphrase) });
    // As long as the file from the start, so that no shorter copy is left in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(file.len()));
    opened?.read_to_end(&mut bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => SealError::Truncated,
        _ => SealError::Damaged,
    })?;
    match std::str::from_utf8(&bytes).is_ok() {
        true => String::from_utf8(std::mem::take(&mut *bytes)).map(Zeroizing::new).map_err(|_| SealError::NotText(KeyText::KeyFile)),
        false => Err(SealError::NotText(KeyText::KeyFile)),
    }
}

/// An SSH key with a passphrase. The `age` crate's own asks once for each stanza, also for those of others.
struct LockedSshKey {
    key: EncryptedKey,
    kind: &'static str,
    /// The beginning of the public key's SHA-256, which a stanza for it has as its first argument.
    tag: String,
    name: String,
    bridge: Bridge,
}

impl LockedSshKey {
    fn new(key: EncryptedKey, public: &age::ssh::Recipient, name: &str, bridge: Bridge) -> Self {
        let (kind, blob) = match public {
            age::ssh::Recipient::SshRsa(blob, _) => ("ssh-rsa", blob),
            age::ssh::Recipient::SshEd25519(blob, _) => ("ssh-ed25519", blob),
        };
        Self { key, kind, tag: BASE64.encode(&Sha256::digest(blob)[..4]), name: name.to_owned(), bridge }
    }
}

impl age::Identity for LockedSshKey {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        if stanza.tag != self.kind || stanza.args.first() != Some(&self.tag) {
            return None;
        }
        let passphrase = self.bridge.request_passphrase(&format!("passphrase of the SSH key {}", self.name))?;
        match self.key.decrypt(passphrase) {
            Ok(key) => age::ssh::Identity::from(key).unwrap_stanza(stanza),
            Err(error) => Some(Err(error)),
        }
    }
}

fn unsupported(key: UnsupportedKey) -> SealError {
    SealError::SshKind(match key {
        UnsupportedKey::EncryptedPem => "a PEM file with a passphrase, which `ssh-keygen -p` converts".to_owned(),
        UnsupportedKey::EncryptedSsh(cipher) => format!("encrypted with {}", plain(&cipher)),
        UnsupportedKey::Hardware(kind) | UnsupportedKey::Type(kind) => plain(&kind),
    })
}

fn decrypt_error(error: DecryptError, by_passphrase: bool) -> SealError {
    match error {
        DecryptError::NoMatchingKeys => SealError::NoKey,
        DecryptError::KeyDecryptionFailed => SealError::WrongPassphrase,
        DecryptError::DecryptionFailed if by_passphrase => SealError::WrongPassphrase,
        DecryptError::ExcessiveWork { required, .. } => SealError::Work { required, limit: WORK_LIMIT },
        DecryptError::InvalidMac => SealError::Header("its MAC is wrong"),
        DecryptError::DecryptionFailed | DecryptError::InvalidHeader => SealError::Header("a stanza is malformed"),
        DecryptError::UnknownFormat => SealError::UnknownVersion,
        DecryptError::PluginResolve(error) => no_plugin(error),
        DecryptError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => SealError::Truncated,
        DecryptError::Io(error) => io_error(error),
        error @ DecryptError::Plugin(_) => SealError::Plugin(plain(&error.to_string())),
        _ => SealError::Damaged,
    }
}
