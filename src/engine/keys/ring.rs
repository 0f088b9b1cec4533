//! The keys that this machine and its user have.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::seal::{Ask, SecretString, WriterKey};
use crate::spool::{private_dir, private_file};

/// The keys that a run can use.
#[derive(Clone, Default)]
pub struct KeyRing {
    /// Directory of this machine's writer keys. `None` if it has none.
    pub dir: Option<PathBuf>,
    /// Writer keys that lie elsewhere, by the URL of their destination.
    pub writers: Vec<(String, PathBuf)>,
    /// Identity files of the user, as `age -i` takes them.
    pub identities: Vec<PathBuf>,
    /// Asks the user for passphrases. `None` if nobody can be asked.
    pub ask: Option<Arc<dyn Ask>>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("dir", &self.dir).field("identities", &self.identities).finish_non_exhaustive()
    }
}

/// Answers nothing.
struct Nobody;

impl Ask for Nobody {
    fn passphrase(&self, _: &str) -> Option<SecretString> {
        None
    }

    fn message(&self, _: &str) {}
}

impl KeyRing {
    /// Whether it can have no key, so that nothing has to be asked at a destination.
    pub fn is_empty(&self) -> bool {
        let has_keys = |dir: &PathBuf| std::fs::read_dir(dir).is_ok_and(|mut names| names.next().is_some());
        self.identities.is_empty() && self.writers.is_empty() && !self.dir.as_ref().is_some_and(has_keys)
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
        if let Some((_, path)) = self.writers.iter().find(|(of, _)| of == url) {
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

    /// Keeps a writer key, and copies of the key files that it names. Everything is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Local`] if a file cannot be written.
    pub fn keep(&self, url: &str, key: &WriterKey, files: &[(String, Vec<u8>)]) -> Result<PathBuf> {
        let path = self.path(url, &key.destination)?;
        let dir = path.parent().unwrap_or(Path::new("."));
        private_dir(dir)?;
        for (name, bytes) in files {
            write(&dir.join(format!("{}.{name}", key.destination)), bytes)?;
        }
        write(&path, key.print().as_bytes())?;
        Ok(path)
    }
}

/// Writes a file whole, readable for this user only, by a rename.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |e| Error::local(path, e);
    let temp = path.with_extension(format!("{:08x}", crate::random() as u32));
    let mut file = private_file().write(true).create_new(true).open(&temp).map_err(fail)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&temp, path));
    written.inspect_err(|_| drop(std::fs::remove_file(&temp))).map_err(fail)
}
