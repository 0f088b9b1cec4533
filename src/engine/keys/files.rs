//! The key files at a destination.

use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use offsite_backends::Backend;
use serde::Serialize;
use zeroize::Zeroizing;

use super::ring::KeyRing;
use crate::error::{Error, Result};
use crate::manifest::object_path;
use crate::seal::{KeySet, OwnerIdentities, SealError, open_keys, stanza_kinds};

const FOLDER: &str = ".offsite/keys";
/// Length of a key file in bytes, and number of key files, at most.
const LENGTH: u64 = 1 << 20;
const COUNT: usize = 256;

/// A key file.
pub struct KeyFileBody {
    /// Its name in the folder: `1.age`.
    pub name: String,
    /// Its number.
    pub number: u64,
    /// Its bytes as they lie there.
    pub bytes: Vec<u8>,
}

/// What `key show` tells of a key file.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct KeyFileRow {
    /// Its name below `.offsite/keys/`.
    pub name: String,
    /// What it is sealed to: `X25519`, `ssh-ed25519`, `scrypt` (a passphrase) or the name of a plugin.
    pub sealed_to: Vec<String>,
}

/// The key of a key file. A file that a passphrase opens says so in its name.
pub fn key_file(number: u64, passphrase: bool) -> String {
    format!("{FOLDER}/{number}{}.age", if passphrase { ".passphrase" } else { "" })
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(".age").map(|name| name.strip_suffix(".passphrase").unwrap_or(name))?.parse().ok()
}

fn error(backend: &Arc<dyn Backend>, key: &str, error: &object_store::Error) -> Error {
    backend.error(key, error).into()
}

/// Reads all key files of a destination, in order of their numbers.
pub async fn read(backend: &Arc<dyn Backend>) -> Result<Vec<KeyFileBody>> {
    let store = backend.store();
    let listed: Vec<_> = store.list(Some(&object_path(FOLDER.as_bytes())?)).map_err(|e| error(backend, FOLDER, &e)).try_collect().await?;
    let mut files = Vec::new();
    for meta in listed.into_iter().take(COUNT) {
        let Some((name, number)) = meta.location.filename().and_then(|name| Some((name.to_owned(), number_of(name)?))) else { continue };
        if meta.size > LENGTH {
            continue;
        }
        let key = meta.location.as_ref().to_owned();
        let got = store.get(&meta.location).await.map_err(|e| error(backend, &key, &e))?;
        let bytes = got.bytes().await.map_err(|e| error(backend, &key, &e))?;
        files.push(KeyFileBody { name, number, bytes: bytes.to_vec() });
    }
    files.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
    Ok(files)
}

/// Creates a key file. One with the same name stays, unless `first` says that the destination is being made: then an
/// earlier first run that was killed left it.
pub async fn create(backend: &Arc<dyn Backend>, key: &str, bytes: Vec<u8>, first: bool) -> Result<()> {
    let mode = if first || !backend.capabilities().create_only { PutMode::Overwrite } else { PutMode::Create };
    let options = PutOptions { mode, ..PutOptions::default() };
    let put = backend.store().put_opts(&object_path(key.as_bytes())?, PutPayload::from(bytes), options).await;
    put.map(drop).map_err(|e| error(backend, key, &e))
}

/// What the key files of a destination are sealed to.
///
/// # Errors
/// The store's own. A file that is no age file is told as sealed to nothing.
pub async fn rows(backend: &Arc<dyn Backend>) -> Result<Vec<KeyFileRow>> {
    let files = read(backend).await?;
    Ok(files.into_iter().map(|file| KeyFileRow { sealed_to: stanza_kinds(&file.bytes).unwrap_or_default(), name: file.name }).collect())
}

/// Opens the key files of the destination with this `id`: with the identities of the user, or with a passphrase if there
/// are none. An identity file can also be the sheet of `key paper`, which has the keys themselves. Returns the keys, each
/// once, in order.
///
/// # Errors
/// [`Error::Usage`] if none of the files can be opened, or if an identity file cannot be read.
pub async fn open_key_files(backend: &Arc<dyn Backend>, id: &str, keys: &KeyRing) -> Result<Vec<KeySet>> {
    let files = read(backend).await?;
    let url = backend.location().to_string();
    if files.is_empty() {
        return Err(Error::damaged(backend.location().at(FOLDER), "there is no key file"));
    }
    let (identities, ask, id) = (keys.identities.clone(), keys.ask(), id.to_owned());
    let opened = tokio::task::spawn_blocking(move || {
        let mut own = OwnerIdentities::new(Arc::clone(&ask));
        let written: Vec<KeySet> = identities.iter().flat_map(|path| on_paper(path, &id)).collect();
        if !written.is_empty() {
            return Ok(written);
        }
        for path in &identities {
            own.add_file(path).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
        }
        let passphrase = files.iter().any(|file| file.name.ends_with(".passphrase.age"));
        if passphrase && identities.is_empty() {
            let asked = ask.passphrase(&format!("Passphrase of {url}"));
            own.add_passphrase(asked.ok_or_else(|| Error::Usage(format!("{url}: its keys need a passphrase, and nobody can be asked")))?);
        }
        sets(&url, &id, &own, &files)
    });
    opened.await.map_err(|e| Error::local("the keys", std::io::Error::other(e)))?
}

/// The keys of this destination that a file has as `key paper` prints them.
fn on_paper(path: &Path, id: &str) -> Vec<KeySet> {
    const FIRST: &str = "# offsite keys ";
    let Ok(text) = std::fs::read_to_string(path).map(Zeroizing::new) else { return Vec::new() };
    let starts: Vec<usize> = text.match_indices(FIRST).map(|(at, _)| at).collect();
    let set = |at: &usize| {
        // Six lines: the title, two identities with their titles, and the seed.
        let lines: Vec<&str> = text[*at..].lines().take(6).collect();
        KeySet::parse(&Zeroizing::new(format!("{}\n", lines.join("\n")))).ok()
    };
    starts.iter().filter_map(set).filter(|set| set.destination == id).collect()
}

fn sets(url: &str, id: &str, own: &OwnerIdentities, files: &[KeyFileBody]) -> Result<Vec<KeySet>> {
    let mut sets: Vec<KeySet> = Vec::new();
    let mut why: Option<SealError> = None;
    for file in files {
        match open_keys(own, &file.bytes).and_then(|text| KeySet::parse(&text)) {
            // Someone else's key file.
            Ok(set) if set.destination != id => {}
            Ok(set) if !sets.contains(&set) => sets.push(set),
            Ok(_) => {}
            Err(error) => why = why.or(Some(error)),
        }
    }
    sets.sort_by_key(|set| set.number);
    match (sets.is_empty(), why) {
        (false, _) => Ok(sets),
        (true, Some(error)) => Err(Error::Usage(format!("{url}: its key files cannot be opened: {error}"))),
        (true, None) => Err(Error::damaged(url, "there is no key file")),
    }
}
