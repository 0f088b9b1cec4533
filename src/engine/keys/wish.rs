//! The keys of a new sealed destination.

use std::path::PathBuf;
use std::sync::Arc;

use offsite_backends::Backend;

use super::files::{create, key_file};
use super::ring::KeyRing;
use crate::error::{Error, Result};
use crate::manifest::Format;
use crate::seal::{
    KeyFile, KeySet, OwnerRecipient, SealKeys, SecretString, WriterKey, recipients_file, seal_keys, seal_keys_with_passphrase,
};

/// How a new destination is to be sealed.
#[derive(Clone, Default)]
pub struct SealWish {
    /// Recipients: `age1…`, `ssh-ed25519 …`, `ssh-rsa …`, of plugins, or files of recipients.
    pub to: Vec<String>,
    /// A passphrase that opens the keys too.
    pub passphrase: Option<SecretString>,
    /// One recipient is enough.
    pub only_key: bool,
}

impl std::fmt::Debug for SealWish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealWish").field("to", &self.to).finish_non_exhaustive()
    }
}

/// The recipients that are meant: each text is one, or the path of a file of recipients.
///
/// # Errors
/// [`Error::Usage`] that names the text or the file, and says what was expected.
pub fn recipients(to: &[String]) -> Result<Vec<OwnerRecipient>> {
    let mut recipients = Vec::new();
    for text in to {
        match text.parse::<OwnerRecipient>() {
            Ok(recipient) => recipients.push(recipient),
            Err(error) => {
                let path = PathBuf::from(text);
                let listed = std::fs::read_to_string(&path).map_err(|_| Error::Usage(format!("`{text}`: {error}")))?;
                recipients.extend(recipients_file(&listed).map_err(|error| Error::Usage(format!("{text}: {error}")))?);
            }
        }
    }
    Ok(recipients)
}

/// Seals a key set as the user wishes. Returns the key files: name and bytes.
pub(super) async fn seal_set(set: &KeySet, first: u64, wish: &SealWish, keys: &KeyRing) -> Result<Vec<(String, Vec<u8>)>> {
    let (to, text, ask, passphrase) = (recipients(&wish.to)?, set.print(), keys.ask(), wish.passphrase.clone());
    let sealed = tokio::task::spawn_blocking(move || {
        let mut files = Vec::new();
        if !to.is_empty() {
            files.push((key_file(first, false), seal_keys(&to, &text, ask)?));
        }
        if let Some(passphrase) = passphrase {
            files.push((key_file(first, true), seal_keys_with_passphrase(passphrase, &text)?));
        }
        Ok::<_, crate::seal::SealError>(files)
    });
    let files = sealed.await.map_err(|e| Error::local("the keys", std::io::Error::other(e)))?;
    files.map_err(|error| Error::Usage(format!("the keys cannot be sealed: {error}")))
}

/// Checks that losing one key does not lose the destination.
///
/// # Errors
/// [`Error::Usage`] if there is only one recipient and no passphrase, unless the user says that this is meant.
pub fn enough(wish: &SealWish) -> Result<()> {
    let ways = recipients(&wish.to)?.len() + usize::from(wish.passphrase.is_some());
    match ways {
        0 => Err(Error::Usage("a sealed destination needs recipients: --seal-to age1…, twice or more".into())),
        1 if !wish.only_key => Err(Error::Usage(
            "with one recipient alone, a lost key loses every backup; name a second one, such as a key in the safe, or say --only-key"
                .into(),
        )),
        _ => Ok(()),
    }
}

/// Makes the keys of a new destination: keeps the writer key on this machine, then puts the key files. To be called before
/// `format.json` is created, so that no destination is without its keys.
///
/// # Errors
/// [`Error::Usage`] as for [`enough`]. [`Error::Local`] if the writer key cannot be kept. The store's own error.
pub async fn make_keys(backend: &Arc<dyn Backend>, format: &Format, wish: &SealWish, keys: &KeyRing) -> Result<SealKeys> {
    enough(wish)?;
    let day = format.made.get(..10).unwrap_or_default();
    let set = KeySet::new(&format.id, day).map_err(|error| Error::local("the keys", std::io::Error::other(error)))?;
    let files = seal_set(&set, 1, wish, keys).await?;
    let noted = files.first().map(|(_, bytes)| KeyFile::new(1, bytes)).into_iter().collect();
    let url = backend.location().to_string();
    let none = || Error::local("the keys", std::io::Error::other("there is no key"));
    let writer = WriterKey::new(std::slice::from_ref(&set), noted).ok_or_else(none)?;
    let copies: Vec<(String, Vec<u8>)> =
        files.iter().map(|(key, bytes)| (key.rsplit('/').next().unwrap_or_default().to_owned(), bytes.clone())).collect();
    keys.keep(&url, &writer, &copies)?;
    for (key, bytes) in files {
        create(backend, &key, bytes, true).await?;
    }
    Ok(SealKeys::of_writer(&writer))
}
