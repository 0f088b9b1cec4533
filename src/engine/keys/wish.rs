//! The keys of a new sealed destination.

use std::path::PathBuf;
use std::sync::Arc;

use offsite_backends::Backend;

use super::files::create;
use super::ring::{KeyRing, SealedKeyFile};
use crate::error::{Error, Result};
use crate::manifest::Format;
use crate::seal::{
    ExposeSecret, KeyFile, KeySet, OwnerRecipient, PassphraseSource, SealError, SealKeys, WriterKey, recipients_file, seal_keys,
    seal_keys_with_passphrase,
};

/// How a new destination is to be sealed.
#[derive(Clone, Default)]
pub struct SealWish {
    /// Recipients: `age1…`, `ssh-ed25519 …`, `ssh-rsa …`, of plugins, or files of recipients.
    pub to: Vec<String>,
    /// Gives a passphrase that opens the keys too. It is asked only when keys are made.
    pub passphrase: Option<Arc<dyn PassphraseSource>>,
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

/// Seals a key set of the destination `url` as the user wishes.
///
/// # Errors
/// [`Error::Usage`] if a recipient is not one, or if there is no passphrase.
pub(super) async fn seal_set(url: &str, set: &KeySet, number: u64, wish: &SealWish, keys: &KeyRing) -> Result<Vec<SealedKeyFile>> {
    let url = url.to_owned();
    let (to, text, ask, passphrase) = (recipients(&wish.to)?, set.print(), keys.ask(), wish.passphrase.clone());
    let sealed = tokio::task::spawn_blocking(move || {
        let refused = |error: SealError| Error::Usage(format!("the keys cannot be sealed: {error}"));
        let mut files = Vec::new();
        let mut add = |passphrase, bytes: Vec<u8>| files.push(SealedKeyFile { file: KeyFile::new(number, passphrase, &bytes), bytes });
        if !to.is_empty() {
            add(false, seal_keys(&to, &text, ask).map_err(refused)?);
        }
        if let Some(source) = passphrase {
            let given = source.passphrase(&format!("New passphrase of {url}")).map_err(|why| Error::Usage(format!("{url}: {why}")))?;
            if given.expose_secret().is_empty() {
                return Err(Error::Usage(format!("{url}: the passphrase is empty")));
            }
            add(true, seal_keys_with_passphrase(given, &text).map_err(refused)?);
        }
        Ok(files)
    });
    sealed.await.map_err(|e| Error::local("the keys", std::io::Error::other(e)))?
}

/// Checks that losing one key does not lose the destination.
///
/// # Errors
/// [`Error::Usage`] if there is only one recipient and no passphrase, unless the user says that this is meant. A
/// passphrase alone suffices, because it can be written down.
pub fn enough(wish: &SealWish) -> Result<()> {
    match recipients(&wish.to)?.len() {
        0 if wish.passphrase.is_none() => {
            Err(Error::Usage("a sealed destination needs recipients: --seal-to age1…, twice or more; or a passphrase: --seal".into()))
        }
        1 if !wish.only_key && wish.passphrase.is_none() => Err(Error::Usage(
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
    let url = backend.location().to_string();
    let files = seal_set(&url, &set, 1, wish, keys).await?;
    let noted = files.iter().map(|made| made.file).collect();
    let none = || Error::local("the keys", std::io::Error::other("there is no key"));
    let writer = WriterKey::new(std::slice::from_ref(&set), noted).ok_or_else(none)?;
    keys.keep(&url, &writer, &files)?;
    for made in files {
        create(backend, &made.file, made.bytes, true).await?;
    }
    Ok(SealKeys::of_writer(&writer))
}
