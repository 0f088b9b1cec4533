//! The keys that this machine and its user have.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use offsite_backends::Location;

use crate::error::{Error, Result};
use crate::manifest::no_key;
use crate::seal::{Ask, ExposeSecret, KeyFile, PassphraseSource, SecretString, WriterKey};
use crate::spool::{private_dir, private_file};

/// The keys that a run can use.
#[derive(Clone, Default)]
pub struct KeyRing {
    /// Directory of this machine's writer keys. `None` if it has none.
    pub dir: Option<PathBuf>,
    /// Writer keys that lie elsewhere, by the URL of their destination.
    pub writers: Vec<(String, PathBuf)>,
    /// Identity files that the user gave for this run, as `age -i` takes them.
    pub identities: Vec<PathBuf>,
    /// Identity files that the config names, by the URL of their destination. They count if the user gave none, and only
    /// where the writer key does not suffice.
    pub usual_identities: Vec<(String, PathBuf)>,
    /// What gives the passphrase of a destination, by its URL. Without it, the user is asked.
    pub passphrases: Vec<(String, Arc<dyn PassphraseSource>)>,
    /// Asks the user for passphrases. `None` if nobody can be asked.
    pub ask: Option<Arc<dyn Ask>>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("dir", &self.dir).field("identities", &self.identities).finish_non_exhaustive()
    }
}

/// A key file that was made.
pub struct SealedKeyFile {
    /// As a writer key notes it.
    pub file: KeyFile,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Answers nothing.
struct Nobody;

impl Ask for Nobody {
    fn passphrase(&self, _: &str) -> Option<SecretString> {
        None
    }

    fn message(&self, _: &str) {}

    fn can_ask(&self) -> bool {
        false
    }
}

impl KeyRing {
    /// Whether it can have no key, so that nothing has to be asked at a destination.
    pub fn is_empty(&self) -> bool {
        let has_keys = |dir: &PathBuf| std::fs::read_dir(dir).is_ok_and(|mut names| names.next().is_some());
        let from_config = !self.writers.is_empty() || !self.usual_identities.is_empty() || !self.passphrases.is_empty();
        self.identities.is_empty() && !from_config && !self.dir.as_ref().is_some_and(has_keys) && !self.ask().can_ask()
    }

    /// The identity files for a destination.
    pub fn identities_of(&self, url: &str) -> Vec<PathBuf> {
        match self.identities.is_empty() {
            true => self.usual_identities.iter().filter(|(of, _)| is_at(of, url)).map(|(_, path)| path.clone()).collect(),
            false => self.identities.clone(),
        }
    }

    /// Whether something here can open key files of a destination, besides its writer key.
    pub fn may_open(&self, url: &str) -> bool {
        !self.identities_of(url).is_empty() || self.passphrases.iter().any(|(of, _)| is_at(of, url)) || self.ask().can_ask()
    }

    /// The passphrase of a destination: from the command of the config, or from the user. Blocks.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is none, or if it is empty.
    pub fn passphrase(&self, url: &str) -> Result<SecretString> {
        let what = format!("Passphrase of {url}");
        let given = match self.passphrases.iter().find(|(of, _)| is_at(of, url)) {
            Some((_, source)) => source.passphrase(&what).map_err(|why| Error::Usage(format!("{url}: {why}")))?,
            None => self.ask().passphrase(&what).ok_or_else(|| match self.ask().can_ask() {
                true => Error::Usage(format!("{url}: no passphrase was given")),
                false => no_key(url),
            })?,
        };
        match given.expose_secret().is_empty() {
            true => Err(Error::Usage(format!("{url}: the passphrase is empty"))),
            false => Ok(given),
        }
    }

    /// Whom to ask for passphrases.
    pub fn ask(&self) -> Arc<dyn Ask> {
        self.ask.clone().unwrap_or_else(|| Arc::new(Nobody))
    }

    /// Where the writer key of a destination lies, or is going to lie.
    ///
    /// # Errors
    /// [`Error::Usage`] if this machine has no directory for keys.
    pub fn path(&self, url: &str, id: &str) -> Result<PathBuf> {
        if let Some((_, path)) = self.writers.iter().find(|(of, _)| is_at(of, url)) {
            return Ok(path.clone());
        }
        let none = || Error::Usage(format!("{url}: its key has no place on this machine; set HOME or OFFSITE_KEY_DIR"));
        Ok(self.dir.as_ref().ok_or_else(none)?.join(format!("{id}.key")))
    }

    /// The writer key of the destination with this `id`. `None` if this machine has none.
    ///
    /// # Errors
    /// [`Error::Usage`] if the file is not a writer key of this destination. [`Error::Local`] if it cannot be read.
    pub fn writer(&self, url: &str, id: &str) -> Result<Option<WriterKey>> {
        let Ok(path) = self.path(url, id) else { return Ok(None) };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => zeroize::Zeroizing::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::local(&path, error)),
        };
        let key = WriterKey::parse(&text).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
        if key.destination != id {
            return Err(Error::Usage(format!("{}: it is the key of another destination than {url}", path.display())));
        }
        Ok(Some(key))
    }

    /// The copy of a key file that lies beside the writer key. `None` if there is none, or if it is not that file.
    pub fn copy(&self, url: &str, id: &str, file: &KeyFile) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.beside(url, id, &file.name()).ok()?).ok()?;
        file.is(&bytes).then_some(bytes)
    }

    /// Where the copy of a key file lies.
    fn beside(&self, url: &str, id: &str, name: &str) -> Result<PathBuf> {
        Ok(self.path(url, id)?.parent().unwrap_or(Path::new(".")).join(format!("{id}.{name}")))
    }

    /// Keeps a copy of a key file beside the writer key.
    ///
    /// # Errors
    /// [`Error::Local`] if it cannot be written.
    pub fn keep_copy(&self, url: &str, id: &str, name: &str, bytes: &[u8]) -> Result<()> {
        write(&self.beside(url, id, name)?, bytes)
    }

    /// Keeps a writer key, and copies of the key files that it names. Everything is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Local`] if a file cannot be written.
    pub fn keep(&self, url: &str, key: &WriterKey, files: &[SealedKeyFile]) -> Result<PathBuf> {
        let path = self.path(url, &key.destination)?;
        let dir = path.parent().unwrap_or(Path::new("."));
        private_dir(dir)?;
        for made in files {
            self.keep_copy(url, &key.destination, &made.file.name(), &made.bytes)?;
        }
        write(&path, key.print().as_bytes())?;
        Ok(path)
    }
}

/// Whether a URL of the config is this place. The text of a place has no settings, such as an endpoint.
fn is_at(of: &str, url: &str) -> bool {
    of == url || Location::parse(of).is_ok_and(|location| location.to_string() == url)
}

/// Writes a file whole, readable for this user only, by a rename.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |e| Error::local(path, e);
    let temp = path.with_extension(format!("{:08x}", crate::random() as u32));
    let mut file = private_file().write(true).create_new(true).open(&temp).map_err(fail)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&temp, path));
    written.inspect_err(|_| drop(std::fs::remove_file(&temp))).map_err(fail)
}
